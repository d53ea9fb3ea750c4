import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { BreakerPolicy, Trip } from "effect-fuse"
import * as Simulator from "effect-fuse/Simulator"
import type { HistoryView } from "../src/dashboard/view.ts"
import { type BandChange, bandsOf, callsOf, realCourse, replay, usual } from "../src/dashboard/whatIf.ts"
import { chances } from "../src/simulator/trace.ts"

const every = 5_000
const samples = 60
const end = samples * every

const history = (
  sample: (i: number) => readonly [calls: number, failures: number, rejections: number]
): HistoryView => {
  const all = Array.from({ length: samples }, (_, i) => sample(i))
  return {
    calls: all.map(([calls]) => calls),
    failures: all.map(([, failures]) => failures),
    rejections: all.map(([, , rejections]) => rejections)
  }
}

const change = (at: number, from: BandChange["from"], to: BandChange["to"], key?: string): BandChange => ({
  ...{ at, from, to, key }
})

/** During an outage from 100 s to 200 s, the circuit opens, a probe fails, and the circuit closes. */
const outage = history((i) => {
  if (i === 20) return [8, 1, 2]
  return i > 20 && i <= 40 ? [0.2, 0.2, 9.8] : [10, 0, 0]
})
const outageStates = [
  change(102_000, "Closed", "Open"),
  change(132_000, "Open", "HalfOpen"),
  change(132_100, "HalfOpen", "Open"),
  change(205_000, "Open", "Closed")
]

describe("the states over a period", () => {
  it.each<readonly [string, ReadonlyArray<BandChange>, BandChange["to"], ReadonlyArray<readonly [string, number]>]>([
    ["without a transition, the circuit has its present state", [], "Isolated", [["Isolated", 100]]],
    ["a transition before the period decides its beginning", [change(-50, "Closed", "Open")], "Open", [["Open", 100]]],
    [
      "each transition ends a state",
      [change(20, "Closed", "Open"), change(50, "Open", "HalfOpen"), change(60, "HalfOpen", "Closed")],
      "Closed",
      [
        ["Closed", 20],
        ["Open", 50],
        ["HalfOpen", 60],
        ["Closed", 100]
      ]
    ],
    [
      "of several keys, the worst state counts",
      [
        change(10, "Closed", "Open", "a"),
        change(30, "Closed", "Open", "b"),
        change(40, "Open", "Closed", "a"),
        change(70, "Open", "Closed", "b")
      ],
      "Closed",
      [
        ["Closed", 10],
        ["Open", 70],
        ["Closed", 100]
      ]
    ],
    ["a transition after the period changes nothing", [change(150, "Closed", "Open")], "Open", [["Closed", 100]]]
  ])("%s", (_, transitions, now, expected) => {
    assert.deepStrictEqual(
      bandsOf(transitions, now, 0, 100).map(({ state, to }) => [state, to] as const),
      expected
    )
  })
})

describe("the calls of the samples", () => {
  it.effect.prop("match the counts of the samples, and are sorted by time", [Schema.String], ([text]) =>
    Effect.sync(() => {
      const chance = chances(text.length + (text.charCodeAt(0) || 0))
      const some = history(() => {
        const calls = chance() * 20
        return [calls, calls * chance(), chance() * 5]
      })
      const { calls, weight } = callsOf(some, [], end, every)
      const sum = (line: ReadonlyArray<number>) => line.reduce((total, n) => total + n * 5, 0)
      assert.strictEqual(weight, 1)
      assert.approximately(calls.length, sum(some.calls) + sum(some.rejections), 2)
      assert.deepStrictEqual(
        calls.map(({ at }) => at),
        calls.map(({ at }) => at).sort((a, b) => a - b)
      )
      assert.isTrue(calls.every(({ at }) => at >= 0 && at <= end))
    })
  )

  it("a rejected call counts as failed if the circuit was open; otherwise it fails at the rate of the calls that ran", () => {
    const rejecting = history(() => [10, 0, 10])
    const failed = (bands: Parameters<typeof callsOf>[1]) =>
      callsOf(rejecting, bands, end, every).calls.filter(({ fails }) => fails).length
    assert.strictEqual(failed([{ state: "Closed", from: 0, to: end }]), 0)
    assert.strictEqual(failed([{ state: "Isolated", from: 0, to: end }]), 0)
    assert.strictEqual(failed([{ state: "Open", from: 0, to: end }]), 3_000)
  })

  it("are limited: above the limit, each replayed call stands for several calls", () => {
    const { calls, weight } = callsOf(
      history(() => [10_000, 100, 0]),
      [],
      end,
      every
    )
    assert.approximately(calls.length, 50_000, 100)
    assert.approximately(calls.length * weight, 3_000_000, 10_000)
  })
})

describe("the replay", () => {
  it("begins with the default policy", () => {
    const { inARow, minimumCalls, openForMillis, share } = usual
    const rate = Trip.failureRate({ threshold: share, minimumCalls, over: "10 seconds" })
    const trip = Trip.any(Trip.consecutive(inARow), rate)
    const policy = Result.getOrThrow(BreakerPolicy.decode({ trip, cooldown: openForMillis }))
    assert.deepStrictEqual(policy, BreakerPolicy.defaults)
  })

  it("of the default policy opens at most one sample away from the real opening", () => {
    const bands = bandsOf(outageStates, "Closed", 0, end)
    const real = realCourse(outage, bands, every)
    const replayed = replay(callsOf(outage, bands, end, every), usual, 0, end)
    assert.approximately(replayed.bands[0]?.to ?? 0, 102_000, 5_000)
    assert.approximately(replayed.openMillis, real.openMillis, 35_000)
    assert.strictEqual(real.openMillis, 103_000)
    assert.approximately(real.rejected, 990, 1)
  })

  it("of a policy that never opens lets all failures through, and a longer cooldown rejects more calls", () => {
    const bands = bandsOf(outageStates, "Closed", 0, end)
    const calls = callsOf(outage, bands, end, every)
    const never = replay(calls, { ...usual, inARow: 10_000, share: 1, minimumCalls: 1_000_000 }, 0, end)
    assert.deepStrictEqual([never.rejected, never.openMillis], [0, 0])
    assert.isAbove(never.failed, 900)
    const short = replay(calls, { ...usual, openForMillis: 5_000 }, 0, end)
    const long = replay(calls, { ...usual, openForMillis: 120_000 }, 0, end)
    assert.isAbove(long.rejected, short.rejected)
    assert.isAbove(short.failed, long.failed)
  })

  it.effect.prop(
    "decides as the engine does: the simulator has the same transitions and counts",
    [Schema.String],
    ([text]) =>
      Effect.gen(function* () {
        const chance = chances([...text].reduce((sum, char) => sum * 31 + (char.codePointAt(0) ?? 0), 7))
        const failing = Array.from({ length: 6 }, () => chance() * chance())
        const some = history((i) => {
          const calls = 1 + chance() * 8
          return [calls, calls * (failing[Math.floor(i / 10)] ?? 0), 0]
        })
        const policy = {
          inARow: 2 + Math.floor(chance() * 6),
          share: 0.2 + chance() * 0.7,
          minimumCalls: 5 + Math.floor(chance() * 30),
          openForMillis: 2_000 + Math.floor(chance() * 30_000)
        }
        const { calls, weight } = callsOf(some, [], end, every)
        const first = calls[0]?.at ?? 0
        const shifted = calls.map(({ at, fails }) => ({ at: at - first, fails }))
        const mine = replay({ calls: shifted, weight }, policy, 0, end)
        const trace: Simulator.Trace = {
          calls: shifted.map(({ at, fails }) => ({ at, duration: 0, outcome: fails ? "failure" : "success" })),
          outages: [],
          millis: end
        }
        const { inARow, minimumCalls, openForMillis, share } = policy
        const rate = Trip.failureRate({ threshold: share, minimumCalls, over: "10 seconds" })
        const trip = Trip.any(Trip.consecutive(inARow), rate)
        const [report] = yield* Simulator.run(trace, { one: { trip, cooldown: openForMillis } })
        assert.deepStrictEqual([mine.rejected, mine.failed], [report?.rejected, report?.failed])
        const bands = bandsOf(
          (report?.moves ?? []).map((one) => ({ ...one, key: undefined })),
          "Closed",
          0,
          end
        )
        // The engine reports whole milliseconds.
        assert.deepStrictEqual(
          mine.bands.map(({ state }) => state),
          bands.map(({ state }) => state)
        )
        mine.bands.forEach(({ to }, i) => {
          assert.approximately(to, bands[i]?.to ?? 0, 1)
        })
      }),
    { arbitrary: { runs: 50 } }
  )
})
