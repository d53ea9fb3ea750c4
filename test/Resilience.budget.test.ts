import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, Resilience } from "effect-fuse"
import { failingCall } from "./support/timing.ts"
import { scenario } from "./support/verbs.ts"

const retryOf = (key: string) =>
  Resilience.retry({ times: 1, schedule: Schedule.forever, budget: { name: "api", key, floor: 1, over: "10 seconds" } })

it.effect("a circuit whose budget is being spent is not forgotten for another key, and is afterwards", () =>
  Effect.gen(function* () {
    // The call passes no circuit, so that only its budget keeps it.
    yield* Effect.ignore(retryOf("a")(Effect.fail("down")))
    yield* retryOf("b")(Effect.void)
    const keys = Effect.map(CircuitBreaker.list, (all) => all.map(({ key }) => key))
    assert.deepStrictEqual(yield* keys, ["a", "(overflow)"])
    yield* TestClock.adjust("20 seconds")
    yield* retryOf("b")(Effect.void)
    assert.deepStrictEqual(yield* keys, ["b", "(overflow)"])
  }).pipe(Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 1 })))
)

it.effect("a budget asks the circuits of its store once, and counts no overflow for its own questions", () =>
  Effect.gen(function* () {
    for (let i = 0; i < 3; i++) yield* Effect.ignore(retryOf("b".repeat(600))(Effect.fail("down")))
    assert.strictEqual((yield* BreakerStore.stats).overflowed, 0)
  }).pipe(Effect.provide(BreakerStore.layerMemory))
)

for (const [over, retries] of [
  ["2 seconds", 2],
  ["10 seconds", 1]
] as const) {
  scenario(
    `a budget over ${over}: a second call 5 seconds later makes ${retries === 2 ? "a retry, too" : "no retry"}`,
    {},
    function* () {
      const again = Resilience.retry({
        times: 1,
        schedule: Schedule.spaced(1),
        budget: { name: "api", floor: 1, share: 0.01, over }
      })
      const { between, call } = failingCall()
      for (let i = 0; i < 2; i++) {
        const fiber = yield* Effect.forkChild(Effect.exit(again(call)))
        yield* TestClock.adjust("5 seconds")
        yield* Fiber.join(fiber)
      }
      assert.strictEqual(between().length + 1 - 2, retries)
    }
  )
}
