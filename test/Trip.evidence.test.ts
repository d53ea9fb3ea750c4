import { assert, describe, it } from "@effect/vitest"
import { Trip } from "effect-fuse"
import type { Window } from "effect-fuse/core"
import { forgetAfterMillis, LiveEvidence } from "../src/core/evidence.ts"
import { calls, none, time } from "./support/windows.ts"

const hour = 3_600_000

const still = { running: 0, runningSince: undefined, openings: 0, time: 0 }
const succeed = (evidence: LiveEvidence, now: number, slow = false) => evidence.recordSuccess(now, slow)
const fail = (evidence: LiveEvidence, now: number, retryAfterMillis = 0, weight = 1, slow = false) =>
  evidence.recordFailure(now, slow, weight, retryAfterMillis)
const countsOf = (evidence: LiveEvidence, over: Window.Over, now: number) => evidence.at(now, still).counts(over)

describe("the streak", () => {
  it("counts failures in a row and starts again at a success, be it slow", () => {
    const evidence = new LiveEvidence([])
    const seen: Array<number> = []
    for (const [index, outcome] of ["f", "f", "s", "f", "slow", "f", "f", "f"].entries()) {
      if (outcome === "f") fail(evidence, index)
      else succeed(evidence, index, outcome === "slow")
      seen.push(evidence.streakAt(index))
    }
    assert.deepStrictEqual(seen, [1, 2, 0, 1, 0, 1, 2, 3])
  })

  it("is what a trip sees", () => {
    const evidence = new LiveEvidence([])
    for (let i = 0; i < 5; i++) fail(evidence, i)
    const trip: Trip.Trip = { _tag: "Consecutive", failures: 5 }
    assert.strictEqual(Trip.tripped(trip, evidence.at(5, still)), trip)
    assert.strictEqual(Trip.tripped({ ...trip, failures: 6 }, evidence.at(5, still)), undefined)
  })
})

describe("the hint of how long to stay away", () => {
  it("only ever lengthens while calls fail", () => {
    const evidence = new LiveEvidence([])
    const seen: Array<number> = []
    for (const [now, hint] of [
      [50, 0],
      [100, 500],
      [200, 50],
      [300, 0],
      [400, 300],
      [500, 201]
    ] as const) {
      fail(evidence, now, hint)
      seen.push(evidence.hintUntil)
    }
    assert.deepStrictEqual(seen, [0, 600, 600, 600, 700, 701])
  })

  it("is forgotten at a success and at a clear", () => {
    const evidence = new LiveEvidence([])
    fail(evidence, 0, 500)
    succeed(evidence, 1)
    assert.strictEqual(evidence.hintUntil, 0)
    fail(evidence, 2, 500)
    evidence.clear()
    assert.strictEqual(evidence.hintUntil, 0)
  })
})

describe("windows", () => {
  const overs = [calls(3), calls(10), time(1000)]

  it("all see every call", () => {
    const evidence = new LiveEvidence(overs)
    succeed(evidence, 0)
    succeed(evidence, 0, true)
    fail(evidence, 0, 0, 2.5, true)
    fail(evidence, 0)
    const all = { calls: 4, failures: 2, slow: 2, weight: 3.5 }
    assert.deepStrictEqual(evidence.counts(0), [
      { over: calls(3), counts: { ...all, calls: 3 } },
      { over: calls(10), counts: all },
      { over: time(1000), counts: all }
    ])
    for (const { counts, over } of evidence.counts(0)) assert.deepStrictEqual(countsOf(evidence, over, 0), counts)
  })

  it("that the trip does not read hold nothing", () => {
    const evidence = new LiveEvidence(overs)
    fail(evidence, 0)
    assert.deepStrictEqual(countsOf(evidence, calls(4), 0), none)
    assert.deepStrictEqual(countsOf(evidence, time(3), 0), none)
  })

  it("are emptied by a clear, together with the streak", () => {
    const evidence = new LiveEvidence(overs)
    for (let i = 0; i < 5; i++) fail(evidence, i, 0, 2, true)
    evidence.clear()
    assert.strictEqual(evidence.streakAt(5), 0)
    for (const { counts } of evidence.counts(5)) assert.deepStrictEqual(counts, none)
  })
})

describe("an hour without calls", () => {
  const filled = (start: number) => {
    const evidence = new LiveEvidence([calls(10), time(2 * hour)])
    for (let i = 0; i < 4; i++) fail(evidence, start, 2 * hour)
    return evidence
  }

  it("is an hour", () => {
    assert.strictEqual(forgetAfterMillis, hour)
  })

  it.each([0, 123, 50 * hour])(
    "after %d forgets the streak, the hint and the windows over calls, not a millisecond before",
    (start) => {
      const evidence = filled(start)
      assert.strictEqual(evidence.streakAt(start + hour - 1), 4)
      assert.strictEqual(countsOf(evidence, calls(10), start + hour - 1).failures, 4)
      assert.strictEqual(evidence.hintUntil, start + 2 * hour)
      assert.strictEqual(evidence.streakAt(start + hour), 0)
      assert.strictEqual(evidence.hintUntil, 0)
      assert.deepStrictEqual(countsOf(evidence, calls(10), start + hour), none)
    }
  )

  it("leaves a window over a longer time to its own clock", () => {
    const evidence = filled(0)
    assert.strictEqual(countsOf(evidence, time(2 * hour), hour).failures, 4)
    assert.strictEqual(countsOf(evidence, time(2 * hour), 2 * hour).failures, 0)
  })

  it.each([
    ["streakAt", (e: LiveEvidence) => e.streakAt(hour)],
    ["a view", (e: LiveEvidence) => e.at(hour, still).streak],
    ["isQuiet, of what it forgot", (e: LiveEvidence) => (e.isQuiet(hour) ? 0 : 1)],
    ["counts", (e: LiveEvidence) => e.counts(hour)[0]?.counts.failures]
  ] as const)("is noticed by %s", (_, read) => {
    const evidence = new LiveEvidence([calls(10)])
    for (let i = 0; i < 4; i++) fail(evidence, 0)
    assert.strictEqual(read(evidence), 0)
  })

  it("counts from the last call: a failure after it is the first of a streak", () => {
    const evidence = filled(0)
    succeed(evidence, hour - 1)
    for (let i = 0; i < 2; i++) fail(evidence, hour)
    assert.strictEqual(countsOf(evidence, calls(10), 2 * hour - 1).calls, 7)
    fail(evidence, 2 * hour)
    assert.deepStrictEqual([evidence.streakAt(2 * hour), countsOf(evidence, calls(10), 2 * hour).calls], [1, 1])
  })

  it("is noticed by a success as well", () => {
    const evidence = filled(0)
    succeed(evidence, hour)
    assert.deepStrictEqual(countsOf(evidence, calls(10), hour), { ...none, calls: 1 })
  })
})

describe("evidence is quiet", () => {
  it("when it is new and when only good calls were seen", () => {
    const evidence = new LiveEvidence([calls(2), time(1000)])
    assert.isTrue(evidence.isQuiet(0))
    for (let i = 0; i < 5; i++) succeed(evidence, i)
    assert.isTrue(evidence.isQuiet(5))
  })

  it("only once a failure is out of every window, though the streak ended long ago", () => {
    const evidence = new LiveEvidence([calls(2), time(1000)])
    fail(evidence, 0)
    assert.isFalse(evidence.isQuiet(0))
    succeed(evidence, 1)
    succeed(evidence, 2)
    assert.isFalse(evidence.isQuiet(999), "the window over time still holds it")
    assert.isTrue(evidence.isQuiet(1000))
    fail(evidence, 1000)
    succeed(evidence, 1001)
    assert.isFalse(evidence.isQuiet(5000), "the window over calls still holds it")
    succeed(evidence, 5000)
    assert.isTrue(evidence.isQuiet(5000))
  })

  it("not while a slow call still counts", () => {
    const evidence = new LiveEvidence([time(1000)])
    succeed(evidence, 0, true)
    assert.isFalse(evidence.isQuiet(0))
    assert.isTrue(evidence.isQuiet(1000))
  })

  it("not while a streak lasts that no window shows", () => {
    const evidence = new LiveEvidence([])
    fail(evidence, 0)
    assert.isFalse(evidence.isQuiet(hour - 1))
    assert.isTrue(evidence.isQuiet(hour))
  })
})

describe("a change of the trip", () => {
  it("keeps the streak, the hint and the windows that stay", () => {
    const evidence = new LiveEvidence([calls(10), time(1000)])
    for (let i = 0; i < 4; i++) fail(evidence, 0, 500)
    evidence.resize([time(1000), calls(10)], 0)
    assert.strictEqual(evidence.streakAt(0), 4)
    assert.strictEqual(evidence.hintUntil, 500)
    assert.strictEqual(countsOf(evidence, calls(10), 0).failures, 4)
    assert.strictEqual(countsOf(evidence, time(1000), 0).failures, 4)
  })

  it("gives windows of another length what they can hold", () => {
    const evidence = new LiveEvidence([calls(10), time(1000)])
    for (let i = 0; i < 4; i++) fail(evidence, 0)
    succeed(evidence, 900)
    evidence.resize([calls(2), time(5000)], 900)
    assert.deepStrictEqual(countsOf(evidence, calls(2), 900), { calls: 2, failures: 1, slow: 0, weight: 1 })
    assert.deepStrictEqual(countsOf(evidence, time(5000), 4999), { calls: 5, failures: 4, slow: 0, weight: 4 })
    assert.deepStrictEqual(countsOf(evidence, calls(10), 900), none, "and windows that are gone hold nothing")
  })

  const narrowAndWide = [
    [calls(2), calls(10), calls(5), time(100), time(10_000), time(1000)],
    [calls(10), time(10_000), time(1000), calls(5), time(100), calls(2)],
    [time(1000), time(100), time(10_000), calls(2), calls(5), calls(10)]
  ]
  it.each(narrowAndWide)(
    "fills a new window from one of its kind that is wide enough, or else the widest, wherever that stands",
    (...overs) => {
      const evidence = new LiveEvidence(overs)
      fail(evidence, 0)
      for (let i = 1; i <= 7; i++) fail(evidence, 5000)
      evidence.resize([time(20_000), calls(7), calls(20)], 5000)
      const seen = [calls(7), calls(20), time(20_000)].map((over) => countsOf(evidence, over, 5000).failures)
      assert.deepStrictEqual(seen, [7, 8, 8])
    }
  )

  it("keeps a window that stays as exact as it was, whichever wider ones there are", () => {
    const evidence = new LiveEvidence([time(10_000), time(1000)])
    fail(evidence, 900)
    evidence.resize([time(1000)], 900)
    assert.strictEqual(countsOf(evidence, time(1000), 1899).failures, 1)
    assert.strictEqual(countsOf(evidence, time(1000), 1900).failures, 0)
  })

  it("fills a narrower window from the narrowest that is wide enough, as that is the most exact", () => {
    const evidence = new LiveEvidence([time(60_000), time(1000)])
    for (let i = 0; i < 4; i++) fail(evidence, 8900)
    evidence.resize([time(900)], 8900)
    assert.strictEqual(countsOf(evidence, time(900), 8900).failures, 4)
  })

  it("starts a kind of window that was not there empty", () => {
    const evidence = new LiveEvidence([calls(10)])
    fail(evidence, 0)
    evidence.resize([time(1000)], 0)
    assert.deepStrictEqual(countsOf(evidence, time(1000), 0), none)
    fail(evidence, 0)
    assert.strictEqual(countsOf(evidence, time(1000), 0).failures, 1)
  })

  it("gives each new window its own counts: a call counts once in each", () => {
    const evidence = new LiveEvidence([calls(10)])
    fail(evidence, 0)
    evidence.resize([calls(10), calls(5), calls(20)], 0)
    fail(evidence, 0)
    for (const n of [5, 10, 20]) assert.strictEqual(countsOf(evidence, calls(n), 0).failures, 2)
  })

  it("does not save what an idle hour forgets", () => {
    const evidence = new LiveEvidence([calls(10)])
    fail(evidence, 0)
    evidence.resize([calls(5)], hour)
    assert.deepStrictEqual([evidence.streakAt(hour), countsOf(evidence, calls(5), hour)], [0, none])
  })
})

describe("the window for the failure rate", () => {
  const recentOf = (evidence: LiveEvidence, now: number) => {
    const { calls, failures } = evidence.recent(now)
    return [calls, failures]
  }

  it("exists if the trip reads no window, and does not count for a trip", () => {
    const evidence = new LiveEvidence([])
    fail(evidence, 0)
    evidence.recordSuccess(0, false)
    assert.deepStrictEqual(recentOf(evidence, 0), [2, 1])
    assert.deepStrictEqual(evidence.counts(0), [])
    assert.isTrue(evidence.isQuiet(0))
    assert.deepStrictEqual(recentOf(evidence, 10_000), [0, 0])
  })

  it("does not exist if the trip reads windows: the rate is that of the window with most calls", () => {
    for (const overs of [
      [time(1000), calls(10)],
      [calls(10), time(1000)]
    ]) {
      const evidence = new LiveEvidence(overs)
      fail(evidence, 0)
      fail(evidence, 5000)
      assert.deepStrictEqual(recentOf(evidence, 5000), [2, 2])
      assert.deepStrictEqual(recentOf(evidence, 5000 + forgetAfterMillis), [0, 0])
    }
    assert.deepStrictEqual(recentOf(new LiveEvidence([time(1000)]), 0), [0, 0])
  })

  it.each([
    ["as long", time(10_000)],
    ["longer", time(60_000)],
    ["of calls", calls(10)]
  ])("gives nothing to a window of a trip, nor takes from it, if that is %s", (_, over) => {
    const evidence = new LiveEvidence([])
    fail(evidence, 0)
    evidence.resize([over], 0)
    assert.deepStrictEqual(countsOf(evidence, over, 0), none)
    fail(evidence, 0)
    assert.strictEqual(evidence.counts(0)[0]?.counts.failures, 1)
    assert.isFalse(evidence.isQuiet(0))
    evidence.resize([], 0)
    assert.deepStrictEqual([evidence.counts(0), recentOf(evidence, 0)], [[], [0, 0]])
    fail(evidence, 0)
    assert.deepStrictEqual([evidence.counts(0), recentOf(evidence, 0)], [[], [1, 1]])
  })

  it("keeps its calls if the policy changes and its trip still reads no window", () => {
    const evidence = new LiveEvidence([])
    fail(evidence, 0)
    evidence.resize([], 0)
    assert.deepStrictEqual(recentOf(evidence, 0), [1, 1])
  })
})

describe("calls in flight", () => {
  const since = new Map([50, 100, 100, 400].map((start, index) => [index, start] as const))

  it.each([
    [500, 450, 9, 1],
    [500, 451, 9, 0],
    [500, 400, 9, 3],
    [500, 100, 9, 4],
    [500, 0, 9, 4],
    [500, 100, 2, 2],
    [499, 100, 9, 3]
  ])("at %d, those of %d ms or more, counted up to %d, are %d", (now, millis, enough, expected) => {
    const view = new LiveEvidence([]).at(now, { ...still, runningSince: since })
    assert.strictEqual(view.stuck(millis, enough), expected)
  })

  it("are 0 if the engine does not track them", () => {
    assert.strictEqual(new LiveEvidence([]).at(500, { ...still, running: 7 }).stuck(0, 1), 0)
  })

  it("come with the openings and the wall clock as they are given", () => {
    const { openings, running, time } = new LiveEvidence([]).at(0, { ...still, running: 3, openings: 2, time: 99 })
    assert.deepStrictEqual({ openings, running, time }, { openings: 2, running: 3, time: 99 })
  })
})

describe("the hint of a failed probe", () => {
  it("lengthens the hint, and counts neither in the streak nor in the windows", () => {
    const evidence = new LiveEvidence([calls(10)])
    fail(evidence, 0, 1_000)
    evidence.heed(0, 500)
    assert.strictEqual(evidence.hintUntil, 1_000)
    evidence.heed(0, 2_000)
    assert.deepStrictEqual([evidence.hintUntil, evidence.streakAt(0)], [2_000, 1])
    assert.strictEqual(countsOf(evidence, calls(10), 0).calls, 1)
  })

  it("does not keep an older hint that has been forgotten", () => {
    const evidence = new LiveEvidence([])
    fail(evidence, 0, 10 * hour)
    evidence.heed(forgetAfterMillis, hour)
    assert.strictEqual(evidence.hintUntil, hour)
  })
})

it("A stall does not count as running time of a call that may be stuck", () => {
  const stuckAt = (now: number, stalled: number) => {
    const runningSince = new Map([[1, 0]]) as never
    const more = { ...still, running: 1, runningSince, stalledSince: () => stalled }
    return new LiveEvidence([]).at(now, more).stuck(1_000, 1)
  }
  assert.deepStrictEqual([stuckAt(1_000, 0), stuckAt(1_000, 1), stuckAt(1_500, 500), stuckAt(1_500, 501)], [1, 0, 1, 0])
  const late = new Map([[1, 700]]) as never
  const evidence = new LiveEvidence([]).at(2_000, { ...still, running: 1, runningSince: late, stalledSince: () => 300 })
  assert.deepStrictEqual([evidence.stuck(1_000, 1), evidence.stuck(1_001, 1)], [1, 0])
})
