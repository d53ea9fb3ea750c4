import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Logger, Scope } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, MemoryStore } from "effect-fuse"
import { intercepted } from "./support/fleet.ts"

/** Two processes on one store, and what the first of them says to it: its convictions, in thousandths. */
const twoProcesses = Effect.gen(function* () {
  const store = yield* MemoryStore.make
  const said: Array<number | "nothing"> = []
  const heard = intercepted(store, ({ casts }, carryOut) => {
    for (const { ballot } of casts) said.push(ballot?.[0] ?? "nothing")
    return carryOut
  })
  const one = yield* Layer.build(BreakerStore.layerShared(heard))
  const other = yield* Layer.build(BreakerStore.layerShared(store))
  const call = (context: typeof one, ends: Effect.Effect<string, string>) =>
    Effect.ignore(Effect.provideContext(CircuitBreaker.protect(ends, "api"), context))
  const works = Effect.succeed("ok")
  const fails = Effect.fail("down")
  yield* call(one, works)
  yield* call(other, works)
  return { said, works: call(one, works), fails: call(one, fails) }
}).pipe(Effect.provide(Logger.layer([])))

describe("A process", () => {
  it.effect("that cast a failing ballot casts a recovered one, long after the inquiry", () =>
    Effect.gen(function* () {
      const { fails, said, works } = yield* twoProcesses
      yield* fails
      yield* fails
      yield* TestClock.adjust("1 second")
      assert.include(said, 1000)
      said.length = 0
      yield* works
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([...new Set(said)], [0])
    })
  )

  it.effect("casts no ballot for single failures or for successes", () =>
    Effect.gen(function* () {
      const { fails, said, works } = yield* twoProcesses
      for (let i = 0; i < 9; i++) {
        yield* fails
        yield* works
        yield* TestClock.adjust("100 millis")
      }
      assert.deepStrictEqual(said, [])
    })
  )
})

describe("A process that ends", () => {
  for (const millis of [0, 10, 49, 51]) {
    it.effect(`no longer counts, nor what it said ${millis} ms before, though that is on its way for 50 ms`, () =>
      Effect.gen(function* () {
        const store = yield* MemoryStore.make
        const arrived: Array<"ballot" | "goodbye"> = []
        // What is on its way arrives, also if no process waits for it any more.
        const slow = intercepted(store, ({ casts, ttl }, carryOut) => {
          if (casts.length === 0 && ttl > 0) return carryOut
          const arrives = Effect.suspend(() => {
            if (casts.length > 0) arrived.push("ballot")
            if (ttl === 0) arrived.push("goodbye")
            return carryOut
          })
          return Effect.flatMap(Effect.forkDetach(Effect.delay(arrives, 50), { startImmediately: true }), Fiber.join)
        })
        const scope = yield* Scope.make()
        const one = yield* Layer.buildWithScope(BreakerStore.layerShared(slow), scope)
        yield* Layer.build(BreakerStore.layerShared(store))
        yield* TestClock.adjust("6 seconds")
        const call = (ends: Effect.Effect<string, string>) =>
          Effect.ignore(Effect.provideContext(CircuitBreaker.protect(ends, "api"), one))
        yield* call(Effect.succeed("ok"))
        for (let i = 0; i < 2; i++) yield* call(Effect.fail("down"))
        yield* TestClock.adjust(millis)
        yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        assert.strictEqual(arrived.at(-1), "goodbye", arrived.join())
        assert.strictEqual((yield* store.page(0, 1)).live, 1)
      }).pipe(Effect.provide(Logger.layer([])))
    )
  }
})
