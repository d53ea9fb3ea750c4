import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerPolicy, CircuitBreaker, CircuitPool, Resilience, Trip } from "effect-fuse"
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
const leak = CircuitBreaker.admit("api", { lease: "20 seconds" })

describe("permits that were never settled", () => {
  const two: BreakerPolicy.Input = { limit: { max: 2 }, trip: never }

  scenario("make room when they lapse, for a call", two, function* () {
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

describe("the circuit of a name whose keys have limits", () => {
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
