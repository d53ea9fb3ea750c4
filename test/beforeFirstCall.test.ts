import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import { BreakerHealth, BreakerPolicy, BreakerStore, CircuitBreaker, CircuitPool, Resilience } from "effect-fuse"
import { createBreaker, createManager } from "effect-fuse/promise"

type Act = Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>

/** Everything that touches a circuit without calling it. */
const touches: Readonly<Record<string, Act>> = {
  nothing: Effect.void,
  state: CircuitBreaker.state("api"),
  scope: CircuitBreaker.scope("api"),
  inspect: CircuitBreaker.inspect("api"),
  list: CircuitBreaker.list,
  awaitClosed: CircuitBreaker.awaitClosed("api"),
  isolate: Effect.andThen(CircuitBreaker.isolate("api"), CircuitBreaker.release("api")),
  disable: Effect.andThen(CircuitBreaker.disable("api"), CircuitBreaker.release("api")),
  release: CircuitBreaker.release("api"),
  open: Effect.andThen(CircuitBreaker.open("api"), CircuitBreaker.reset("api")),
  close: CircuitBreaker.close("api"),
  reset: CircuitBreaker.reset("api"),
  "a key of it": Effect.andThen(
    CircuitBreaker.isolate("api", { key: "a" }),
    CircuitBreaker.release("api", { key: "a" })
  ),
  "a retry budget": Effect.exit(Resilience.retry({ budget: "api", times: 1 })(Effect.fail("down"))),
  "a circuit that depends on it": CircuitBreaker.protect(Effect.void, "other", { policy: { dependsOn: ["api"] } }),
  "BreakerHealth.check": BreakerHealth.check,
  "BreakerHealth.checkOnly": BreakerHealth.checkOnly(["api"]),
  "a pool's health": CircuitPool.health(CircuitPool.make("api", { members: ["a"] })),
  exportAll: BreakerStore.exportAll,
  "an import": Effect.flatMap(BreakerStore.exportAll, BreakerStore.importAll)
}

const configured = (policy: BreakerPolicy.Input) =>
  BreakerPolicy.layer({ breakers: { api: policy, front: { dependsOn: ["api"] } } })

const inMillis = Effect.map(CircuitBreaker.inspect("api"), ({ retryAfter }) => Duration.toMillis(retryAfter))

describe("What configuration declares holds before the first call, whatever touched the circuit first:", () => {
  for (const [what, touch] of Object.entries(touches)) {
    for (const where of ["with the configuration", "without it"]) {
      it.effect(`${what}, ${where}`, () =>
        Effect.gen(function* () {
          const policies = configured({ cooldown: "7 seconds" })
          const first = where === "without it" ? touch : Effect.provide(touch, policies)
          // The delay of the retry.
          const done = yield* Effect.forkChild(first, { startImmediately: true })
          yield* TestClock.adjust("1 minute")
          assert.isDefined(done.pollUnsafe())
          yield* Effect.gen(function* () {
            assert.strictEqual(yield* CircuitBreaker.open("api"), "Open")
            assert.strictEqual(yield* inMillis, 7_000)
            const { retryAfter } = yield* Effect.flip(CircuitBreaker.protect(Effect.void, "front"))
            assert.strictEqual(Duration.toMillis(retryAfter), 7_000)
          }).pipe(Effect.provide(policies))
        }).pipe(Effect.provide(BreakerStore.layerMemory))
      )
    }
  }

  it.effect("the health check of a circuit that an operator opened runs", () =>
    Effect.gen(function* () {
      let checks = 0
      const check = Effect.sync(() => checks++)
      const policies = configured({ cooldown: "1 hour", probe: { check, schedule: "10 seconds" } })
      yield* Effect.provide(CircuitBreaker.open("api"), policies)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(checks, 1)
      assert.strictEqual(yield* CircuitBreaker.state("api"), "Closed")
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )

  it.effect("an isolated circuit that only observes lets its waiting callers go", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("api")
      yield* CircuitBreaker.awaitClosed("api")
    }).pipe(Effect.provide(configured({ mode: "observe" })), Effect.provide(BreakerStore.layerMemory))
  )

  it.effect("after the first call its policy holds, also for callers with another configuration", () =>
    Effect.gen(function* () {
      yield* Effect.provide(CircuitBreaker.protect(Effect.void, "api"), configured({ cooldown: "7 seconds" }))
      yield* Effect.provide(CircuitBreaker.open("api"), configured({ cooldown: "8 seconds" }))
      assert.strictEqual(yield* inMillis, 7_000)
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )

  it.effect("a policy at the call site holds from the first call on, as documented", () =>
    Effect.gen(function* () {
      const call = CircuitBreaker.protect(Effect.void, "api", { policy: { cooldown: "7 seconds" } })
      yield* CircuitBreaker.open("api")
      assert.strictEqual(yield* inMillis, 30_000)
      yield* CircuitBreaker.reset("api")
      yield* call
      yield* CircuitBreaker.open("api")
      assert.strictEqual(yield* inMillis, 7_000)
    }).pipe(Effect.provide(BreakerStore.layerMemory))
  )
})

describe("A promise breaker declares its policy when it is made:", () => {
  const ok = async () => "ok"
  const cooldown = "1 hour"
  type Breaker = ReturnType<typeof createBreaker<[], string>>
  const before: Readonly<Record<string, (breaker: Breaker) => unknown>> = {
    nothing: () => {},
    state: (breaker) => breaker.state,
    metrics: (breaker) => breaker.metrics,
    "the metrics of a key": (breaker) => breaker.inspect("a"),
    "isolate and release": async (breaker) => {
      await breaker.isolate()
      await breaker.release()
    },
    "disable and release": async (breaker) => {
      await breaker.disable()
      await breaker.release()
    },
    close: (breaker) => breaker.close(),
    reset: (breaker) => breaker.reset(),
    "another key": (breaker) => breaker.open({ key: "a" })
  }
  for (const [what, act] of Object.entries(before)) {
    it(`open, after ${what}`, async () => {
      const breaker = createBreaker(ok, { cooldown })
      await act(breaker)
      await breaker.open()
      assert.closeTo(breaker.metrics.retryAfter, 3_600_000, 60_000)
      await breaker.open({ key: "b" })
      assert.closeTo(breaker.inspect("b").retryAfter, 3_600_000, 60_000)
    })
  }

  it("the defaults of a manager", async () => {
    const breaker = createManager({ defaults: { cooldown } }).register("api", ok)
    await breaker.open()
    assert.closeTo(breaker.metrics.retryAfter, 3_600_000, 60_000)
  })

  it("a circuit that another one depends on", async () => {
    const manager = createManager()
    const db = manager.register("db", ok, { cooldown })
    const api = manager.register("api", ok, { dependsOn: ["db"] })
    await db.open()
    assert.closeTo(api.metrics.retryAfter, 3_600_000, 60_000)
    assert.deepInclude(await api.execute().catch((error) => error), { reason: "Dependency", dependency: "db" })
  })

  it("a circuit that depends on another one", async () => {
    const manager = createManager()
    const db = manager.register("db", ok)
    const api = manager.register("api", ok, { dependsOn: ["db"] })
    await db.isolate()
    assert.strictEqual(api.metrics.retryAfter, Infinity)
  })

  it("a health check", async () => {
    let checks = 0
    const breaker = createBreaker(ok, { cooldown, probe: { check: () => ++checks > 0, every: 5 } })
    await breaker.open()
    for (let i = 0; i < 2_000 && breaker.state !== "Closed"; i++) await new Promise((done) => setTimeout(done, 5))
    assert.deepStrictEqual([checks, breaker.state], [1, "Closed"])
    await breaker.shutdown()
  })

  it("an open circuit closes by a probe when its own cooldown is over", async () => {
    const breaker = createBreaker(ok, { cooldown: 20 })
    await breaker.open()
    await new Promise((done) => setTimeout(done, 30))
    assert.strictEqual(await breaker.execute(), "ok")
  })

  it("and it is not called, and no circuit of it is listed, before something happens to it", () => {
    const manager = createManager()
    manager.register("api", ok, { cooldown })
    const { breakers, calls, circuits } = manager.aggregateMetrics()
    assert.deepStrictEqual([calls, circuits, breakers[0]?.name], [0, 1, "api"])
  })
})
