import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Deferred, Effect, Exit, type Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, CircuitPool, Outcome, Resilience, Trip } from "effect-fuse"
import {
  expectState,
  fail,
  hang,
  inspect,
  pass,
  recordEvents,
  reject,
  scenario,
  start,
  times
} from "./support/verbs.ts"

/** A limit together with the other features: permits that lapse, the circuit of a name, pools, callers that wait. */

const never = Trip.failures({ atLeast: 100_000, of: "1 minute" })
const key = (n: number) => `k${n}`
const late = Exit.fail(new Cause.TimeoutError("too late")) as unknown as Exit.Exit<string, string>
const timeout = Effect.fail(new Cause.TimeoutError("too late"))
const refused = Outcome.failure({ overload: true, retryAfter: "1 minute" })
const leak = CircuitBreaker.admit("api", { lease: "20 seconds" })

describe("permits that were never settled", () => {
  const two: BreakerPolicy.Input = { limit: { max: 2 }, trip: never }

  scenario("make room for a call when they lapse", two, function* () {
    yield* times(2, leak)
    yield* TestClock.adjust("19 seconds")
    assert.strictEqual((yield* reject()).reason, "Limited")
    yield* TestClock.adjust("2 seconds")
    yield* pass()
    assert.strictEqual((yield* inspect()).inFlight, 0)
  })

  scenario("make room for a caller that waits", two, function* () {
    yield* times(2, leak)
    const waiting = Resilience.pipeline(
      Resilience.breaker("api"),
      Resilience.retry({ times: 0, waitForCircuit: "5 minutes" })
    )
    const fiber = yield* start(waiting(Effect.succeed("ok")))
    yield* TestClock.adjust("19 seconds")
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust("2 seconds")
    assert.deepStrictEqual(fiber.pollUnsafe(), Exit.succeed("ok"))
  })

  scenario("make room in the member of a pool", {}, function* () {
    const pool = CircuitPool.make("hosts", {
      members: ["a", "b"],
      choose: "inOrder",
      policy: { limit: { max: 1 }, trip: never }
    })
    yield* CircuitBreaker.admit("hosts", { key: "a", lease: "20 seconds", policy: { limit: { max: 1 }, trip: never } })
    const call = CircuitPool.call(pool, (member) => Effect.succeed(member))
    assert.strictEqual(yield* call, "b")
    yield* TestClock.adjust("21 seconds")
    assert.strictEqual(yield* call, "a")
  })
})

describe("callers that wait for a circuit with a limit", () => {
  const waiting = Resilience.pipeline(
    Resilience.breaker("api"),
    Resilience.retry({ times: 0, waitForCircuit: "10 minutes" })
  )

  it.effect("all start, even if a reload turns the limit off", () => {
    let limit: BreakerPolicy.Input["limit"] = { max: 1 }
    return Effect.gen(function* () {
      const first = yield* hang()
      const fibers = yield* times(50, start(waiting(Effect.void)))
      yield* TestClock.adjust("1 minute")
      assert.isTrue(fibers.every((fiber) => fiber.pollUnsafe() === undefined))
      limit = false
      yield* BreakerPolicy.reload
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(fibers.every((fiber) => fiber.pollUnsafe() !== undefined))
      yield* first.interrupt
    }).pipe(
      Effect.provide(BreakerStore.layerMemory),
      Effect.provide(BreakerPolicy.layerReloading(Effect.sync(() => ({ default: { limit, trip: never } }))))
    )
  })

  scenario(
    "start soon after a reset, even if the dependency asked clients to wait for a minute",
    { limit: true, trip: never },
    function* () {
      yield* CircuitBreaker.open("api")
      yield* CircuitBreaker.close("api")
      yield* TestClock.adjust("2 minutes")
      const permits = yield* times(5, Effect.exit(CircuitBreaker.admit("api")))
      for (const permit of permits) {
        if (Exit.isSuccess(permit)) yield* CircuitBreaker.settle(permit.value, refused)
      }
      for (let i = 0; i < 4; i++) {
        yield* TestClock.adjust("6 seconds")
        yield* CircuitBreaker.settle(yield* CircuitBreaker.admit("api"), refused)
      }
      const fiber = yield* start(waiting(Effect.void))
      yield* TestClock.adjust("10 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      yield* CircuitBreaker.reset("api")
      yield* TestClock.adjust("2 seconds")
      assert.isDefined(fiber.pollUnsafe())
    }
  )

  const pick = <const A extends ReadonlyArray<string | number>>(...all: A) => Arbitrary.schema(Schema.Literals(all))
  const steps = Arbitrary.array(
    Arbitrary.all({
      advance: pick(0, 1, 30, 100, 900, 6_000),
      arrive: pick(0, 0, 1, 5, 20),
      ends: pick(0, 1, 2, 5),
      how: pick("ok", "ok", "ok", "late", "interrupted")
    }),
    { maxLength: 30 }
  )

  it.effect.prop(
    "all start, whatever the earlier outcomes are",
    [pick("learning", "bounded", "closing"), steps],
    ([kind, history]) =>
      Effect.gen(function* () {
        if (kind === "closing") yield* CircuitBreaker.open("api", { for: "3 seconds" })
        const running: Array<Deferred.Deferred<void, unknown>> = []
        const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
        const call = Effect.gen(function* () {
          const end = yield* Deferred.make<void, unknown>()
          running.push(end)
          yield* Deferred.await(end)
        })
        const end = (one: Deferred.Deferred<void, unknown>, how: string) =>
          how === "late"
            ? Deferred.fail(one, new Cause.TimeoutError("too late"))
            : how === "interrupted"
              ? Deferred.interrupt(one)
              : Deferred.succeed(one, undefined)
        for (const { advance, arrive, ends, how } of history) {
          fibers.push(...(yield* times(arrive, start(Effect.exit(waiting(call))))))
          yield* TestClock.adjust(advance)
          for (const one of running.splice(0, ends)) yield* end(one, how)
        }
        for (let i = 0; i < 3_000 && fibers.some((fiber) => fiber.pollUnsafe() === undefined); i++) {
          for (const one of running.splice(0)) yield* end(one, "ok")
          yield* TestClock.adjust(100)
        }
        assert.isTrue(fibers.every((fiber) => fiber.pollUnsafe() !== undefined))
        assert.strictEqual((yield* inspect()).inFlight, 0)
        return true
      }).pipe(
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(
          BreakerPolicy.layer({ default: { limit: kind === "bounded" ? { max: 2 } : true, trip: never } })
        ),
        Effect.provide(TestClock.layer())
      ) as Effect.Effect<boolean>,
    { arbitrary: { runs: 60, size: 30, maxShrinks: 200 } }
  )
})

describe("copies of a hedged call", () => {
  scenario(
    "in excess of the limit do not start, and the first copy decides",
    { limit: { max: 1 }, trip: never },
    function* () {
      let copies = 0
      const call = Resilience.pipeline(Resilience.breaker("api"), Resilience.hedge({ after: 10, copies: 2 }))
      const slow = Effect.suspend(() => {
        copies++
        return Effect.as(Effect.sleep(100), "ok")
      })
      const fiber = yield* start(call(slow))
      for (let i = 0; i < 10; i++) yield* TestClock.adjust(10)
      assert.deepStrictEqual(fiber.pollUnsafe(), Exit.succeed("ok"))
      const { inFlight, totals } = yield* inspect()
      assert.deepStrictEqual([copies, inFlight, totals.calls, totals.rejected], [1, 0, 1, 2])
    }
  )

  scenario(
    "count as Ignored if they are interrupted, and leave the limit",
    { limit: { max: 3 }, trip: never },
    function* () {
      const call = Resilience.pipeline(Resilience.breaker("api"), Resilience.hedge({ after: 10, copies: 2 }))
      const fiber = yield* start(call(Effect.as(Effect.sleep(100), "ok")))
      for (let i = 0; i < 12; i++) yield* TestClock.adjust(10)
      assert.deepStrictEqual(fiber.pollUnsafe(), Exit.succeed("ok"))
      const { inFlight, limit, totals } = yield* inspect()
      assert.deepStrictEqual([inFlight, limit, totals.successes, totals.ignored], [0, 3, 1, 2])
    }
  )
})

describe("the circuit of a name whose keys have limits", () => {
  scenario(
    "is probed by another key if the limit of a key is reached",
    { limit: { max: 1 }, span: true, cooldown: "10 seconds" },
    function* () {
      const busy = yield* hang({ key: "busy" })
      yield* Effect.forEach(Array.from({ length: 40 }), (_, i) => fail({ key: key(i) }))
      yield* expectState("Open")
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual((yield* reject({ key: "busy" })).reason, "Limited")
      yield* pass({ key: "k1" })
      yield* expectState("Closed")
      yield* busy.end(Exit.succeed("ok"))
      yield* pass({ key: "busy" })
    }
  )

  const policy: BreakerPolicy.Input = { limit: true, span: true, cooldown: "10 seconds" }
  const openName = Effect.gen(function* () {
    yield* Effect.forEach(Array.from({ length: 40 }), (_, i) => fail({ key: key(i) }))
    yield* expectState("Open")
  })

  scenario("has no limit of its own after it has closed", policy, function* () {
    const events = yield* recordEvents
    yield* openName
    yield* TestClock.adjust("11 seconds")
    yield* pass({ key: "k1" })
    yield* expectState("Closed")
    assert.strictEqual((yield* inspect()).limit, undefined)
    assert.deepStrictEqual(
      (yield* events).filter(({ _tag }) => _tag === "LimitBegan"),
      []
    )
  })

  scenario(
    "opens when the calls of all keys time out for ten seconds, however seldom a key is called",
    policy,
    function* () {
      let made = 0
      const hanging = Effect.suspend(() => {
        made++
        return Effect.andThen(Effect.sleep("1 second"), timeout)
      })
      for (let i = 0; i < 300; i++) {
        yield* start(Effect.exit(CircuitBreaker.protect(hanging, "api", { key: key(i) })))
        yield* TestClock.adjust(100)
      }
      yield* expectState("Open")
      assert.isAtMost(made, 150)
    }
  )

  scenario("stays Closed while calls of any key succeed, however many time out", policy, function* () {
    for (let i = 0; i < 300; i++) {
      if (i % 80 === 79) yield* pass({ key: key(i) })
      else yield* Effect.exit(CircuitBreaker.protect(timeout, "api", { key: key(i) }))
      yield* TestClock.adjust(100)
    }
    yield* expectState("Closed")
  })

  scenario("opens, and then calls that began earlier change no limit", policy, function* () {
    yield* pass({ key: "k0" })
    const before = yield* times(20, hang({ key: "k0" }))
    yield* Effect.forEach(Array.from({ length: 40 }), (_, i) => fail({ key: key(i + 1) }))
    yield* expectState("Open")
    for (const call of before) yield* call.end(late)
    assert.strictEqual((yield* inspect({ key: "k0" })).limit, undefined)
  })
})
