import { assert, describe, it } from "@effect/vitest"
import type { Trip } from "effect-fuse"
import { Circuit, Fleet, type Window } from "effect-fuse/core"

const rules = Fleet.defaults
const more = { openings: 0, time: 0 }
const fiveInARow: Trip.Trip = { _tag: "Consecutive", failures: 5 }
const overTime = { _tag: "Time", millis: 10_000 } as const
const overCalls = { _tag: "Calls", calls: 10 } as const
const halfFailed = (over: Window.Over): Trip.Trip => ({ _tag: "FailureRate", threshold: 0.5, minimumCalls: 10, over })
const counts = (calls: number, failures = 0, slow = 0, weight = failures): Window.Counts => ({
  calls,
  failures,
  slow,
  weight
})

/** Three processes that all failed twice, and no roll was called. */
const tally: Fleet.Tally = {
  voters: 3,
  live: 3,
  abstained: 0,
  asked: undefined,
  convictions: 3,
  failing: 3,
  open: 0,
  streak: 6,
  counts: []
}

describe("a process is convinced", () => {
  it.each([
    [0, 2, 0],
    [1, 2, 0.5],
    [2, 2, 1],
    [7, 2, 1],
    [1, 1, 1],
    [0, 1, 0],
    [1, 4, 0.25],
    [3, 4, 0.75]
  ])("by %d failures in a row with suspectAfter %d: %d", (streak, suspectAfter, expected) => {
    assert.strictEqual(Fleet.conviction(streak, [], { ...rules, suspectAfter }), expected)
  })

  const seen = (calls: number, failures: number): Window.Counts => ({ calls, failures, slow: 0, weight: failures })
  it.each([
    ["as much if it knows of no other failure", 2, [seen(500, 2)], 1],
    ["less if failures are common", 2, [seen(500, 100)], 0.4374],
    ["less if one call of ten fails, with the fifty calls of the prior included", 2, [seen(52, 11)], 0.5886],
    ["as much by a longer streak", 5, [seen(500, 100)], 1],
    ["less by the window with the most calls", 2, [seen(10, 2), seen(500, 100)], 0.4374],
    ["as little by that window, also if it comes first", 2, [seen(500, 100), seen(10, 2)], 0.4374],
    ["never less than if every other call failed", 2, [seen(500, 500)], 0.1772]
  ])("%s", (_, streak, counts, expected) => {
    assert.approximately(Fleet.conviction(streak, counts, rules), expected, 0.00005)
  })

  it("by each failure of a streak equally: the usual failure rate is that of the calls before the streak", () => {
    const patient = { ...rules, suspectAfter: 100 }
    const first = Fleet.conviction(1, [seen(501, 101)], patient)
    for (const streak of [2, 5, 50]) {
      const convinced = Fleet.conviction(streak, [seen(500 + streak, 100 + streak)], patient)
      assert.approximately(convinced, streak * first, 1e-12)
    }
  })
})

describe("a fleet", () => {
  interface Under {
    readonly trip?: Trip.Trip
    readonly quorum?: number
    readonly holdMillis?: number
    readonly young?: boolean
  }
  type Row = readonly [sentence: string, seen: Partial<Fleet.Tally>, expected: Fleet.Judgement["_tag"], under?: Under]
  const table: ReadonlyArray<Row> = [
    ["opens when all are convinced and failed often enough together", {}, "Open"],
    ["opens without an inquiry when most live processes are convinced", { convictions: 2, failing: 2 }, "Open"],
    [
      "calls the roll when half of those who live are convinced, and one is silent",
      { live: 4, convictions: 2, failing: 2 },
      "RollCall"
    ],
    [
      "calls the roll when most have opened of those that have a ballot",
      { live: 4, streak: 0, open: 2, convictions: 2, failing: 2 },
      "RollCall"
    ],
    ["waits when exactly half are convinced", { voters: 4, live: 4, convictions: 2, failing: 4 }, "Wait"],
    [
      "opens when slightly more than half are convinced",
      { voters: 4, live: 4, convictions: 2.001, failing: 4 },
      "Open"
    ],
    ["calls the roll when only silent processes prevent an opening", { live: 100 }, "RollCall"],
    [
      "calls the roll however long the others had to answer: silence is never consent",
      { live: 100, asked: 1e6 },
      "RollCall"
    ],
    ["opens when all silent processes abstained", { live: 100, abstained: 97 }, "Open"],
    ["opens when most processes that did not abstain are convinced", { live: 100, abstained: 95 }, "Open"],
    ["calls the roll when exactly half of the others are convinced", { live: 100, abstained: 94 }, "RollCall"],
    ["counts each ballot, whatever the number of abstentions", { voters: 6, live: 6, abstained: 6 }, "Wait"],
    ["does not open while its store is young", {}, "Young", { young: true }],
    ["calls the roll while its store is young", { live: 100 }, "RollCall", { young: true }],
    [
      "waits when half of those that have a ballot are convinced",
      { voters: 6, live: 100, asked: 1_000, streak: 9 },
      "Wait"
    ],
    [
      "calls the roll when more than half of the voters are convinced",
      { voters: 5, live: 100, asked: 1_000, streak: 7 },
      "RollCall"
    ],
    ["subtracts one from the streaks for each voter that is not convinced", { voters: 5, live: 5 }, "Wait"],
    ["does not open for one voter alone", { voters: 1, convictions: 1, failing: 1, asked: 1_000 }, "Wait"],
    [
      "does not open for one voter of two processes",
      { voters: 2, live: 2, convictions: 1, failing: 1, asked: 1_000 },
      "Wait"
    ],
    [
      "does not open for one voter of two processes that are healthy and convinced by half",
      { voters: 2, live: 2, convictions: 1.5, failing: 1 },
      "Wait"
    ],
    ["of one process opens for it", { voters: 1, live: 1, convictions: 1, failing: 1 }, "Open"],
    ["without known live processes opens for one voter", { voters: 1, live: 0, convictions: 1, failing: 1 }, "Open"],
    ["waits if its policy does not trip", { streak: 4 }, "Wait"],
    ["opens if its policy just trips", { streak: 5 }, "Open"],
    ["waits when no process is convinced and none was asked", { convictions: 0, failing: 0 }, "Wait"],
    ["gives up an inquiry that found less than half of what it needs", tenVoters(2.499), "Lost"],
    ["goes on with an inquiry that found half of what it needs", tenVoters(2.5), "Wait"],
    ["does not give up while the others may still answer", { ...tenVoters(0), asked: 74 }, "Wait"],
    ["does not give up an inquiry that it has not made", { ...tenVoters(0), asked: undefined }, "Wait"],
    ["waits for more than nine tenths with a quorum of 0.9", { convictions: 2.7 }, "Wait", { quorum: 0.9 }],
    ["opens at more than nine tenths with a quorum of 0.9", { convictions: 2.71 }, "Open", { quorum: 0.9 }],
    ["opens at a tenth with a quorum of 0.1", { live: 19, convictions: 2, failing: 2 }, "Open", { quorum: 0.1 }],
    ["opens when most processes have opened alone, whatever its policy decides", { streak: 0, open: 2 }, "Open"],
    ["waits when half of the processes have opened alone", { voters: 4, live: 4, streak: 0, open: 2 }, "Wait"],
    ["waits when most opened and few are convinced any more", { convictions: 1, streak: 0, open: 3 }, "Wait"],
    [
      "applies its policy to the counts of all processes",
      { counts: [counts(20, 10)] },
      "Open",
      { trip: halfFailed(overTime) }
    ],
    [
      "opens over no share that all saw and is too low",
      { counts: [counts(20, 9)] },
      "Wait",
      { trip: halfFailed(overTime) }
    ],
    ["opens over no share of too few calls", { counts: [counts(9, 9)] }, "Wait", { trip: halfFailed(overTime) }],
    ["reads the last calls of each as shares", { counts: [counts(30, 15)] }, "Open", { trip: halfFailed(overCalls) }],
    [
      "does not count failures among the last calls of each as one process's",
      { counts: [counts(30, 8)] },
      "Wait",
      { trip: { _tag: "Failures", atLeast: 5, over: overCalls } }
    ]
  ]
  function tenVoters(convictions: number): Partial<Fleet.Tally> {
    return { voters: 10, live: 10, convictions, failing: Math.ceil(convictions), asked: 100 }
  }

  it.each(table.map(([sentence, seen, expected, under = {}]) => ({ sentence, seen, expected, under })))(
    "$sentence",
    ({ expected, seen, under: { holdMillis = 75, quorum = 0.5, trip = fiveInARow, young = false } }) => {
      const seenNow = { ...tally, ...seen }
      const verdict = Fleet.judge(seenNow, trip, { ...rules, quorum, holdMillis }, { ...more, young })
      assert.strictEqual(verdict._tag, expected)
    }
  )

  const details: ReadonlyArray<
    readonly [Partial<Fleet.Tally>, Trip.Trip, detail: string, agreed: readonly [number, number], rest: string]
  > = [
    [
      {},
      fiveInARow,
      "6 failures in a row (limit 5) in 3 of 3 processes together",
      [3, 3],
      "6 failures in a row (limit 5)"
    ],
    [
      { convictions: 2, failing: 2 },
      fiveInARow,
      "5 failures in a row (limit 5) in 2 of 3 processes together",
      [2, 3],
      "5 failures in a row (limit 5)"
    ],
    [
      { voters: 1, live: 1, failing: 1 },
      fiveInARow,
      "6 failures in a row (limit 5) in the only process",
      [1, 1],
      "6 failures in a row (limit 5)"
    ],
    [
      { voters: 2, live: 1, convictions: 1.5, failing: 1 },
      fiveInARow,
      "5 failures in a row (limit 5) in 1 of 2 processes together",
      [1, 2],
      "5 failures in a row (limit 5)"
    ],
    [{ streak: 0, open: 2 }, fiveInARow, "2 of 3 processes opened", [2, 3], ""],
    [
      { counts: [counts(40, 30)] },
      { _tag: "Any", trips: [{ _tag: "Consecutive", failures: 9 }, halfFailed(overTime)] },
      "30 of 40 calls failed in 10s (limit 50%) in 3 of 3 processes together",
      [3, 3],
      "30 of 40 calls failed in 10s (limit 50%)"
    ]
  ]
  it.each(details)(
    "has the reason, and the number of processes that agreed: %j %j",
    (seen, trip, detail, [processes, of], rest) => {
      const agreed = { processes, of }
      assert.deepStrictEqual(Fleet.judge({ ...tally, ...seen }, trip, rules, more), { _tag: "Open", detail, agreed })
      assert.strictEqual(Fleet.withoutAgreement(detail, agreed), rest)
    }
  )
})

describe("the detail of an opening without the number of processes", () => {
  const agreed = { processes: 3, of: 5 }
  it.each([
    ["5 failures in a row (limit 5) in 3 of 5 processes together", "5 failures in a row (limit 5)"],
    ["3 of 5 processes opened", ""],
    ["5 failures in a row (limit 5)", "5 failures in a row (limit 5)"],
    ["2 of 5 processes opened", "2 of 5 processes opened"]
  ])("of %j is %j", (detail, rest) => {
    assert.strictEqual(Fleet.withoutAgreement(detail, agreed), rest)
  })
})

it.each([
  ["negative", -1],
  ["not a number", Number.NaN],
  ["infinite", Infinity]
])("a sum of ballots that is %s counts as 0", (_, wrong) => {
  const rest = { voters: 3, live: 3, abstained: 0, asked: undefined }
  const none = { convictions: 0, failing: 0, open: 0, streak: 0 }
  assert.deepStrictEqual(Fleet.fromSums([wrong, wrong, wrong, wrong, 9, wrong, 7, wrong], rest), {
    ...rest,
    ...none,
    counts: [counts(9, 0, 7, 0)]
  })
  assert.deepStrictEqual(Fleet.fromSums([], rest), { ...rest, ...none, counts: [] })
})

describe("with a heartbeat in each interval", () => {
  it("a store is young for 1.2 intervals", () => {
    assert.deepStrictEqual(
      [11_999, 12_000].map((millis) => Fleet.isYoung(millis, 10_000)),
      [true, false]
    )
  })

  it.each([
    [10_000, 16_000, 30_000],
    [60_000, 91_000, 180_000]
  ])("of %d ms, a process lives for %d ms, and a roll call for %d ms", (sync, lives, rollCall) => {
    assert.deepStrictEqual([Fleet.livesFor(sync), Fleet.rollCallEvery(sync)], [lives, rollCall])
  })
})

describe("a fleet that waits", () => {
  const table: ReadonlyArray<readonly [string, Partial<Fleet.Tally>, boolean]> = [
    ["has agreed if only the policy is missing", { streak: 4 }, true],
    ["has agreed if the policy is missing and half of the processes have opened", { streak: 4, open: 1 }, true],
    ["has not agreed if few processes are convinced", { convictions: 1 }, false],
    ["has not agreed if no process is convinced", { convictions: 0, failing: 0, streak: 0 }, false],
    ["has not agreed if one process alone is convinced", { voters: 2, live: 2, convictions: 1.5, failing: 1 }, false]
  ]
  it.each(table)("%s", (_, seen, agreed) => {
    assert.deepStrictEqual(Fleet.judge({ ...tally, ...seen }, fiveInARow, rules, more), { _tag: "Wait", agreed })
  })
})

describe("a custom trip of a fleet", () => {
  it("gets the pooled counts, the number of openings, and the time", () => {
    const seen: Array<Trip.Seen> = []
    const predicate = (one: Trip.Seen) => seen.push(one) > 0
    const trip: Trip.Trip = { _tag: "Custom", name: "own", over: overTime, predicate }
    const verdict = Fleet.judge({ ...tally, counts: [counts(20, 5, 4)] }, trip, rules, { openings: 3, time: 99 })
    assert.deepStrictEqual(verdict, {
      _tag: "Open",
      detail: 'custom trip "own" in 3 of 3 processes together',
      agreed: { processes: 3, of: 3 }
    })
    assert.deepStrictEqual(seen, [
      { ...counts(20, 5, 4), streak: 6, failureRate: 0.25, slowRate: 0.2, running: 0, openings: 3, time: 99 }
    ])
  })
})

describe("the evidence of a fleet", () => {
  const trip: Trip.Trip = {
    _tag: "All",
    trips: [halfFailed(overTime), { _tag: "Any", trips: [halfFailed(overCalls)] }]
  }
  const pooled = Fleet.pooled({ ...tally, counts: [counts(40, 8, 4, 6), counts(40, 8, 4, 6)] }, trip, {
    openings: 3,
    time: 99
  })

  it("has the sum of the streaks, and the openings and the time that it is given", () => {
    assert.deepStrictEqual([pooled.streak, pooled.openings, pooled.time], [6, 3, 99])
  })

  it("has no calls in flight: each process judges its own", () => {
    assert.deepStrictEqual([pooled.running, pooled.stuck(0, 10)], [0, 0])
  })

  it("adds up the calls of a window over time, and scales a window over calls to its size", () => {
    assert.deepStrictEqual(pooled.counts(overTime), counts(40, 8, 4, 6))
    assert.deepStrictEqual(pooled.counts(overCalls), counts(10, 2, 1, 1.5))
    assert.deepStrictEqual(pooled.counts({ ...overCalls }), counts(10, 2, 1, 1.5))
  })

  it("is empty for a window that the trip does not read or that no process sent", () => {
    assert.deepStrictEqual(pooled.counts({ _tag: "Calls", calls: 11 }), counts(0))
    assert.deepStrictEqual(Fleet.pooled(tally, trip, more).counts(overTime), counts(0))
  })
})

const cause: Circuit.Cause = { why: "Tripped", detail: "5 failures in a row (limit 5)", actor: undefined }
const closed: Circuit.Closed = { _tag: "Closed", epoch: 7, since: 1000, openings: 2, openFor: 500, rampUntil: 0 }
const open: Circuit.Open = {
  _tag: "Open",
  epoch: 7,
  since: 1000,
  until: 1500,
  openings: 2,
  outage: { since: 900, at: 5, openings: 1 },
  cause
}
const halfOpen = (...leases: ReadonlyArray<Circuit.Lease>): Circuit.HalfOpen => ({
  ...Circuit.probe(open, 1500, {
    probes: 1,
    successesToClose: 1,
    failuresToReopen: 1,
    probeTimeoutMillis: 100,
    rampMillis: 0
  }),
  leases,
  nextLease: 0
})
const forced = (until: number, under: Circuit.Closed | Circuit.Open = closed): Circuit.Isolated => ({
  _tag: "Isolated",
  epoch: 9,
  since: 1000,
  until,
  reason: "maintenance",
  actor: "ann",
  others: [],
  under
})

const another = (until: number): Circuit.Override => ({
  _tag: "Isolated",
  since: 1050,
  until,
  reason: "drill",
  actor: "bob"
})

describe("shift adds to the times", () => {
  const earlier = { since: 800, at: 5, openings: 1 }
  const table: ReadonlyArray<readonly [string, Circuit.Circuit, Circuit.Circuit]> = [
    ["of a Closed circuit, which has no ramp after that either", closed, { ...closed, since: 900 }],
    ["of a ramp", { ...closed, rampUntil: 1700 }, { ...closed, since: 900, rampUntil: 1600 }],
    ["of an opening and its outage", open, { ...open, since: 900, until: 1400, outage: earlier }],
    [
      "of a HalfOpen circuit and its leases",
      halfOpen({ id: 4, until: 1600 }, { id: 9, until: 1700 }),
      { ...halfOpen({ id: 4, until: 1500 }, { id: 9, until: 1600 }), since: 1400, outage: earlier }
    ],
    [
      "of an override and what is beneath it",
      forced(2000, open),
      { ...forced(1900, { ...open, since: 900, until: 1400, outage: earlier }), since: 900 }
    ],
    [
      "of several overrides",
      { ...forced(2000), others: [another(1800)] },
      {
        ...forced(1900, closed),
        since: 900,
        others: [{ ...another(1700), since: 950 }],
        under: { ...closed, since: 900 }
      }
    ],
    [
      "of an override without end, which still has none",
      forced(Infinity),
      { ...forced(Infinity, { ...closed, since: 900 }), since: 900 }
    ]
  ]
  it.each(table)("%s", (_, circuit, expected) => {
    assert.deepStrictEqual(Fleet.shift(circuit, -100), expected)
  })
})

describe("a store keeps", () => {
  const minute = 60_000
  const day = 86_400_000
  const table: ReadonlyArray<readonly [string, Circuit.Circuit, boolean, number | undefined]> = [
    ["a Closed circuit as long as its openings count, and a minute", closed, false, 500 + minute],
    ["a ramp to its end, and a minute", { ...closed, rampUntil: 9_100 }, false, 8_000 + minute],
    ["a Closed circuit that an override left a day and a minute", closed, true, day + minute],
    ["an opening for its rest, as long again as it lasts, and a minute", open, false, 400 + 500 + minute],
    ["an opening that is over as long as it lasted, and a minute", { ...open, until: 1050 }, false, 50 + minute],
    ["an opening that an override left as long, and a day", open, true, 400 + 500 + day],
    ["a HalfOpen circuit without probes as long as it was open, and a minute", halfOpen(), false, 500 + minute],
    [
      "a HalfOpen circuit to the end of its last lease",
      halfOpen({ id: 1, until: 1200 }, { id: 2, until: 1400 }, { id: 3, until: 900 }),
      false,
      300 + 500 + minute
    ],
    ["an override to its end, and what is beneath it from then", forced(2100), false, 1000 + 500 + minute],
    [
      "several overrides to the end of the last one",
      { ...forced(2100), others: [another(3100), another(1500)] },
      false,
      2000 + 500 + minute
    ],
    ["an override without end for good", forced(Infinity, open), false, undefined],
    [
      "what counts for a thousand years as long as that",
      { ...closed, openFor: 365_000 * day - minute },
      false,
      365_000 * day
    ],
    ["what counts for longer for good", { ...closed, openFor: 365_000 * day - minute + 1 }, false, undefined]
  ]
  it.each(table)("%s", (_, circuit, lifted, expected) => {
    assert.strictEqual(Fleet.keptFor(circuit, 1100, lifted), expected)
    if (!lifted) assert.strictEqual(Fleet.keptFor(circuit, 1100), expected, "where nothing is said of an override")
  })
})

describe("a record that a process reads when it starts", () => {
  const table: ReadonlyArray<readonly [string, Circuit.Circuit, number, boolean]> = [
    ["is no Closed circuit", closed, 1000, false],
    ["is no new one", Circuit.initial, 0, false],
    ["is a ramp", { ...closed, rampUntil: 1700 }, 1699.9, true],
    ["is no ramp that is over", { ...closed, rampUntil: 1700 }, 1700, false],
    ["is an opening", open, 1100, true],
    ["is an opening that is over but not yet probed", open, 1e9, true],
    ["is a HalfOpen circuit", halfOpen(), 1600, true],
    ["is an override", forced(2000), 1100, true],
    ["is an override that lets all through", { ...forced(2000), _tag: "Disabled" }, 1100, true]
  ]
  it.each(table)("%s", (_, circuit, now, expected) => {
    assert.strictEqual(Fleet.isListed(circuit, now), expected)
  })
})

describe("the quorum", () => {
  const judge = (quorum: number, seen: Partial<Fleet.Tally>) =>
    Fleet.judge({ ...tally, open: 2, streak: 0, asked: 100, ...seen }, fiveInARow, { ...rules, quorum }, more)._tag

  it("is the share of processes that must have opened, unless the pooled evidence trips the policy", () => {
    assert.deepStrictEqual([judge(0.5, {}), judge(0.7, {})], ["Open", "Wait"])
  })

  it("makes an inquiry lost if less than half of it is convinced", () => {
    const seen = { voters: 10, live: 10, convictions: 4, failing: 4, open: 0 }
    assert.deepStrictEqual([judge(0.5, seen), judge(0.9, seen)], ["Wait", "Lost"])
  })
})
