import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Tenant } from "effect-fuse"
import { failing, fleet, pause } from "./support/fleet.ts"
import { fail, quick, scenario } from "./support/verbs.ts"

describe("A key", () => {
  scenario("selects the circuit that state and inspect read", quick, function* () {
    yield* fail({ key: "k" })
    const looks = [
      CircuitBreaker.state,
      (name: string, at?: CircuitBreaker.Target) => Effect.map(CircuitBreaker.inspect(name, at), (seen) => seen.state)
    ]
    for (const look of looks)
      assert.deepStrictEqual([yield* look("api"), yield* look("api", { key: "k" })], ["Closed", "Open"])
  })

  scenario("selects the circuit that awaitClosed waits for", quick, function* () {
    yield* fail({ key: "k" })
    yield* CircuitBreaker.awaitClosed("api")
    const waiting = yield* Effect.forkChild(CircuitBreaker.awaitClosed("api", { key: "k" }), { startImmediately: true })
    yield* TestClock.adjust("1 second")
    assert.isUndefined(waiting.pollUnsafe())
    yield* CircuitBreaker.close("api", { key: "k" })
    yield* Fiber.join(waiting)
  })

  it.effect("selects the circuit whose scope is read", () =>
    Effect.gen(function* () {
      const { at, processes } = yield* fleet(3, { key: "k" })
      yield* Effect.forEach(processes, (process) => process.succeed)
      yield* failing(processes, 3)
      yield* pause(200)
      const scopes = Effect.all([CircuitBreaker.scope("api"), CircuitBreaker.scope("api", { key: "k" })])
      assert.deepStrictEqual(yield* at(0).run(scopes), ["local", "fleet"])
    })
  )
})

describe("An effect that was protected once", () => {
  const calls = (key?: string) => Effect.map(CircuitBreaker.inspect("api", { key }), (seen) => seen.totals.calls)

  it.effect("uses the new circuit of its key after the old one was evicted", () => {
    const effect = CircuitBreaker.protect(Effect.succeed(1), "api", { key: "a" })
    return Effect.gen(function* () {
      yield* effect
      yield* CircuitBreaker.protect(Effect.void, "api", { key: "b" })
      yield* effect
      yield* effect
      assert.deepStrictEqual([yield* calls("a"), (yield* BreakerStore.stats).evicted], [2, 2])
    }).pipe(Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 1 })))
  })

  it.effect("leaves the shared circuit of its name as soon as its key has room", () => {
    const effect = CircuitBreaker.protect(Effect.succeed(1), "api", { key: "a" })
    const held = CircuitBreaker.protect(Effect.never, "api", { key: "b" })
    return Effect.gen(function* () {
      const running = yield* Effect.forkChild(held, { startImmediately: true })
      yield* effect
      assert.strictEqual((yield* BreakerStore.stats).overflowed, 1)
      yield* Fiber.interrupt(running)
      yield* effect
      assert.strictEqual((yield* BreakerStore.stats).overflowed, 1)
    }).pipe(Effect.provide(BreakerStore.layerMemoryWith({ maxCircuits: 1 })))
  })

  it.effect("uses the circuit of each store that it runs in", () => {
    const effect = CircuitBreaker.protect(Effect.succeed(1), "api")
    const once = Effect.andThen(effect, calls())
    return Effect.gen(function* () {
      const stores = yield* Effect.all(
        [0, 1]
          .map(() => Effect.scoped(Effect.context<BreakerStore.BreakerStore>()))
          .map((context) => Effect.provide(context, BreakerStore.layerMemoryWith({})))
      )
      const counts: Array<number> = []
      for (const store of [...stores, ...stores]) counts.push(yield* Effect.provide(once, store))
      assert.deepStrictEqual(counts, [1, 1, 2, 2])
    })
  })

  it.effect("uses the circuit of each tenant that runs it, and that of no tenant", () => {
    const effect = CircuitBreaker.protect(Effect.succeed(1), "api")
    const once = Effect.andThen(effect, calls())
    return Effect.gen(function* () {
      const counts: Array<number> = []
      for (const tenant of [undefined, "x", "y", undefined, "x"])
        counts.push(yield* tenant === undefined ? once : Tenant.within(once, tenant))
      assert.deepStrictEqual(counts, [1, 1, 1, 2, 2])
    }).pipe(
      Effect.provide([
        BreakerStore.layerMemoryWith({}),
        BreakerPolicy.layer({ breakers: { api: { tenants: "separate" } } })
      ])
    )
  })
})
