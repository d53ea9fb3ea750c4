import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Simulator from "../src/simulator/Simulator.ts"

const play = (options: Simulator.PlayOptions): Simulator.PlayReport => Effect.runSync(Simulator.play(options))

/** Ten workers that need 100 ms each: at most 100 calls per second. */
const server: Simulator.Server = { workers: 10, service: 100, spread: 0 }
/** Half of what the server can answer. */
const callers: Simulator.Callers = { rate: 50 }
const whole = { at: 0, for: "30 seconds" } as const
const healthy: Simulator.PlayOptions = { server, callers, for: "30 seconds" }
/** Twice of what the server can answer. */
const overload: Simulator.PlayOptions = { ...healthy, callers: { rate: 200 } }

const all = ({ seconds }: Simulator.PlayReport, of: "offered" | "answered" | "failed" | "rejected" | "sent"): number =>
  seconds.reduce((sum, second) => sum + second[of], 0)

const faulty = (fault: Partial<Simulator.Fault>, more: Partial<Simulator.Server> = {}): Simulator.PlayOptions => ({
  ...healthy,
  server: { ...server, ...more, faults: [{ ...whole, ...fault }] }
})

/** A number between two bounds, inclusive. */
const within = (value: number, least: number, most: number, what: string): void => {
  assert.isAtLeast(value, least, what)
  assert.isAtMost(value, most, what)
}

describe("A simulated server", () => {
  it("answers every call, with no work wasted, while it has workers for all", () => {
    const report = play(healthy)
    assert.strictEqual(all(report, "failed") + all(report, "rejected"), 0)
    within(report.share, 0.98, 1.02, "share")
    assert.deepStrictEqual([report.wasted, report.falseRejections], [0, 0])
    // 100 ms of work, 2 ms in the network, and little waiting.
    within(report.p99 ?? 0, 102, 200, "p99")
  })

  it("uses its full capacity while the wait in its queue is shorter than the timeout of the callers", () => {
    const bounded = play({ ...overload, server: { ...server, queue: 5 } })
    within(bounded.goodput, 97, 101, "calls per second")
    assert.strictEqual(bounded.wasted, 0)
    within(bounded.p99 ?? 0, 102, 180, "p99")
  })

  it("works only for callers that have given up, once the wait in its unbounded queue is longer than their timeout", () => {
    const report = play(overload)
    within(report.share, 0, 0.15, "share")
    assert.isAbove(report.wasted, 0.8)
  })

  it("recovers sooner from an overload if it removes the calls of callers that have given up from its queue", () => {
    const faults = [{ at: 5_000, for: 10_000, capacity: 0.1 }]
    const [usual, dropping] = [true, false].map((finishes) =>
      play({
        server: { ...server, finishes, faults },
        callers,
        for: "1 minute"
      })
    )
    within(dropping?.recovery ?? Infinity, 0, 3_000, "recovery")
    within(usual?.recovery ?? 0, 5_000, 15_000, "recovery")
    assert.isUndefined(play(healthy).recovery)
    assert.strictEqual(play(faulty({ failing: 1 })).recovery, Infinity)
  })

  const faults: ReadonlyArray<
    readonly [name: string, options: Simulator.PlayOptions, perSecond: readonly [least: number, most: number]]
  > = [
    ["half of the workers", { ...faulty({ capacity: 0.25 }, { queue: 0 }) }, [20, 25.5]],
    ["slow workers", { ...faulty({ speed: 0.25 }, { queue: 0 }) }, [20, 25.5]],
    ["errors for half of the calls", faulty({ failing: 0.5 }), [20, 30]],
    ["a quota", faulty({ quota: 20 }), [19, 20]],
    ["an outage without any answer", faulty({ failing: 1, how: "hang" }), [0, 0]],
    ["frozen workers", faulty({ frozen: true }), [0, 0]],
    ["one of two replicas down", faulty({ replicas: [1], failing: 1 }, { replicas: 2 }), [20, 30]]
  ]
  for (const [name, options, [least, most]] of faults) {
    it(`with ${name} answers ${least} to ${most} calls per second`, () => {
      const report = play(options)
      within(report.goodput, least, most, "goodput")
      assert.strictEqual(all(report, "answered") + all(report, "failed"), all(report, "offered") - inFlight(report))
    })
  }

  it("answers later in a fault with latency, without more work", () => {
    const late = play(faulty({ latency: 400 }))
    within(late.share, 0.97, 1.02, "share")
    assert.isAbove(late.p99 ?? 0, 500)
  })

  it("is slow after a cold start, and as fast as before when its caches are full", () => {
    const cold = play({
      ...healthy,
      server: { ...server, faults: [{ at: 0, for: 1_000, failing: 1, cold: 0.2, warmUp: 100 }] }
    })
    assert.isBelow(cold.seconds[1]?.answered ?? Infinity, 25)
    const late = cold.seconds.slice(20).reduce((sum, one) => sum + one.answered / 10, 0)
    within(late, 40, 60, "calls per second with warm caches")
  })

  it("that loses a shard answers the calls of the other shards", () => {
    const lost = play({
      ...healthy,
      server: { ...server, replicas: 10, shards: true, workers: 2, faults: [{ ...whole, replicas: [3], failing: 1 }] }
    })
    within(all(lost, "failed") / all(lost, "offered"), 0.07, 0.13, "share of failed calls")
  })
})

/** Calls that have not ended when the run ends. */
const inFlight = (report: Simulator.PlayReport): number =>
  all(report, "offered") - all(report, "answered") - all(report, "failed") - all(report, "rejected")

describe("Simulated callers", () => {
  const down = faulty({ failing: 1 })

  it("try a failed call again until all attempts are used", () => {
    const report = play({ ...down, callers: { ...callers, attempts: 3 } })
    within(all(report, "sent") / all(report, "offered"), 2.9, 3, "attempts per call")
  })

  it("do not try a rejected call again", () => {
    const report = play({ ...down, callers: { ...callers, attempts: 3 }, policy: {} })
    assert.isAbove(all(report, "rejected"), 0.9 * all(report, "offered"))
    assert.isBelow(all(report, "sent"), 30)
  })

  it("send a call once more if its answer is late, and take the first answer", () => {
    const half = { ...server, replicas: 2, faults: [{ ...whole, replicas: [0], failing: 1, how: "hang" as const }] }
    const [without, hedged] = [{}, { hedge: 200 }].map((more) =>
      play({ ...healthy, server: half, callers: { ...callers, ...more } })
    )
    const share = (report = without) =>
      report === undefined ? Number.NaN : all(report, "failed") / all(report, "offered")
    within(share(without), 0.4, 0.5, "failed without a second call")
    // The second call goes to a replica that hangs half of the time.
    within(share(hedged), 0.15, 0.35, "failed with one")
    within(hedged?.p99 ?? 0, 300, 500, "p99")
  })

  it("call at another rate during a change", () => {
    const changes = [{ at: 10_000, for: 10_000, times: [1, 3] as const }]
    const { seconds } = play({ ...healthy, callers: { rate: 100, changes }, server: { ...server, workers: 100 } })
    const mean = (from: number) => seconds.slice(from, from + 5).reduce((sum, one) => sum + one.offered / 5, 0)
    within(mean(2), 80, 120, "before")
    within(mean(14), 200, 290, "at the end of the change")
    within(mean(22), 80, 120, "after")
  })

  it("are the same calls under every protection", () => {
    const offered = [{}, { policy: {} }, { bulkhead: 2 }].map((protection) =>
      play({ ...down, ...protection }).seconds.map((one) => one.offered)
    )
    assert.deepStrictEqual(offered[1], offered[0])
    assert.deepStrictEqual(offered[2], offered[0])
  })
})

describe("A protection in a simulation", () => {
  it("is the real breaker, with separate circuits in each process", () => {
    const report = play({ ...faulty({ failing: 1 }), callers: { rate: 50, processes: 2 }, policy: {} })
    assert.deepStrictEqual(
      report.moves
        .slice(0, 2)
        .map(({ process, to }) => `${process} ${to}`)
        .sort(),
      ["0 Open", "1 Open"]
    )
    // Five failures in a row open each circuit.
    within(all(report, "sent"), 10, 14, "calls sent")
    assert.strictEqual(report.circuits, 2)
  })

  it("heeds the Retry-After of a refusal", () => {
    const report = play({ ...faulty({ quota: 0.001 }), policy: { cooldown: "10 millis" } })
    const [opened, probed] = report.moves
    assert.deepStrictEqual([opened?.to, probed?.to], ["Open", "HalfOpen"])
    assert.isAtLeast((probed?.at ?? 0) - (opened?.at ?? 0), 1_000)
  })

  it("counts a rejection as needless if a worker was free", () => {
    const { falseRejections } = play({ ...healthy, bulkhead: 1 })
    assert.isAbove(falseRejections, 0.2)
    assert.strictEqual(play({ ...faulty({ failing: 1 }), policy: {} }).falseRejections, 0)
  })

  const lost: Simulator.PlayOptions = {
    ...healthy,
    server: { workers: 10, service: 100, replicas: 4, faults: [{ ...whole, replicas: [0, 1], failing: 1 }] }
  }

  it("can have a circuit for each shard, so that the circuits of healthy shards stay Closed", () => {
    const shards = { ...lost, server: { ...lost.server, shards: true }, policy: {} }
    const report = play({ ...shards, circuits: "replica" })
    assert.deepStrictEqual([...new Set(report.moves.map(({ key }) => key))].sort(), ["0", "1"])
    within(report.share, 0.97, 1.03, "share")
    assert.isBelow(play(shards).share, 0.5)
  })

  it("can be a pool, which leaves out the replicas that fail", () => {
    const report = play({ ...lost, choose: "roundRobin" })
    within(all(report, "answered") / all(report, "offered"), 0.95, 1, "share of calls answered")
    assert.strictEqual(report.circuits, 4)
  })
})

describe("Options of play", () => {
  const cases: ReadonlyArray<readonly [options: unknown, says: RegExp]> = [
    [{}, /Simulator.play: server: expected/],
    [{ server, callers: { rate: 0 } }, /callers\.rate: expected a number above 0/],
    [{ server: { ...server, workers: 0.5 }, callers }, /server\.workers: expected a whole number/],
    [{ server: { ...server, faults: [{ at: 0 }] }, callers }, /server\.faults\.0\.for: expected a duration/],
    [
      { server: { ...server, faults: [{ ...whole, capacity: 0 }] }, callers },
      /faults\.0\.capacity: expected a number above 0/
    ],
    [{ server: { ...server, faults: [{ ...whole, how: "slow" }] }, callers }, /faults\.0\.how: expected/],
    [{ server, callers: { rate: 1, attemps: 2 } }, /callers\.attemps: unknown field \(did you mean attempts\?\)/],
    [{ server, callers: { rate: 100_000 }, for: "1 hour" }, /callers\.rate: expected at most 10000000 calls in all/],
    [
      { server: { ...server, shards: true }, callers, choose: "inOrder" },
      /choose: expected nothing for a server with shards/
    ],
    [{ server, callers, choose: "best" }, /choose: expected/],
    [{ server, callers, policy: 3 }, /policy: expected a policy/]
  ]
  for (const [options, says] of cases) {
    it(`${JSON.stringify(options).slice(0, 90)} are refused by name`, () => {
      assert.throws(() => Simulator.play(options as Simulator.PlayOptions), says)
    })
  }

  it.effect("a wrong policy is an error that names its field", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Simulator.play({ ...healthy, policy: { cooldown: "soon" as never } }))
      assert.deepStrictEqual(
        error.problems.map(({ path }) => path),
        ["policy.cooldown"]
      )
    })
  )
})
