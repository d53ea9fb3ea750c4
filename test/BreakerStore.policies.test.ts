import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Schedule, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Tenant, Trip } from "effect-fuse"

/** Runs a program with a new store. */
const withStore = <A, E>(self: Effect.Effect<A, E, BreakerStore.BreakerStore | Scope.Scope>) =>
  Effect.provide(self, BreakerStore.layerMemory)

describe("two policies for one name in one store", () => {
  const protect = (policy?: BreakerPolicy.Input, name = "api") =>
    Effect.exit(CircuitBreaker.protect(Effect.succeed("up"), name, policy === undefined ? {} : { policy }))

  it.effect("are a defect that names the circuit and the fields that differ, and nothing runs", () =>
    Effect.gen(function* () {
      let ran = 0
      yield* protect({ cooldown: "1 second", probes: 2 })
      const second = CircuitBreaker.protect(
        Effect.sync(() => ran++),
        "api",
        { policy: { cooldown: "2 seconds", probes: 2, mode: "observe" } }
      )
      const exit = yield* Effect.exit(second)
      assert(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      const { message } = Cause.squash(exit.cause) as Error
      assert.include(message, '"api"')
      assert.include(message, "differ in cooldown, mode.")
      assert.strictEqual(ran, 0)
      assert.strictEqual((yield* protect({ cooldown: "1 second", probes: 2 }))._tag, "Success")
      assert.strictEqual((yield* protect({ cooldown: "2 seconds" }, "other"))._tag, "Success")
    }).pipe(withStore)
  )

  it.effect("are a defect, too, between a policy of the layer and one written at the call", () =>
    Effect.gen(function* () {
      yield* protect()
      const exit = yield* protect({ trip: Trip.consecutive(1) })
      assert(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.include(String(Cause.squash(exit.cause)), "differ in trip.")
    }).pipe(withStore)
  )

  const cooldown = Schedule.exponential("1 second")
  const check = Effect.void
  const predicate = () => false

  it.effect.each([
    ["nothing", () => ({})],
    [
      "every plain field",
      () => ({ cooldown: "1 second", probes: 2, mode: "observe", dependsOn: ["db"], ramp: 5, tenants: "counted" })
    ],
    [
      "the same time in other words",
      (n) => ({ cooldown: n === 0 ? "1 minute" : 60_000, slowCall: n === 0 ? "3 seconds" : { seconds: 3 } })
    ],
    ["a trip", () => ({ trip: Trip.any(Trip.consecutive(3), Trip.failures({ atLeast: 2, of: 5 })) })],
    ["one schedule", () => ({ cooldown })],
    ["one health check", () => ({ probe: { check, schedule: cooldown } })],
    ["a health check at an interval", (n) => ({ probe: { check, schedule: n === 0 ? "1 minute" : 60_000 } })],
    ["a cooldown that grows", (n) => ({ cooldown: { exponential: 5, ...(n === 0 ? {} : { factor: 2 }) } })],
    ["one predicate", () => ({ trip: Trip.custom("mine", predicate) })]
  ] as ReadonlyArray<[string, (n: number) => BreakerPolicy.Input]>)(
    "are one policy if their fields are equal: %s",
    ([_, policy]) =>
      Effect.gen(function* () {
        for (const n of [0, 1, 0, 1]) assert.strictEqual((yield* protect(policy(n)))._tag, "Success")
        // The same, said by a layer.
        const layer = BreakerPolicy.layer({ default: { successesToClose: 1 }, breakers: { api: policy(0) } })
        for (const _ of [0, 1]) assert.strictEqual((yield* Effect.provide(protect(), layer))._tag, "Success")
      }).pipe(withStore)
  )

  it.effect("are one for all keys and tenants", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.protect(Effect.void, "api", { key: "a", policy: { probes: 2 } })
      const other = CircuitBreaker.protect(Effect.void, "api", { key: "b", policy: { probes: 3 } })
      const exit = yield* Effect.exit(Tenant.within(other, "acme"))
      assert(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    }).pipe(withStore)
  )
})

describe("a circuit with an operator action before its first call", () => {
  const policy: BreakerPolicy.Input = { trip: Trip.consecutive(1), cooldown: "7 seconds" }
  const failing = Effect.exit(CircuitBreaker.protect(Effect.fail("down"), "api", { policy }))

  it.effect("takes on the policy that its first call brings, and keeps its state", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("api")
      const rejected = yield* failing
      assert(Exit.isFailure(rejected))
      assert.include(String(Cause.squash(rejected.cause)), "Isolated")
      assert.strictEqual((yield* CircuitBreaker.release("api")).state, "Closed")
      yield* failing
      assert.strictEqual(yield* CircuitBreaker.state("api"), "Open")
      yield* TestClock.adjust("7 seconds")
      assert.strictEqual((yield* CircuitBreaker.inspect("api")).retryAfter.toString(), "0 millis")
      yield* CircuitBreaker.protect(Effect.void, "api", { policy })
      assert.strictEqual(yield* CircuitBreaker.state("api"), "Closed")
    }).pipe(withStore)
  )

  it.effect.each(["disable", "open", "close", "reset", "release"] as const)("by %s, too", (verb) =>
    Effect.gen(function* () {
      yield* CircuitBreaker[verb]("api")
      assert.notInclude(String(yield* failing), "Two policies")
      yield* CircuitBreaker.reset("api")
      yield* failing
      assert.strictEqual(yield* CircuitBreaker.state("api"), "Open")
    }).pipe(withStore)
  )
})
