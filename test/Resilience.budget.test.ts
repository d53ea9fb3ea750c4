import { assert, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, Resilience } from "effect-fuse"

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
