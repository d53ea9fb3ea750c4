import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { BreakerStore, CircuitBreaker } from "effect-fuse"

it.effect("a protected effect keeps its value", () =>
  Effect.gen(function* () {
    assert.strictEqual(yield* CircuitBreaker.protect(Effect.succeed(1), "api"), 1)
  }).pipe(Effect.provide(BreakerStore.layerMemory))
)
