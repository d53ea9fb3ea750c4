import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, MemoryStore, SharedStore } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import { fleet, isRoutine, start } from "./support/fleet.ts"

describe("A process that starts", () => {
  const isolated = Effect.gen(function* () {
    const store = yield* MemoryStore.make
    yield* Operator.isolate(store, "api")
    return store
  })
  const startOn = (store: SharedStore.SharedStore, options: BreakerStore.SharedOptions = {}) =>
    Effect.forkChild(
      Effect.flatMap(Layer.build(BreakerStore.layerShared(store, options)), (context) =>
        Effect.provideContext(CircuitBreaker.state("api"), context)
      ),
      { startImmediately: true }
    )

  it.effect("waits for the connection and then for the open circuits, each with its own budget", () =>
    Effect.gen(function* () {
      const store = yield* isolated
      const connected = yield* Deferred.make<void>()
      const late: SharedStore.SharedStore = {
        ...store,
        connected: Deferred.await(connected),
        page: (since, limit) => Effect.delay(store.page(since, limit), 150)
      }
      const started = yield* startOn(late)
      yield* TestClock.adjust("900 millis")
      assert.isUndefined(started.pollUnsafe())
      yield* Deferred.succeed(connected, undefined)
      yield* TestClock.adjust("200 millis")
      assert.strictEqual(yield* Fiber.join(started), "Isolated")
    }).pipe(Effect.provide(Logger.layer([])))
  )

  for (const [connectTimeout, millis] of [
    [undefined, 1_000],
    ["3 seconds", 3_000]
  ] as const) {
    it.effect(`waits ${millis} ms for a connection that does not come, and 200 ms for an answer`, () =>
      Effect.gen(function* () {
        const store = yield* isolated
        const never: SharedStore.SharedStore = { ...store, connected: Effect.never, page: () => Effect.never }
        const started = yield* startOn(never, { connectTimeout })
        yield* TestClock.adjust(millis + 199)
        assert.isUndefined(started.pollUnsafe())
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* Fiber.join(started), "Closed")
      }).pipe(Effect.provide(Logger.layer([])))
    )
  }

  it.effect(
    "reads three thousand open circuits from a slow store that drops every second read, and keeps its progress",
    () =>
      Effect.gen(function* () {
        const { store } = yield* fleet(0)
        const writer = yield* start(store)
        for (let i = 0; i < 3_000; i++) {
          yield* Effect.forkChild(writer.run(CircuitBreaker.open("api", { key: `k${i}`, for: "10 minutes" })), {
            startImmediately: true
          })
        }
        yield* TestClock.adjust("10 seconds")
        let reads = 0
        const asked: Array<number> = []
        const slow: SharedStore.SharedStore = {
          ...store,
          page: (since, limit) => {
            asked.push(since)
            return reads++ % 2 === 1 ? Effect.never : Effect.delay(store.page(since, limit), 200)
          }
        }
        const late = yield* Effect.forkChild(start(slow), { startImmediately: true })
        yield* TestClock.adjust("15 seconds")
        const process = yield* Fiber.join(late)
        for (const key of ["k0", "k1500", "k2999"]) {
          assert.strictEqual(yield* process.run(CircuitBreaker.state("api", { key })), "Open")
        }
        // What was read is not read again.
        assert.deepStrictEqual(
          asked,
          [...asked].sort((a, b) => a - b)
        )
        assert.strictEqual(new Set(asked).size, 3_000 / SharedStore.limits.page + 1)
      })
  )

  it.effect("reads little where two thousand circuits are open and nothing changes", () =>
    Effect.gen(function* () {
      const { at, store } = yield* fleet(2)
      for (let i = 0; i < 2_000; i++) {
        yield* Effect.forkChild(at(0).run(CircuitBreaker.open("api", { key: `k${i}`, for: "10 minutes" })), {
          startImmediately: true
        })
      }
      yield* TestClock.adjust("20 seconds")
      let records = 0
      const counted: SharedStore.SharedStore = {
        ...store,
        page: (since, limit) =>
          Effect.tap(store.page(since, limit), ({ changes }) =>
            Effect.sync(() => {
              records += changes.length
            })
          )
      }
      const late = yield* start(counted)
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(records, 2_000)
      late.trouble.asked = []
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(records, 2_000)
      assert.isTrue(isRoutine(late.trouble.asked))
      assert.isAtMost(late.trouble.asked.length, 2 * 13)
    })
  )
})
