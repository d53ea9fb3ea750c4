import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, CircuitPool, Resilience } from "effect-fuse"
import { Usual } from "../src/resilience/usual.ts"
import { play, quantile } from "./support/poolTraffic.ts"
import { quick, scenario, times } from "./support/verbs.ts"

const now = Clock.currentTimeMillis

/** A call whose duration `takes` sets, and the times at which it started. */
const dependency = () => {
  let next = 0
  const at: Array<number> = []
  const call = Effect.gen(function* () {
    at.push(yield* now)
    yield* Effect.sleep(next)
    return next
  })
  const takes = (millis: number) => {
    next = millis
  }
  return { at, call, takes }
}

/** Makes a call for each of these durations, one after the other. */
const warmUp = <R>(
  hedge: Resilience.Pipeline<never, R>,
  { call, takes }: ReturnType<typeof dependency>,
  millis: Iterable<number>
) =>
  Effect.gen(function* () {
    for (const one of millis) {
      takes(one)
      const fiber = yield* Effect.forkChild(hedge(call))
      yield* TestClock.adjust(one + 1)
      yield* Fiber.join(fiber)
    }
  })

/** The delay after which a copy of a hanging call starts; `undefined` if no copy starts. */
const delayOf = <R>(hedge: Resilience.Pipeline<never, R>, { at, call, takes }: ReturnType<typeof dependency>) =>
  Effect.gen(function* () {
    takes(3_600_000)
    const before = at.length
    const fiber = yield* Effect.forkChild(hedge(call), { startImmediately: true })
    yield* TestClock.adjust("10 minutes")
    yield* Fiber.interrupt(fiber)
    const [first = 0, second] = at.slice(before)
    return second === undefined ? undefined : second - first
  })

const upTo = (n: number, each = 1) => Array.from({ length: n }, (_, i) => (i + 1) * each)

describe("a hedge after a percentile of the durations so far", () => {
  for (const [options, durations, expected] of [
    [{ after: "p95" }, upTo(100, 10), 950],
    [{ after: "p50" }, upTo(100, 10), 500],
    [{ after: "p99" }, upTo(400, 10), 3_960],
    [{ after: "p99.5" }, upTo(400, 10), 3_980],
    [{ after: "p95", max: 500 }, upTo(100, 10), 500],
    [{ after: "p95", min: 2_000 }, upTo(100, 10), 2_000],
    [{ after: "p95" }, upTo(100, 0.01), 10],
    [{ after: "p95", min: 1 }, upTo(100, 0.01), 1],
    [{ after: "p95" }, upTo(99, 10), undefined],
    [{ after: "p95", max: 700 }, [], 700],
    [{ after: "p95", max: 700 }, upTo(99, 10), 700]
  ] as const) {
    it.effect(`${JSON.stringify(options)} after ${durations.length} calls starts a copy after ${expected} ms`, () =>
      Effect.gen(function* () {
        const api = dependency()
        const hedge = Resilience.hedge({ ...options, budget: false })
        yield* warmUp(hedge, api, durations)
        const delay = yield* delayOf(hedge, api)
        if (expected === undefined) assert.strictEqual(delay, undefined)
        else assert.closeTo(delay ?? Number.NaN, expected, expected * 0.05)
      })
    )
  }

  it.effect("follows a dependency that becomes slower or faster", () =>
    Effect.gen(function* () {
      const api = dependency()
      const hedge = Resilience.hedge({ after: "p95", budget: false })
      yield* warmUp(hedge, api, upTo(200, 1))
      yield* warmUp(
        hedge,
        api,
        Array.from({ length: 2_000 }, () => 1_000)
      )
      assert.closeTo((yield* delayOf(hedge, api)) ?? Number.NaN, 1_000, 50)
      yield* warmUp(
        hedge,
        api,
        Array.from({ length: 5_000 }, () => 20)
      )
      assert.closeTo((yield* delayOf(hedge, api)) ?? Number.NaN, 20, 2)
    })
  )

  it.effect("does not count failures, which may be faster than any answer", () =>
    Effect.gen(function* () {
      const api = dependency()
      const hedge = Resilience.hedge({ after: "p95", budget: false })
      yield* warmUp(hedge, api, upTo(100, 10))
      yield* times(1_000, Effect.exit(hedge(Effect.fail("boom"))))
      assert.closeTo((yield* delayOf(hedge, api)) ?? Number.NaN, 950, 50)
    })
  )

  it.effect("counts an interrupted call as a longer call, so that the delay does not shrink", () =>
    Effect.gen(function* () {
      // One call of ten takes a second. A copy answers at once, so the call itself never ends.
      const hedge = Resilience.hedge({ after: "p95", budget: false })
      let calls = 0
      let copies = 0
      for (let i = 0; i < 3_000; i++) {
        let copy = 0
        const call = Effect.suspend(() => {
          calls++
          if (++copy > 1) copies++
          return Effect.sleep(copy === 1 && i % 10 === 0 ? 1_000 : 20)
        })
        const fiber = yield* Effect.forkChild(hedge(call))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
      }
      // Ten percent of the calls are slow, so at most about that share is copied.
      assert.isAtMost(copies / calls, 0.11)
    })
  )
})

describe("without a budget, the copies of a hedge after a percentile are at most 5 % of the calls", () => {
  it.effect.each(["1", "2", "3"])("at any time, even if all calls become slow, seed %s", (seed) =>
    Effect.gen(function* () {
      const hedge = Resilience.hedge({ after: "p50" })
      let calls = 0
      let copies = 0
      for (let i = 0; i < 2_000; i++) {
        let copy = 0
        const slow = i > 1_000 ? 100 : 1
        const takes = slow * (10 + 20 * (yield* Random.next))
        const call = Effect.suspend(() => {
          if (++copy > 1) copies++
          return Effect.sleep(takes)
        })
        calls++
        const fiber = yield* Effect.forkChild(hedge(call))
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(fiber)
        assert.isAtMost(copies, calls * 0.05)
      }
      assert.isAtLeast(copies, calls * 0.03)
    }).pipe(Random.withSeed(seed))
  )

  it.effect("a budget replaces this limit, and false removes it", () =>
    Effect.gen(function* () {
      const copiesOf = <R>(hedge: Resilience.Pipeline<never, R>) =>
        Effect.gen(function* () {
          const api = dependency()
          yield* warmUp(hedge, api, upTo(100, 10))
          const found = []
          for (let i = 0; i < 20; i++) found.push(yield* delayOf(hedge, api))
          return found.filter((delay) => delay !== undefined).length
        })
      assert.strictEqual(yield* copiesOf(Resilience.hedge({ after: "p50", budget: false })), 20)
      assert.strictEqual(yield* copiesOf(Resilience.hedge({ after: "p50" })), 6)
      const budget = { name: "api", floor: 0, share: 1, over: "1 day" } as const
      assert.strictEqual(yield* copiesOf(Resilience.hedge({ after: "p50", budget })), 20)
      assert.strictEqual(
        yield* copiesOf(Resilience.hedge({ after: "p50", budget: { ...budget, name: "b", share: 0.01 } })),
        1
      )
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )
})

it("the percentile of a million durations is within 5 % of the exact value, and is finite for extreme durations", () => {
  const usual = new Usual(0.95)
  for (let i = 0; i < 1_000_000; i++) usual.record(((i * 7_919) % 1_000) + 1)
  assert.closeTo(usual.millis ?? Number.NaN, 950, 50)
  for (const millis of [0, 1e-9, 1e12, Infinity]) {
    const one = new Usual(0.95)
    for (let i = 0; i < 100; i++) one.record(millis)
    assert.isTrue(Number.isFinite(one.millis))
  }
})

describe("a hedge around a call of a pool", () => {
  for (const choose of ["fastest", "leastBusy", "roundRobin", "inOrder"] as const) {
    scenario(`sends each copy to another member: ${choose}`, quick, function* () {
      const pool = CircuitPool.make("api", { members: ["a", "b", "c"], choose })
      for (let i = 0; i < 30; i++) {
        const called: Array<string> = []
        const call = CircuitPool.call(pool, (name) => {
          called.push(name)
          return Effect.never
        })
        const fiber = yield* Effect.forkChild(Resilience.hedge({ after: 10, copies: 2 })(call))
        yield* TestClock.adjust(100)
        yield* Fiber.interrupt(fiber)
        assert.sameMembers(called, ["a", "b", "c"])
      }
    })

    scenario(
      `sends the copy to the same member if no other circuit lets calls through: ${choose}`,
      quick,
      function* () {
        const pool = CircuitPool.make("api", { members: ["a", "b"], choose })
        yield* CircuitBreaker.isolate("api", { key: "b" })
        const answer = yield* Deferred.make<string>()
        const called: Array<string> = []
        const call = CircuitPool.call(pool, (name) => {
          called.push(name)
          return Deferred.await(answer)
        })
        const fiber = yield* Effect.forkChild(Resilience.hedge({ after: 10 })(call))
        yield* TestClock.adjust(100)
        yield* Deferred.succeed(answer, "ok")
        assert.strictEqual(yield* Fiber.join(fiber), "ok")
        assert.deepStrictEqual(called, ["a", "a"])
      }
    )
  }

  scenario("also sends a retry inside the hedge to another member", quick, function* () {
    const pool = CircuitPool.make("api", { members: ["a", "b"], choose: "inOrder" })
    const called: Array<string> = []
    const call = CircuitPool.call(
      pool,
      (name) => {
        called.push(name)
        return name === "a" ? Effect.fail("boom") : Effect.succeed(name)
      },
      { isFailure: () => false }
    )
    assert.strictEqual(yield* Resilience.hedge({ after: 10 })(Effect.retry(call, { times: 1 })), "b")
  })

  it.effect.each(["1", "2", "3"])("cuts off the slow tail of replicas that are slow at times, seed %s", (seed) =>
    Effect.gen(function* () {
      let calls = 0
      // Three calls of a hundred take fifty times longer on any replica.
      const pause = { slow: () => (++calls % 33 === 0 ? 50 : 1) }
      const traffic = { replicas: { a: pause, b: pause, c: pause }, rate: 100, seconds: 60, seed }
      const alone = yield* play(traffic)
      const hedge = Resilience.hedge({ after: "p95" })
      const hedged = yield* play({ ...traffic, around: (call) => hedge(call) })
      assert.isAtMost(hedged.reached.length, hedged.calls.length * 1.05)
      assert.isBelow(quantile(0.99, hedged.calls), quantile(0.99, alone.calls) / 3)
    })
  )
})
