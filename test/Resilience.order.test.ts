import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Duration, Effect, Exit, Fiber, Layer, Schedule } from "effect"
import { RateLimiter } from "effect/persistence"
import { TestClock } from "effect/testing"
import {
  type BreakerPolicy,
  BreakerStore,
  Bulkhead,
  BulkheadFull,
  CircuitBreaker,
  CircuitOpen,
  Resilience,
  Tenant,
  Trip
} from "effect-fuse"
import { lasts } from "./support/timing.ts"
import { errorOf, expectState, fail, hang, inspect, pass, play, quick, scenario, start } from "./support/verbs.ts"

/** Opens after 3 failures in a row. */
const three: BreakerPolicy.Input = { trip: Trip.consecutive(3), cooldown: "10 seconds" }

const { breaker, bulkhead, fallback, hedge, pipeline, rateLimit, retry, standard, timeout } = Resilience

const seen = Effect.map(inspect(), ({ inFlight, totals }) => {
  assert.strictEqual(inFlight, 0)
  return { F: totals.failures, I: totals.ignored, R: totals.rejected, S: totals.successes }
})

const sees = (F: number, S: number, I: number, R: number) =>
  Effect.map(seen, (actual) => assert.deepStrictEqual(actual, { F, I, R, S }))

/** Runs to its end, whatever it waits for. */
const finish = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* start(self)
    yield* TestClock.adjust("10 minutes")
    return yield* Fiber.await(fiber)
  })

/** The error of what must fail. */
const rejected = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.flip(Effect.andThen(self, Effect.die("expected an error")))

/** Fails every time, and counts how often it is made. */
const failing = () => {
  const self = { runs: 0, call: Effect.never as Effect.Effect<never, string> }
  self.call = Effect.suspend(() => {
    self.runs++
    return Effect.fail("boom")
  })
  return self
}

describe("The attempt that opens the circuit", () => {
  const each = Schedule.spaced("5 seconds")
  const once: BreakerPolicy.Input = { ...three, trip: Trip.consecutive(2) }
  /** When it ended, in seconds, and with what. */
  const ended = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      let at = -1
      const timed = Effect.ensuring(
        self,
        Effect.map(Clock.currentTimeMillis, (now) => {
          at = now / 1_000
        })
      )
      const error = errorOf(yield* finish(timed))
      return [CircuitOpen.isCircuitOpen(error) ? "CircuitOpen" : error, at]
    })
  const rows: ReadonlyArray<readonly [string, BreakerPolicy.Input, Resilience.RetryOptions, unknown, number, number]> =
    [
      ["is the last, and the retry does not wait after it", once, {}, "CircuitOpen", 5, 2],
      ["is the last, too, without a budget", once, { budget: false }, "CircuitOpen", 5, 2],
      [
        "is not the last where the circuit lets the next through",
        { ...once, cooldown: "5 seconds" },
        {},
        "boom",
        15,
        4
      ],
      ["is not the last where the policy only observes", { ...once, mode: "observe" }, {}, "boom", 15, 4],
      ["is followed by a wait with waitForCircuit", once, { waitForCircuit: "1 minute" }, "boom", 25, 4]
    ]
  for (const [what, policy, options, error, at, runs] of rows) {
    scenario(what, quick, function* () {
      const api = failing()
      const resilient = standard("api", {
        timeout: false,
        breaker: { policy },
        retry: { times: 3, schedule: each, ...options }
      })
      assert.deepStrictEqual([...(yield* ended(resilient(api.call))), api.runs], [error, at, runs])
    })
  }

  scenario("takes no delay from a retry that stands inside of the breaker, or around another", quick, function* () {
    const api = failing()
    const again = retry({ times: 3, schedule: each, budget: "api" })
    yield* CircuitBreaker.open("api", { for: "1 hour" })
    assert.deepStrictEqual([...(yield* ended(pipeline(again, breaker("other"))(api.call))), api.runs], ["boom", 15, 4])
  })

  scenario("is not the last where a health check may close the circuit before", quick, function* () {
    const api = failing()
    const probe = { check: Effect.void, schedule: "1 second" } as const
    const policy = { ...once, cooldown: "10 minutes", probe } as const
    const resilient = standard("api", { timeout: false, breaker: { policy }, retry: { times: 3, schedule: each } })
    assert.deepStrictEqual([...(yield* ended(resilient(api.call))), api.runs], ["boom", 15, 4])
  })
})

describe("A timeout", () => {
  scenario("inside the breaker is a Failure", quick, function* () {
    const exit = yield* finish(pipeline(timeout("1 second"), breaker("api"))(Effect.never))
    assert.isTrue(Cause.isTimeoutError(errorOf(exit)))
    yield* sees(1, 0, 0, 0)
  })

  scenario("outside the breaker is Ignored", quick, function* () {
    const exit = yield* finish(pipeline(breaker("api"), timeout("1 second"))(Effect.never))
    assert.isTrue(Cause.isTimeoutError(errorOf(exit)))
    yield* sees(0, 0, 1, 0)
  })

  scenario("inside the retry bounds each attempt, outside it bounds them all", three, function* () {
    let runs = 0
    const slow = Effect.suspend(() => {
      runs++
      return Effect.never
    })
    const again = retry({ times: 2 })
    yield* finish(pipeline(timeout("1 second"), again)(slow))
    assert.strictEqual(runs, 3)
    yield* finish(pipeline(again, timeout("1 second"))(slow))
    assert.strictEqual(runs, 4)
  })

  it.effect("ends after its duration, also within Resilience.standard", () =>
    Effect.gen(function* () {
      for (const duration of [1, 3_000, 60_000]) {
        assert.strictEqual(yield* lasts(Resilience.timeout(duration)(Effect.never)), duration)
        assert.strictEqual(
          yield* lasts(Resilience.standard("api", { timeout: duration, retry: false })(Effect.never)),
          duration
        )
      }
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )
})

describe("A bulkhead", () => {
  scenario("that is full inside the breaker is Ignored", quick, function* () {
    const places = Bulkhead.makeUnsafe({ concurrency: 1 })
    const holder = yield* start(Bulkhead.limit(Effect.never, places))
    const error = yield* rejected(pipeline(bulkhead(places), breaker("api"))(Effect.void))
    assert.isTrue(BulkheadFull.isBulkheadFull(error))
    yield* Fiber.interrupt(holder)
    yield* sees(0, 0, 1, 0)
    yield* expectState("Closed")
  })

  for (const reading of [{}, { isFailure: () => true }, { isIgnored: () => false }]) {
    scenario(
      `that rejects a probe gives its place back, with ${Object.keys(reading).join() || "no reading"}`,
      quick,
      function* () {
        const places = Bulkhead.makeUnsafe({ concurrency: 1 })
        yield* fail()
        yield* TestClock.adjust("10 seconds")
        const holder = yield* start(Bulkhead.limit(Effect.never, places))
        const guarded = pipeline(bulkhead(places), breaker("api", reading))
        for (let i = 0; i < 3; i++) {
          assert.isTrue(BulkheadFull.isBulkheadFull(yield* rejected(guarded(Effect.void))))
          yield* expectState("HalfOpen")
          assert.strictEqual((yield* inspect()).probing, 0)
        }
        yield* Fiber.interrupt(holder)
        // The very next call is a probe.
        yield* guarded(Effect.void)
        yield* expectState("Closed")
      }
    )
  }

  scenario("outside the breaker holds no place for a call that is rejected", quick, function* () {
    const places = Bulkhead.makeUnsafe({ concurrency: 1 })
    const guarded = pipeline(breaker("api"), bulkhead(places))
    yield* fail()
    for (let i = 0; i < 5; i++) {
      assert.isTrue(CircuitOpen.isCircuitOpen(yield* rejected(guarded(Effect.void))))
      assert.deepStrictEqual(Bulkhead.inspect(places).running, 0)
    }
    // A wait between attempts outside of it holds none either.
    const waiting = yield* start(pipeline(guarded, retry({ times: 1, waitForCircuit: "1 minute" }))(Effect.void))
    assert.deepStrictEqual(Bulkhead.inspect(places).running, 0)
    yield* TestClock.adjust("10 seconds")
    yield* Fiber.join(waiting)
    assert.deepStrictEqual(Bulkhead.inspect(places), {
      name: "bulkhead",
      concurrency: 1,
      queue: 0,
      running: 0,
      waiting: 0,
      rejected: 0
    })
  })

  scenario("that is full and outside the breaker does not reach the breaker", quick, function* () {
    const guarded = pipeline(breaker("api"), bulkhead({ concurrency: 1 }))
    const holder = yield* start(guarded(Effect.never))
    yield* rejected(guarded(Effect.void))
    yield* Fiber.interrupt(holder)
    yield* sees(0, 0, 1, 0)
  })

  scenario("in a standard pipeline: waiting for its place is no part of the timeout", quick, function* () {
    const guarded = standard("api", { timeout: "1 second", bulkhead: { concurrency: 1, queue: 1 }, retry: false })
    const self = guarded(Effect.as(Effect.sleep(900), "done"))
    const exit = yield* finish(Effect.all([self, self], { concurrency: 2 }))
    assert.deepStrictEqual(exit, Exit.succeed(["done", "done"]))
    yield* sees(0, 2, 0, 0)
  })
})

describe("A rate limiter", () => {
  const Limits = Layer.provide(RateLimiter.layer, RateLimiter.layerStoreMemory)
  const once = rateLimit(RateLimiter.RateLimiter, { key: "api", limit: 1, window: "1 minute" })

  scenario("inside the breaker: what it rejects is Ignored, whatever reads errors", quick, function* () {
    for (const guarded of [pipeline(once, breaker("api")), pipeline(once, breaker("api", { isFailure: () => true }))]) {
      yield* Effect.gen(function* () {
        yield* guarded(Effect.void)
        const error = yield* rejected(guarded(Effect.void))
        assert.instanceOf(error, RateLimiter.RateLimiterError)
      }).pipe(Effect.provide(Limits))
    }
    yield* sees(0, 2, 2, 0)
    yield* expectState("Closed")
  })

  scenario("outside the breaker spends tokens for rejected calls, inside it none", quick, function* () {
    yield* fail()
    const twice = rateLimit(RateLimiter.RateLimiter, { key: "x", limit: 1, window: "1 minute" })
    yield* Effect.gen(function* () {
      const inside = pipeline(twice, breaker("api"))
      assert.isTrue(CircuitOpen.isCircuitOpen(yield* rejected(inside(Effect.void))))
      yield* twice(Effect.void)
      const outside = pipeline(breaker("api"), twice)
      assert.instanceOf(yield* rejected(outside(Effect.void)), RateLimiter.RateLimiterError)
    }).pipe(Effect.provide(Limits))
  })

  scenario("delays with onExceeded: delay, and accepts a limiter as well as its service", quick, function* () {
    const limiter = yield* Effect.provide(RateLimiter.RateLimiter, Limits)
    const limited = rateLimit(limiter, { key: "y", limit: 1, window: "1 minute", onExceeded: "delay" })
    yield* limited(Effect.void)
    const fiber = yield* start(limited(Effect.succeed("late")))
    yield* TestClock.adjust(59_999)
    assert.strictEqual(fiber.pollUnsafe(), undefined)
    yield* TestClock.adjust(1)
    assert.strictEqual(yield* Fiber.join(fiber), "late")
  })

  scenario("is not retried by default", quick, function* () {
    let consumed = 0
    const limiter = yield* Effect.provide(RateLimiter.RateLimiter, Limits)
    const counting: Resilience.Limiter<RateLimiter.RateLimiterError> = {
      consume: (options) => {
        consumed++
        return limiter.consume(options)
      }
    }
    const guarded = pipeline(rateLimit(counting, { key: "z", limit: 1, window: "1 minute" }), retry())
    yield* guarded(Effect.void)
    yield* finish(guarded(Effect.void))
    assert.strictEqual(consumed, 2)
  })

  it.effect("passes its options to the limiter", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      const limiter = {
        consume: (options: object) => Effect.sync(() => ({ delay: Duration.zero, n: asked.push(options) }))
      }
      const one = { key: "tenant 7", limit: 7, window: "3 seconds" } as const
      const all = { ...one, tokens: 2, algorithm: "token-bucket", onExceeded: "delay" } as const
      yield* Resilience.rateLimit(limiter, one)(Effect.void)
      yield* Resilience.rateLimit(limiter, all)(Effect.void)
      assert.deepStrictEqual(asked, [
        { ...one, window: 3_000 },
        { ...all, window: 3_000 }
      ])
    })
  )
})

describe("A retry", () => {
  scenario("outside the breaker is counted attempt by attempt, and stops at an open circuit", three, function* () {
    const self = failing()
    const exit = yield* finish(pipeline(breaker("api"), retry({ times: 6 }))(self.call))
    assert.strictEqual(self.runs, 3)
    assert.isTrue(CircuitOpen.isCircuitOpen(errorOf(exit)))
    yield* sees(3, 0, 0, 1)
  })

  scenario("inside the breaker is one outcome", three, function* () {
    const self = failing()
    const exit = yield* finish(pipeline(retry({ times: 6 }), breaker("api"))(self.call))
    assert.strictEqual(self.runs, 7)
    assert.strictEqual(errorOf(exit), "boom")
    yield* sees(1, 0, 0, 0)
  })
})

describe("A hedge", () => {
  const slowThenFast = () => {
    let copies = 0
    return Effect.suspend(() => (++copies === 1 ? Effect.as(Effect.sleep("1 hour"), "slow") : Effect.succeed("fast")))
  }

  scenario("outside the breaker: each copy is a call, and the loser is Ignored", quick, function* () {
    const exit = yield* finish(pipeline(breaker("api"), hedge({ after: "1 second" }))(slowThenFast()))
    assert.deepStrictEqual(exit, Exit.succeed("fast"))
    yield* sees(0, 1, 1, 0)
  })

  scenario("inside the breaker: one call", quick, function* () {
    const exit = yield* finish(pipeline(hedge({ after: "1 second" }), breaker("api"))(slowThenFast()))
    assert.deepStrictEqual(exit, Exit.succeed("fast"))
    yield* sees(0, 1, 0, 0)
  })

  scenario("inside a timeout: it interrupts all copies", quick, function* () {
    const exit = yield* finish(
      pipeline(breaker("api"), hedge({ after: "1 second", copies: 3 }), timeout("10 seconds"))(Effect.never)
    )
    assert.isTrue(Cause.isTimeoutError(errorOf(exit)))
    yield* sees(0, 0, 4, 0)
  })
})

describe("A fallback", () => {
  scenario("outermost answers for the open circuit as well", quick, function* () {
    const guarded = pipeline(
      breaker("api"),
      fallback((error: unknown) => Effect.succeed(["instead of", error]))
    )
    assert.deepStrictEqual(yield* guarded(Effect.fail("boom")), ["instead of", "boom"])
    const [, error] = yield* guarded(Effect.fail("boom"))
    assert.isTrue(CircuitOpen.isCircuitOpen(error))
    yield* sees(1, 0, 0, 1)
  })

  scenario("innermost hides every failure from the breaker", quick, function* () {
    const guarded = pipeline(fallback(Effect.succeed("default")), breaker("api"))
    for (let i = 0; i < 3; i++) assert.strictEqual(yield* guarded(Effect.fail("boom")), "default")
    yield* sees(0, 3, 0, 0)
  })

  scenario("leaves defects and interruptions alone, and may fail itself", quick, function* () {
    const guarded = fallback(Effect.succeed("default"))
    assert.isTrue(Exit.hasDies(yield* Effect.exit(guarded(Effect.die("bug")))))
    const fiber = yield* start(guarded(Effect.interrupt))
    assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
    assert.strictEqual(yield* rejected(fallback(Effect.fail("worse"))(Effect.fail("boom"))), "worse")
  })
})

describe("Resilience.standard", () => {
  const all = { timeout: "1 second", bulkhead: { concurrency: 1 }, retry: { times: 1 }, fallback: Effect.void } as const
  const cases: ReadonlyArray<readonly [options: Resilience.StandardOptions | undefined, parts: ReadonlyArray<string>]> =
    [
      [undefined, ["timeout", "breaker", "retry"]],
      [{}, ["timeout", "breaker", "retry"]],
      [all, ["timeout", "bulkhead", "breaker", "retry", "fallback"]],
      [{ ...all, timeout: false }, ["bulkhead", "breaker", "retry", "fallback"]],
      [{ ...all, bulkhead: false }, ["timeout", "breaker", "retry", "fallback"]],
      [{ ...all, retry: false }, ["timeout", "bulkhead", "breaker", "fallback"]],
      [{ ...all, fallback: undefined }, ["timeout", "bulkhead", "breaker", "retry"]],
      [{ timeout: undefined, bulkhead: undefined, retry: undefined }, ["timeout", "breaker", "retry"]],
      [{ timeout: false, retry: false }, ["breaker"]]
    ]
  for (const [options, parts] of cases) {
    scenario(`has ${parts.join(", ")} of ${JSON.stringify(options ?? null)}`, three, function* () {
      const resilient = standard("api", options)
      assert.deepStrictEqual(resilient.parts, parts)
      const ok = resilient(Effect.succeed("ok")) as Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
      assert.strictEqual(yield* ok, "ok")
      yield* sees(0, 1, 0, 0)
    })
  }

  scenario(
    "by default each attempt may take 10 seconds, with two retries",
    { ...three, trip: Trip.consecutive(9) },
    function* () {
      let runs = 0
      const slow = Effect.suspend(() => {
        runs++
        return Effect.never
      })
      assert.isTrue(Cause.isTimeoutError(errorOf(yield* finish(standard("api")(slow)))))
      assert.strictEqual(runs, 3)
      yield* sees(3, 0, 0, 0)
    }
  )

  scenario("its bulkhead is called as the circuit is, and is shared by all effects in it", quick, function* () {
    const resilient = standard("api", { bulkhead: { concurrency: 1 }, retry: false })
    const holder = yield* start(resilient(Effect.never))
    const error = yield* rejected(resilient(Effect.succeed("other")))
    assert.isTrue(BulkheadFull.isBulkheadFull(error) && error.bulkhead === "api")
    yield* Fiber.interrupt(holder)
  })

  scenario(
    "its budget stays where a retry gives other options, and undefined is not given",
    { ...quick, trip: Trip.consecutive(999) },
    function* () {
      for (const again of [{}, { times: 1 }, { times: 1, budget: undefined }]) {
        const before = (yield* inspect()).retries?.refused ?? 0
        for (let i = 0; i < 30; i++) yield* start(Effect.exit(standard("api", { retry: again })(Effect.fail("boom"))))
        yield* TestClock.adjust("1 second")
        assert.isAbove((yield* inspect()).retries?.refused ?? 0, before, Object.keys(again).join())
        yield* TestClock.adjust("1 minute")
      }
    }
  )
})

scenario("Another order works: retry inside a breaker inside a bulkhead inside a timeout", three, function* () {
  const other = pipeline(
    pipeline(retry({ times: 1 }), breaker("api"), bulkhead({ concurrency: 1 })),
    timeout("1 minute"),
    fallback((error: unknown) => Effect.succeed(error))
  )
  assert.deepStrictEqual(other.parts, ["retry", "breaker", "bulkhead", "timeout", "fallback"])
  const self = failing()
  assert.deepStrictEqual(yield* finish(other(self.call)), Exit.succeed("boom"))
  assert.strictEqual(self.runs, 2)
  yield* play("S")
  yield* sees(1, 1, 0, 0)
})

scenario("A pipe of the parts does what the pipeline does", three, function* () {
  const gate = yield* Deferred.make<string>()
  const fiber = yield* start(Deferred.await(gate).pipe(timeout("1 minute"), breaker("api"), retry({ times: 1 })))
  assert.strictEqual((yield* inspect()).inFlight, 1)
  yield* Deferred.succeed(gate, "ok")
  assert.strictEqual(yield* Fiber.join(fiber), "ok")
  const probe = yield* hang()
  yield* probe.interrupt
  yield* pass()
  yield* sees(0, 2, 1, 0)
})

scenario(
  "A policy given inline decides from the first call on which circuit a tenant's budget is of",
  quick,
  function* () {
    const policy = { tenants: "shared", trip: Trip.consecutive(50) } as const
    const resilient = standard("svc", { breaker: { policy }, retry: { times: 1 } })
    yield* finish(Tenant.within(resilient(Effect.fail("boom")), "acme"))
    const circuits = yield* CircuitBreaker.list
    assert.deepStrictEqual(
      circuits.map(({ key, totals }) => [key, totals.calls]),
      [[undefined, 2]]
    )
  }
)
