import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, CircuitPool, Outcome, Trip } from "effect-fuse"
import { play, quantile, type Replica, share, type Traffic } from "./support/poolTraffic.ts"
import { quick, scenario, times } from "./support/verbs.ts"

const seeds = ["1", "2", "3"]
const tenTimes: Replica = { slow: () => 10 }
const names = (n: number) => Array.from({ length: n }, (_, i) => `m${i}`)
/** Makes `n` replicas: first the given replicas, then healthy replicas. */
const replicas = (n: number, ...first: ReadonlyArray<Replica>): Traffic["replicas"] =>
  Object.fromEntries(names(n).map((name, i) => [name, first[i] ?? {}]))
const base = { rate: 100, seconds: 60 }

describe("one of three replicas is ten times slower than the others, below slowCall", () => {
  for (const [load, traffic] of [
    ["100 calls per second", {}],
    ["1 call per second", { rate: 1, seconds: 1_200 }],
    ["400 calls per second", { rate: 400, seconds: 20 }],
    ["100 calls per second on replicas that serve two calls at once", { servers: 2 }]
  ] as const) {
    it.effect.each(seeds)(`at ${load}, the p99 is at most 1.3 times that of two healthy replicas, seed %s`, (seed) =>
      Effect.gen(function* () {
        const with3 = yield* play({ ...base, ...traffic, seed, replicas: replicas(3, tenTimes) })
        const with2 = yield* play({ ...base, ...traffic, seed, replicas: replicas(2) })
        const ratio = quantile(0.99, with3.calls) / quantile(0.99, with2.calls)
        assert.isAtMost(ratio, 1.3)
        // The slow member receives almost no calls, and the other two share the load.
        assert.isAtMost(share("m0", with3), 0.02)
        assert.isAtMost(Math.abs(share("m1", with3) - share("m2", with3)), 0.1)
      })
    )
  }

  it.effect("a round robin still calls the slow replica, so the p90 is above 200 ms", () =>
    Effect.gen(function* () {
      const report = yield* play({ ...base, seed: "1", choose: "roundRobin", replicas: replicas(3, tenTimes) })
      assert.isAbove(quantile(0.9, report.calls), 200)
    })
  )
})

describe("equal replicas", () => {
  it.effect.each([2, 3, 10])("%i replicas share the calls, and no replica is left out", (n) =>
    Effect.gen(function* () {
      const left: Array<string> = []
      const report = yield* play({ ...base, seed: "1", replicas: replicas(n) }, (_, members) => {
        for (const { leftOut, name } of members) if (leftOut !== undefined) left.push(name)
      })
      assert.deepStrictEqual(left, [])
      for (const name of names(n)) assert.closeTo(share(name, report) * n, 1, 0.35)
    })
  )

  it.effect("stay in the pool despite single calls that take a hundred times longer", () =>
    Effect.gen(function* () {
      let calls = 0
      const outliers: Replica = { slow: () => (++calls % 50 === 0 ? 100 : 1) }
      const left: Array<string> = []
      yield* play({ ...base, seed: "1", replicas: replicas(3, outliers, outliers, outliers) }, (_, members) => {
        for (const { leftOut, name } of members) if (leftOut !== undefined) left.push(name)
      })
      assert.deepStrictEqual(left, [])
    })
  )
})

/** Members that are slow from second 20 on. */
const later: Replica = { slow: (at) => (at < 20 ? 1 : 10) }

describe("a member is left out", () => {
  for (const [n, slow, most] of [
    [2, 1, 0],
    [3, 1, 1],
    [3, 2, 1],
    [3, 3, 0],
    [4, 2, 2],
    [4, 3, 2],
    [5, 2, 2],
    [5, 5, 0],
    [9, 4, 4]
  ] as const) {
    it.effect(`if it is much slower than the median: ${slow} of ${n} slow, at most ${most} left out`, () =>
      Effect.gen(function* () {
        let highest = 0
        const first = Array.from({ length: slow }, () => later)
        const report = yield* play({ ...base, seed: "1", replicas: replicas(n, ...first) }, (_, members) => {
          highest = Math.max(highest, members.filter(({ leftOut }) => leftOut !== undefined).length)
        })
        if (slow < n / 2) assert.isAtLeast(highest, Math.min(most, 3))
        assert.isAtMost(highest, most)
        if (slow === n) {
          for (const name of names(n))
            assert.isAbove(share(name, report, 30, 60) * n, 0.5, "the pool still calls all members")
        }
      })
    )
  }

  it.effect("for about ten seconds; then one call tests whether the member is fast", () =>
    Effect.gen(function* () {
      const report = yield* play({ ...base, seconds: 80, seed: "1", replicas: replicas(3, later) })
      const tries = report.reached.filter(({ at, member }) => member === "m0" && at >= 30)
      assert.isAtLeast(tries.length, 3)
      // Some calls of a slow replica are on time by chance. Then the replica is back until its next late call.
      assert.isAtMost(tries.length, 15)
    })
  )

  it.effect("and receives its share of calls again after it has recovered", () =>
    Effect.gen(function* () {
      const recovers: Replica = { slow: (at) => (at >= 20 && at < 40 ? 10 : 1) }
      const report = yield* play({ ...base, seconds: 80, seed: "1", replicas: replicas(3, recovers) })
      assert.isAtMost(share("m0", report, 25, 40), 0.02)
      assert.isAbove(share("m0", report, 60, 80), 0.25)
      assert.strictEqual(report.members[0]?.leftOut, undefined)
    })
  )

  it.effect("but not in a pool of two: the slow member gets few calls until it recovers", () =>
    Effect.gen(function* () {
      const recovers: Replica = { slow: (at) => (at >= 20 && at < 40 ? 10 : 1) }
      const report = yield* play({ ...base, seconds: 100, seed: "1", replicas: replicas(2, recovers) })
      assert.isAtMost(share("m0", report, 25, 40), 0.05)
      assert.isAbove(share("m0", report, 80, 100), 0.35)
    })
  )

  it.effect("but gets calls while too few other circuits let calls through", () =>
    Effect.gen(function* () {
      // m1 fails from second 40 on, so that its circuit opens. Then m2 alone is fast.
      const report = yield* play({
        ...base,
        seed: "1",
        rate: 400,
        policy: { cooldown: "1 minute", trip: Trip.consecutive(1) },
        replicas: replicas(3, { slow: (at) => (at < 10 ? 1 : 5) }, { fails: (at) => (at < 40 ? 0 : 1) })
      })
      assert.isAbove(share("m0", report, 45, 60), 0.01)
      assert.strictEqual(share("m1", report, 45, 60), 0)
    })
  )
})

describe("a member that fails fast does not attract calls", () => {
  for (const [what, rate, most] of [
    ["always, and its circuit observes only", 1, 0.03],
    ["every second call", 0.5, 0.05]
  ] as const) {
    it.effect.each(seeds)(`it fails ${what}, within 1 ms, seed %s`, (seed) =>
      Effect.gen(function* () {
        const hole: Replica = { fails: () => rate, failsAfter: 1 }
        const policy = { mode: "observe" } as const
        const report = yield* play({ ...base, seed, policy, replicas: replicas(3, hole) })
        assert.isAtMost(share("m0", report), most)
      })
    )
  }

  scenario("a failure with a retryAfter counts as a call with this duration", {}, function* () {
    const pool = CircuitPool.make("api", { members: ["a", "b"], choose: "fastest" })
    const ends = CircuitPool.call(pool, () => Effect.fail("busy"), {
      classify: () => Outcome.failure({ retryAfter: "30 seconds" })
    })
    yield* Effect.exit(ends)
    const latencies = (yield* CircuitPool.inspect(pool)).map(({ latency }) => latency && Duration.toMillis(latency))
    assert.sameMembers(latencies, [30_000, undefined])
  })
})

describe("a call of a pool that chooses the fastest", () => {
  const pool = () => CircuitPool.make("api", { members: ["a", "b", "c"], choose: "fastest" })

  scenario("does not go to a member whose circuit is open", quick, function* () {
    const three = pool()
    yield* Effect.exit(CircuitBreaker.protect(Effect.fail("boom"), "api", { key: "b" }))
    const called = yield* times(100, CircuitPool.call(three, Effect.succeed))
    assert.sameMembers([...new Set(called)], ["a", "c"])
  })

  scenario("probes a member whose cooldown is over, within a second", quick, function* () {
    const three = pool()
    yield* Effect.exit(CircuitBreaker.protect(Effect.fail("boom"), "api", { key: "b" }))
    yield* times(3, CircuitPool.call(three, Effect.succeed))
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(yield* CircuitPool.call(three, Effect.succeed), "b")
    assert.strictEqual(yield* CircuitBreaker.state("api", { key: "b" }), "Closed")
  })

  scenario("goes to the member with the fewest calls in flight until the first call ends", {}, function* () {
    const three = pool()
    const gate = yield* Deferred.make<void>()
    const calls = yield* Effect.forEach(Array.from({ length: 300 }), () =>
      Effect.forkChild(
        CircuitPool.call(three, () => Deferred.await(gate)),
        { startImmediately: true }
      )
    )
    const loads = (yield* CircuitPool.inspect(three)).map(({ inFlight }) => inFlight)
    assert.isAtLeast(Math.min(...loads), 90)
    yield* Deferred.succeed(gate, undefined)
    yield* Effect.forEach(calls, Fiber.join)
    assert.deepStrictEqual(
      (yield* CircuitPool.inspect(three)).map(({ inFlight }) => inFlight),
      [0, 0, 0]
    )
  })

  scenario("counts as ended after a failure, a defect, an interruption or a success", quick, function* () {
    const three = pool()
    for (const ends of [Effect.fail("boom"), Effect.die("bug"), Effect.interrupt, Effect.void]) {
      yield* Effect.exit(CircuitPool.call(three, () => ends))
      yield* Effect.exit(CircuitPool.call(three, () => ends, { classify: () => Effect.succeed(Outcome.ignored) }))
      yield* Effect.exit(CircuitPool.call(three, () => ends, { classify: () => Effect.die("bug") }))
    }
    assert.deepStrictEqual(
      (yield* CircuitPool.inspect(three)).map(({ inFlight }) => inFlight),
      [0, 0, 0]
    )
  })

  for (const [what, options, expected] of [
    ["a success", {}, 40],
    ["an error that is an answer", { isFailure: () => false }, 40],
    ["an outcome that an effect decides", { classify: () => Effect.succeed(Outcome.success) }, 40],
    ["an ignored outcome", { classify: () => Outcome.ignored }, undefined],
    ["a failure before any other call has ended", { classify: () => Outcome.failure() }, 1_000]
  ] as const) {
    scenario(`of 40 ms that ends as ${what} counts as ${expected}`, {}, function* () {
      const one = CircuitPool.make("api", { members: ["a"], choose: "fastest" })
      const ends = what === "a success" ? Effect.void : Effect.fail("no")
      const call = CircuitPool.call(one, () => Effect.delay(ends, 40), options as object)
      const fiber = yield* Effect.forkChild(Effect.exit(call))
      yield* TestClock.adjust(40)
      yield* Fiber.join(fiber)
      const [member] = yield* CircuitPool.inspect(one)
      assert.strictEqual(member?.latency && Duration.toMillis(member.latency), expected)
    })
  }

  scenario("that is interrupted may raise the latency of its member, but never lowers it", {}, function* () {
    const one = CircuitPool.make("api", { members: ["a"], choose: "fastest" })
    const latency = Effect.map(CircuitPool.inspect(one), ([a]) => (a?.latency ? Duration.toMillis(a.latency) : 0))
    const takes = (millis: number, interrupted: boolean) =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(CircuitPool.call(one, () => Effect.sleep(millis)))
        yield* TestClock.adjust(interrupted ? millis - 1 : millis)
        yield* Fiber.interrupt(fiber)
        return yield* latency
      })
    assert.strictEqual(yield* takes(100, false), 100)
    assert.strictEqual(yield* takes(50, true), 100)
    assert.isAbove(yield* takes(1_000, true), 200)
  })
})

describe("weights", () => {
  it.effect("a member of weight 3 gets about three times the calls of the others while all are busy", () =>
    Effect.gen(function* () {
      const report = yield* play({ rate: 2_000, seconds: 10, seed: "1", weights: { m0: 3 }, replicas: replicas(3) })
      assert.closeTo(share("m0", report), 3 / 5, 0.1)
    })
  )

  scenario("a round robin follows them exactly, and mixes the members", {}, function* () {
    const pool = CircuitPool.make("api", { members: ["a", "b", "c"], weights: { a: 3, c: 2 }, choose: "roundRobin" })
    const called = yield* times(6, CircuitPool.call(pool, Effect.succeed))
    assert.deepStrictEqual(called, ["a", "c", "a", "b", "c", "a"])
  })

  scenario("leastBusy divides the calls in flight by them", {}, function* () {
    const pool = CircuitPool.make("api", { members: ["a", "b"], choose: "leastBusy", weights: { a: 3 } })
    yield* Effect.forEach(Array.from({ length: 8 }), () =>
      Effect.forkChild(
        CircuitPool.call(pool, () => Effect.never),
        { startImmediately: true }
      )
    )
    assert.deepStrictEqual(
      (yield* CircuitPool.inspect(pool)).map(({ inFlight }) => inFlight),
      [6, 2]
    )
  })

  it("must be above 0 and for known members", () => {
    const make =
      (weights: object, choose = "roundRobin") =>
      () =>
        CircuitPool.make("api", { members: ["a"], weights, choose } as never)
    assert.throws(make({ a: 0 }), /weights\.a: expected a finite number above 0, got 0/)
    assert.throws(make({ b: 1 }), /weights\.b: expected the name of a member/)
    assert.throws(make({ a: 2 }, "inOrder"), /weights: expected nothing/)
  })
})
