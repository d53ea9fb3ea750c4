import { assert, it } from "@effect/vitest"
import { Duration, Effect, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"

const small = Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 4 }))
const succeed = (key: string) => CircuitBreaker.protect(Effect.void, "api", { key })
const keys = (prefix: string, n: number) => Array.from({ length: n }, (_, i) => `${prefix}${i}`)

it.effect("who only waits or looks makes no circuits", () =>
  Effect.gen(function* () {
    for (const key of keys("k", 1000)) {
      yield* CircuitBreaker.awaitClosed("api", { key })
      yield* CircuitBreaker.state("api", { key })
      yield* CircuitBreaker.inspect("api", { key })
    }
    assert.deepStrictEqual(yield* BreakerStore.stats, { circuits: 0, evicted: 0, overflowed: 0 })
  }).pipe(small)
)

it.effect("what was made by hand beyond the limit is given back as calls come", () =>
  Effect.gen(function* () {
    for (const key of keys("hand", 10)) {
      yield* CircuitBreaker.isolate("api", { key })
      yield* CircuitBreaker.release("api", { key })
    }
    assert.strictEqual((yield* BreakerStore.stats).circuits, 10)
    yield* Effect.forEach(keys("call", 20), succeed)
    assert.strictEqual((yield* BreakerStore.stats).circuits, 4)
  }).pipe(small)
)

it.effect("a key that found no room looks like the circuit that it shares", () =>
  Effect.gen(function* () {
    for (const key of keys("bad", 4)) {
      yield* Effect.ignore(CircuitBreaker.protect(Effect.fail("down"), "api", { key }))
    }
    for (let i = 0; i < 5; i++) {
      yield* Effect.ignore(CircuitBreaker.protect(Effect.fail("down"), "api", { key: "late" }))
    }
    assert.strictEqual(yield* CircuitBreaker.state("api", { key: "late" }), "Open")
  }).pipe(small)
)

const reloading = (...loads: ReadonlyArray<BreakerPolicy.Settings>) => {
  let next = 0
  const load = Effect.sync(() => loads[Math.min(next++, loads.length - 1)])
  return Effect.provide(BreakerPolicy.layerReloading(load, Schedule.spaced("1 minute")))
}

it.effect("a circuit that was steered before its first call takes on a reload, too", () =>
  Effect.gen(function* () {
    yield* CircuitBreaker.isolate("api")
    yield* CircuitBreaker.release("api")
    yield* TestClock.adjust("1 minute")
    yield* CircuitBreaker.open("api")
    const { retryAfter } = yield* CircuitBreaker.inspect("api")
    assert.strictEqual(Duration.toSeconds(retryAfter), 5)
  }).pipe(Effect.provide(BreakerStore.layerMemory), reloading({}, { default: { cooldown: "5 seconds" } }))
)

it.effect("who looks after a reload sees the new policy before any call", () =>
  Effect.gen(function* () {
    yield* CircuitBreaker.protect(Effect.void, "api")
    yield* TestClock.adjust("1 minute")
    assert.strictEqual((yield* CircuitBreaker.inspect("api")).mode, "observe")
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(
      (yield* CircuitBreaker.list).map(({ mode }) => mode),
      ["enforce"]
    )
  }).pipe(Effect.provide(BreakerStore.layerMemory), reloading({}, { default: { mode: "observe" } }, {}))
)
