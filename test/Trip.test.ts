import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Duration, Schema } from "effect"
import { Trip } from "effect-fuse"
import type { Window } from "effect-fuse/core"
import { none } from "./support/windows.ts"

const last10: Window.Over = { _tag: "Calls", calls: 10 }
const last100: Window.Over = { _tag: "Calls", calls: 100 }
const tenSeconds: Window.Over = { _tag: "Time", millis: 10_000 }

/** What a test wants seen; anything not said is 0. `asked` lists the windows that were read. */
const evidence = (seen: {
  readonly streak?: number
  readonly counts?: Partial<Window.Counts>
  readonly perWindow?: (over: Window.Over) => Window.Counts
  readonly ages?: ReadonlyArray<number>
  readonly running?: number
  readonly openings?: number
  readonly time?: number
}): Trip.Evidence & { readonly asked: Array<Window.Over> } => {
  const asked: Array<Window.Over> = []
  return {
    asked,
    streak: seen.streak ?? 0,
    running: seen.running ?? 0,
    openings: seen.openings ?? 0,
    time: seen.time ?? 0,
    counts: (over) => {
      asked.push(over)
      return seen.perWindow?.(over) ?? { ...none, ...seen.counts }
    },
    stuck: (millis, enough) => Math.min(enough, (seen.ages ?? []).filter((age) => age >= millis).length)
  }
}

const trips = (trip: Trip.Trip, seen: Parameters<typeof evidence>[0]) =>
  Trip.tripped(trip, evidence(seen)) !== undefined

const consecutive = (failures: number): Trip.Trip => ({ _tag: "Consecutive", failures })
const rate = (tag: "FailureRate" | "SlowRate", threshold: number, minimumCalls: number): Trip.Trip => ({
  _tag: tag,
  threshold,
  minimumCalls,
  over: last100
})
const failures = (atLeast: number): Trip.Trip => ({ _tag: "Failures", atLeast, over: last10 })
const weighted = (atLeast: number): Trip.Trip => ({ _tag: "Weighted", atLeast, over: tenSeconds })
const stuck = (calls: number, olderThanMillis: number): Trip.Trip => ({ _tag: "Stuck", calls, olderThanMillis })
const any = (...trips: ReadonlyArray<Trip.Trip>): Trip.Trip => ({ _tag: "Any", trips })
const all = (...trips: ReadonlyArray<Trip.Trip>): Trip.Trip => ({ _tag: "All", trips })
const custom = (predicate: Trip.Predicate, over: Window.Over = last100): Trip.Trip => ({
  _tag: "Custom",
  name: "own",
  over,
  predicate
})

describe("a rule trips at its threshold and not below", () => {
  const table: ReadonlyArray<readonly [string, Trip.Trip, Parameters<typeof evidence>[0], boolean]> = [
    ["consecutive, no failure", consecutive(1), { streak: 0 }, false],
    ["consecutive, one of one", consecutive(1), { streak: 1 }, true],
    ["consecutive, one short", consecutive(5), { streak: 4 }, false],
    ["consecutive, at", consecutive(5), { streak: 5 }, true],
    ["consecutive, above", consecutive(5), { streak: 6 }, true],
    [
      "consecutive, many failures but not in a row",
      consecutive(5),
      { streak: 1, counts: { calls: 9, failures: 9 } },
      false
    ],

    ["failure rate, at", rate("FailureRate", 0.5, 2), { counts: { calls: 200, failures: 100 } }, true],
    ["failure rate, 0.495 of 0.5", rate("FailureRate", 0.5, 2), { counts: { calls: 200, failures: 99 } }, false],
    ["failure rate, 0.4999 of 0.5", rate("FailureRate", 0.5, 2), { counts: { calls: 10_000, failures: 4999 } }, false],
    ["failure rate, above", rate("FailureRate", 0.5, 2), { counts: { calls: 200, failures: 101 } }, true],
    ["failure rate, a third of three", rate("FailureRate", 1 / 3, 3), { counts: { calls: 3, failures: 1 } }, true],
    ["failure rate, all of 1", rate("FailureRate", 1, 1), { counts: { calls: 7, failures: 7 } }, true],
    ["failure rate, all but one of 1", rate("FailureRate", 1, 1), { counts: { calls: 7, failures: 6 } }, false],
    ["failure rate, too few calls", rate("FailureRate", 0.5, 20), { counts: { calls: 19, failures: 19 } }, false],
    ["failure rate, just enough calls", rate("FailureRate", 0.5, 20), { counts: { calls: 20, failures: 10 } }, true],
    ["failure rate, empty window", rate("FailureRate", 0.5, 1), { counts: none }, false],
    ["failure rate, no minimum, empty window", rate("FailureRate", 0.5, 0), { counts: none }, false],
    [
      "failure rate, no failure at a threshold of 0",
      rate("FailureRate", 0, 1),
      { counts: { calls: 9, slow: 9 } },
      false
    ],
    ["failure rate, slow calls only", rate("FailureRate", 0.1, 1), { counts: { calls: 9, slow: 9 } }, false],

    ["slow rate, at", rate("SlowRate", 0.5, 2), { counts: { calls: 200, slow: 100 } }, true],
    ["slow rate, 0.495 of 0.5", rate("SlowRate", 0.5, 2), { counts: { calls: 200, slow: 99 } }, false],
    ["slow rate, too few calls", rate("SlowRate", 0.5, 20), { counts: { calls: 19, slow: 19 } }, false],
    ["slow rate, just enough calls", rate("SlowRate", 0.5, 20), { counts: { calls: 20, slow: 10 } }, true],
    ["slow rate, no minimum, empty window", rate("SlowRate", 0.5, 0), { counts: none }, false],
    [
      "slow rate, no slow call at a threshold of 0",
      rate("SlowRate", 0, 1),
      { counts: { calls: 9, failures: 9 } },
      false
    ],
    ["slow rate, failures only", rate("SlowRate", 0.1, 1), { counts: { calls: 9, failures: 9, weight: 9 } }, false],

    ["failures, one short", failures(2), { counts: { calls: 10, failures: 1 } }, false],
    ["failures, at, of few calls", failures(2), { counts: { calls: 2, failures: 2 } }, true],
    ["failures, above", failures(2), { counts: { calls: 10, failures: 10 } }, true],
    [
      "failures, slow and heavy ones do not add",
      failures(2),
      { counts: { calls: 9, failures: 1, slow: 9, weight: 9 } },
      false
    ],

    ["weighted, just below", weighted(2.5), { counts: { calls: 9, failures: 9, weight: 2.4999 } }, false],
    ["weighted, at", weighted(2.5), { counts: { calls: 2, failures: 1, weight: 2.5 } }, true],
    ["weighted, above", weighted(2.5), { counts: { calls: 2, failures: 1, weight: 100 } }, true],

    ["stuck, one short", stuck(3, 1000), { ages: [5000, 1000, 999] }, false],
    ["stuck, at", stuck(3, 1000), { ages: [5000, 1000, 1000, 0] }, true],
    ["stuck, many young ones", stuck(3, 1000), { ages: [999, 999, 999, 999], running: 4 }, false],

    ["any, none of two", any(consecutive(3), failures(2)), { streak: 2, counts: { failures: 1 } }, false],
    ["any, the first of two", any(consecutive(3), failures(2)), { streak: 3, counts: { failures: 1 } }, true],
    ["any, the second of two", any(consecutive(3), failures(2)), { streak: 2, counts: { failures: 2 } }, true],
    ["all, one of two", all(consecutive(3), failures(2)), { streak: 3, counts: { failures: 1 } }, false],
    ["all, the other of two", all(consecutive(3), failures(2)), { streak: 2, counts: { failures: 2 } }, false],
    ["all, both", all(consecutive(3), failures(2)), { streak: 3, counts: { failures: 2 } }, true],
    ["custom, no", custom(() => false), { streak: 100, counts: { calls: 9, failures: 9, slow: 9, weight: 9 } }, false],
    ["custom, yes", custom(() => true), {}, true]
  ]
  it.each(table)("%s", (_, trip, seen, expected) => {
    assert.strictEqual(trips(trip, seen), expected)
  })
})

it.prop(
  "a rate trips exactly where the share, in whole numbers, is not below the threshold",
  {
    tag: Arbitrary.schema(Schema.Literals(["FailureRate", "SlowRate"])),
    calls: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5000 }))),
    bad: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5000 }))),
    perMille: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1000 }))),
    nudge: Arbitrary.schema(Schema.Literals([0, 0, 1, -1]))
  },
  ({ bad, calls, nudge, perMille, tag }) => {
    // Half of the runs are at the threshold or one call beside it, where rounding would show.
    const near = Math.ceil((calls * perMille) / 1000) + nudge
    for (const count of [bad, near]) {
      if (count < 0 || count > calls) continue
      const counts = { calls, [tag === "FailureRate" ? "failures" : "slow"]: count }
      assert.strictEqual(
        trips(rate(tag, perMille / 1000, 1), { counts }),
        count > 0 && count * 1000 >= perMille * calls
      )
    }
  },
  { arbitrary: { runs: 1000, seed: "rate" } }
)

describe("tripped returns the part that trips", () => {
  const first = consecutive(2)
  const second = failures(1)

  it("of a single rule the rule itself", () => {
    assert.strictEqual(Trip.tripped(first, evidence({ streak: 2 })), first)
    assert.strictEqual(Trip.tripped(first, evidence({ streak: 1 })), undefined)
  })

  it("of any the first that does, and asks no further", () => {
    const both = evidence({ streak: 2, counts: { failures: 1 } })
    assert.strictEqual(Trip.tripped(any(first, second), both), first)
    assert.deepStrictEqual(both.asked, [])
    assert.strictEqual(Trip.tripped(any(second, first), both), second)
    assert.strictEqual(Trip.tripped(any(first, second), evidence({ counts: { failures: 1 } })), second)
  })

  it("of all the whole, and of any around it the all", () => {
    const whole = all(first, second)
    const both = evidence({ streak: 2, counts: { failures: 1 } })
    assert.strictEqual(Trip.tripped(whole, both), whole)
    assert.strictEqual(Trip.tripped(any(consecutive(9), whole), both), whole)
    assert.strictEqual(Trip.tripped(all(any(consecutive(9), first), second), evidence({ streak: 2 })), undefined)
  })
})

it("each rule reads its own window", () => {
  const seen = evidence({ perWindow: (over) => ({ ...none, calls: 10, failures: over._tag === "Time" ? 10 : 0 }) })
  const perTime: Trip.Trip = { _tag: "FailureRate", threshold: 0.5, minimumCalls: 10, over: tenSeconds }
  const perCalls: Trip.Trip = { ...perTime, over: last10 }
  assert.strictEqual(Trip.tripped(perCalls, seen), undefined)
  assert.strictEqual(Trip.tripped(perTime, seen), perTime)
  assert.deepStrictEqual(seen.asked, [last10, tenSeconds])
})

it("stuck asks for calls of its age, up to its number", () => {
  const asked: Array<ReadonlyArray<number>> = []
  const seen: Trip.Evidence = {
    ...evidence({}),
    stuck: (...args) => {
      asked.push(args)
      return 0
    }
  }
  Trip.tripped(stuck(3, 1000), seen)
  assert.deepStrictEqual(asked, [[1000, 3]])
})

describe("a custom trip sees", () => {
  const look = (over: Window.Over, seen: Parameters<typeof evidence>[0]) => {
    const got: Array<Trip.Seen> = []
    const predicate = (one: Trip.Seen) => {
      got.push(one)
      return false
    }
    const asked = evidence(seen)
    Trip.tripped(custom(predicate, over), asked)
    return { got, asked: asked.asked }
  }

  it("the counts of its window, the shares and everything else that is known", () => {
    const counts = { calls: 8, failures: 2, slow: 6, weight: 7.5 }
    const { asked, got } = look(tenSeconds, { streak: 1, counts, running: 4, openings: 3, time: 1_700_000_000_000 })
    const rates = { failureRate: 0.25, slowRate: 0.75 }
    assert.deepStrictEqual(got, [{ ...counts, ...rates, streak: 1, running: 4, openings: 3, time: 1_700_000_000_000 }])
    assert.deepStrictEqual(asked, [tenSeconds])
  })

  it("shares of 0, not of nothing by nothing, when there was no call", () => {
    const { got } = look(last10, {})
    assert.deepStrictEqual([got[0]?.failureRate, got[0]?.slowRate], [0, 0])
  })

  it("and an error that it throws reaches the caller", () => {
    const broken = custom(() => {
      throw new Error("broken")
    })
    assert.throws(() => trips(broken, {}), /broken/)
  })
})

describe("windows", () => {
  const table: ReadonlyArray<readonly [string, Trip.Trip, ReadonlyArray<Window.Over>]> = [
    ["are none for rules that need none", any(consecutive(1), stuck(1, 1)), []],
    ["are those of every kind of rule that has one", rate("FailureRate", 0.5, 1), [last100]],
    ["count slow calls too", rate("SlowRate", 0.5, 1), [last100]],
    ["count failures too", failures(1), [last10]],
    ["count weights too", weighted(1), [tenSeconds]],
    ["count custom trips too", custom(() => true), [last100]],
    [
      "come once each, however deep and however often they are named",
      any(failures(1), all(weighted(1), any({ ...failures(2) }, rate("SlowRate", 1, 1)), weighted(9)), failures(3)),
      [last10, tenSeconds, last100]
    ],
    [
      "over as many calls as milliseconds are two",
      any({ _tag: "Failures", atLeast: 1, over: { _tag: "Time", millis: 10 } }, failures(1)),
      [{ _tag: "Time", millis: 10 }, last10]
    ],
    [
      "over two stretches of time are two, and so are those over two numbers of calls",
      any(
        weighted(1),
        { ...weighted(1), over: { _tag: "Time", millis: 60_000 } } as Trip.Trip,
        failures(1),
        custom(() => true)
      ),
      [tenSeconds, { _tag: "Time", millis: 60_000 }, last10, last100]
    ]
  ]
  it.each(table)("%s", (_, trip, expected) => {
    assert.deepStrictEqual(Trip.windows(trip), expected)
  })
})

it("only a trip with stuck somewhere in it watches the calls in flight", () => {
  const others = any(consecutive(1), rate("FailureRate", 1, 1), rate("SlowRate", 1, 1), failures(1), weighted(1))
  assert.isFalse(
    Trip.watchesRunning(
      all(
        others,
        custom(() => true)
      )
    )
  )
  assert.isTrue(Trip.watchesRunning(stuck(1, 1)))
  assert.isTrue(Trip.watchesRunning(any(others, all(others, stuck(1, 1)))))
})

describe("a call that arrives", () => {
  const hanging = stuck(3, 1000)
  const both = all(consecutive(1), hanging)
  const table: ReadonlyArray<readonly [string, Trip.Trip, Trip.Trip | undefined]> = [
    ["sets off a rule of calls that hang", hanging, hanging],
    ["sets off no rule that waits for a failure", consecutive(1), undefined],
    ["sets off no rate", rate("FailureRate", 0.5, 1), undefined],
    ["sets off no custom rule", custom(() => true), undefined],
    ["of all together sets off the whole, if one is of calls that hang", both, both],
    ["of all together sets off nothing, if none is", all(consecutive(1), failures(1)), undefined],
    ["of any sets off those that are", any(consecutive(1), hanging, failures(1), both), any(hanging, both)],
    ["of any sets off nothing, if none is", any(consecutive(1), failures(1)), undefined],
    ["of any sets off what is within another any", any(failures(1), any(consecutive(1), hanging)), any(any(hanging))]
  ]
  it.each(table)("%s", (_, trip, expected) => {
    assert.deepStrictEqual(Trip.onArrival(trip), expected)
  })
})

describe("describe names what was seen and the limit", () => {
  const seen = evidence({ streak: 7, counts: { calls: 30, failures: 15, slow: 12, weight: 22.5 } })
  const table: ReadonlyArray<readonly [Trip.Trip, string]> = [
    [consecutive(5), "7 failures in a row (limit 5)"],
    [rate("FailureRate", 0.5, 20), "15 of 30 calls failed in the last 100 calls (limit 50%)"],
    [{ ...rate("FailureRate", 0.125, 2), over: tenSeconds } as Trip.Trip, "15 of 30 calls failed in 10s (limit 12.5%)"],
    [rate("SlowRate", 0.4, 20), "12 of 30 calls were slow in the last 100 calls (limit 40%)"],
    [failures(2), "15 failures in the last 10 calls (limit 2)"],
    [weighted(20), "failures weighing 22.5 in 10s (limit 20)"],
    [weighted(20.004), "failures weighing 22.5 in 10s (limit 20)"],
    [stuck(3, 90_000), "3 or more calls running for 1m 30s or longer"],
    [custom(() => true), `custom trip "own"`],
    [
      any(consecutive(5), failures(2)),
      "(7 failures in a row (limit 5), or 15 failures in the last 10 calls (limit 2))"
    ],
    [
      all(consecutive(5), failures(2)),
      "(7 failures in a row (limit 5), and 15 failures in the last 10 calls (limit 2))"
    ],
    [
      all(consecutive(5), any(stuck(3, 1000), failures(2)), weighted(20)),
      "(7 failures in a row (limit 5), and (3 or more calls running for 1s or longer, or 15 failures in the last 10 " +
        "calls (limit 2)), and failures weighing 22.5 in 10s (limit 20))"
    ]
  ]
  it.each(table)("%o", (trip, expected) => {
    assert.strictEqual(Trip.describe(trip, seen), expected)
  })

  it.each([
    [0, "0 failures"],
    [1, "1 failure"],
    [2, "2 failures"]
  ])("%d of them: %s", (n, words) => {
    const some = evidence({ streak: n, counts: { calls: 9, failures: n } })
    assert.strictEqual(Trip.describe(consecutive(1), some), `${words} in a row (limit 1)`)
    assert.strictEqual(Trip.describe(failures(1), some), `${words} in the last 10 calls (limit 1)`)
  })

  it.each([
    [0.1 + 0.2, "0.3"],
    [0.012345, "0.01"],
    [22.456, "22.46"],
    [20, "20"],
    [1234.5, "1234.5"],
    [0.01, "0.01"],
    [0.0042, "0.004"]
  ])("a weight of %d as %s", (weight, digits) => {
    const expected = `failures weighing ${digits} in 10s (limit 20)`
    assert.strictEqual(Trip.describe(weighted(20), evidence({ counts: { weight } })), expected)
  })

  it.each([
    [1 / 3, "33.33%"],
    [0.29, "29%"],
    [0.07, "7%"],
    [0.0005, "0.05%"],
    [0.00004, "0.004%"],
    [0.9996, "99.96%"],
    [1, "100%"]
  ])("a limit of %d as %s, of failed and of slow calls", (threshold, words) => {
    for (const tag of ["FailureRate", "SlowRate"] as const) {
      assert.include(Trip.describe(rate(tag, threshold, 1), seen), `(limit ${words})`)
    }
  })
})

describe("the constructors write the data that configuration would", () => {
  const predicate = () => true
  const table: ReadonlyArray<readonly [Trip.Input, Trip.Input]> = [
    [Trip.consecutive(5), { _tag: "Consecutive", failures: 5 }],
    [Trip.failures({ atLeast: 2, of: 5 }), { _tag: "Failures", atLeast: 2, of: 5 }],
    [
      Trip.failureRate({ threshold: 0.5, minimumCalls: 20, over: "10 seconds" }),
      { _tag: "FailureRate", threshold: 0.5, minimumCalls: 20, over: "10 seconds" }
    ],
    [
      Trip.slowRate({ threshold: 1, minimumCalls: 1, over: 50 }),
      { _tag: "SlowRate", threshold: 1, minimumCalls: 1, over: 50 }
    ],
    [
      Trip.stuck({ calls: 3, olderThan: Duration.seconds(2) }),
      { _tag: "Stuck", calls: 3, olderThan: Duration.seconds(2) }
    ],
    [Trip.weighted({ atLeast: 2.5, over: "1 minute" }), { _tag: "Weighted", atLeast: 2.5, over: "1 minute" }],
    [Trip.custom("own", predicate), { _tag: "Custom", name: "own", predicate }],
    [Trip.custom("own", predicate, { over: 7 }), { _tag: "Custom", name: "own", predicate, over: 7 }],
    [
      Trip.any(Trip.consecutive(1), Trip.all(Trip.consecutive(2))),
      {
        _tag: "Any",
        trips: [
          { _tag: "Consecutive", failures: 1 },
          { _tag: "All", trips: [{ _tag: "Consecutive", failures: 2 }] }
        ]
      }
    ]
  ]
  it.each(table)("%o", (made, written) => {
    assert.deepStrictEqual(made, written)
  })
})
