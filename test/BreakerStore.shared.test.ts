import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, MemoryStore } from "effect-fuse"

/** Processes with one store, and a dependency that they all call. */
const fleet = (size: number) =>
  Effect.gen(function* () {
    const store = yield* MemoryStore.make
    const contexts: Array<Context.Context<BreakerStore.BreakerStore>> = []
    for (let i = 0; i < size; i++) contexts.push(yield* Layer.build(BreakerStore.layerShared(store)))
    const dependency = { up: true, reached: 0 }
    const call = Effect.suspend(() => {
      dependency.reached++
      return dependency.up ? Effect.succeed("ok") : Effect.fail("down")
    })
    const within = <A, E>(i: number, effect: Effect.Effect<A, E, BreakerStore.BreakerStore>) =>
      Effect.provideContext(effect, contexts[i] ?? (Context.empty() as never))
    return {
      store,
      dependency,
      within,
      call: (i: number) => Effect.exit(within(i, CircuitBreaker.protect(call, "api"))),
      state: (i: number) => within(i, CircuitBreaker.state("api")),
      inspect: (i: number) => within(i, CircuitBreaker.inspect("api")),
      all: <A, E>(f: (i: number) => Effect.Effect<A, E>) => Effect.forEach(contexts, (_, i) => f(i))
    }
  })

describe("processes with one store", () => {
  it.effect("open together after fewer failures than each would need, and close together after one probe", () =>
    Effect.gen(function* () {
      const { all, call, dependency, inspect, state } = yield* fleet(3)
      yield* all(call)
      // The store does not know all processes before.
      yield* TestClock.adjust("6 seconds")
      Object.assign(dependency, { up: false, reached: 0 })
      for (let i = 0; i < 30; i++) {
        yield* call(i % 3)
        yield* TestClock.adjust("5 millis")
      }
      assert.isBelow(dependency.reached, 10)
      for (const { cause, scope, state } of yield* all(inspect)) {
        assert.deepStrictEqual([state, scope], ["Open", "fleet"])
        assert.match(cause?.detail ?? "", /in [23] of 3 processes together$/)
      }
      yield* TestClock.adjust("32 seconds")
      Object.assign(dependency, { up: true, reached: 0 })
      assert.isTrue(Exit.isSuccess(yield* call(0)))
      assert.deepStrictEqual(yield* all(state), ["Closed", "Closed", "Closed"])
      assert.strictEqual(dependency.reached, 1)
    })
  )
})
