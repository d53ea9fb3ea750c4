/** The test kit: a fake dependency, assertions about circuits, and a fleet with a process that is cut off. */
import { Cause, Effect, Exit, Fiber, Logger, pipe, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { CircuitTest, Dependency, TestFleet } from "effect-fuse/testing"

const policies = { default: { trip: Trip.consecutive(2), cooldown: "10 seconds" } } as const

// With @effect/vitest, each of these is the body of an `it.effect`, which provides scope and clock.

const recovers = Effect.gen(function* () {
  const recording = yield* CircuitTest.record
  const bank = yield* Dependency.make({ answer: "paid", error: "down", steps: ["hang", "fail"] })
  const pay = pipe(bank.call, Effect.timeout("1 second"), CircuitBreaker.protect("bank"), Effect.exit)

  const hanging = yield* Effect.forkChild(pay) // fork a waiting call before the clock advances
  yield* TestClock.adjust("1 second")
  yield* Fiber.join(hanging)
  yield* pay
  yield* CircuitTest.expectState("bank", "Open")
  yield* TestClock.adjust("10 seconds")
  yield* pay
  yield* recording.expectTransitions("bank", [
    "Closed -> Open: Tripped",
    "Open -> HalfOpen: CooldownOver",
    "HalfOpen -> Closed: Recovered"
  ])
}).pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(BreakerPolicy.layer(policies)))

// Fails on purpose, to show the message.
const isWrong = Effect.gen(function* () {
  yield* Effect.ignore(CircuitBreaker.protect(Effect.fail("down"), "bank"))
  yield* CircuitTest.expectState("bank", "Open")
}).pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(BreakerPolicy.layer(policies)))

const isCutOff = Effect.gen(function* () {
  const { at, processes } = yield* TestFleet.make(3, { policies })
  yield* at(2).cutOff
  yield* at(0).run(CircuitBreaker.isolate("bank", { reason: "drill" }))
  yield* TestClock.adjust("10 seconds")
  const states = Effect.forEach(processes, (one) => one.run(CircuitBreaker.state("bank")))
  console.log((yield* states).join(", "))
  yield* at(2).reconnect
  yield* TestClock.adjust("10 seconds")
  console.log((yield* states).join(", "))
})

const run = <E>(name: string, test: Effect.Effect<void, E, Scope.Scope>) =>
  Effect.gen(function* () {
    const exit = yield* Effect.exit(test.pipe(Effect.scoped, Effect.provide(TestClock.layer())))
    console.log(`${Exit.isSuccess(exit) ? "ok  " : "FAIL"} ${name}`)
    if (Exit.isFailure(exit)) console.log(String(Cause.squash(exit.cause)))
  })

const all = Effect.gen(function* () {
  yield* run("it recovers", recovers)
  yield* run("it opens after one failure", isWrong)
  yield* run("a process that is cut off learns it later", isCutOff)
})
await Effect.runPromise(Effect.provide(all, Logger.layer([])))
