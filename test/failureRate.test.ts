import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Exit, Layer } from "effect"
import { HttpClient, HttpRouter } from "effect/http"
import { TestClock } from "effect/testing"
import { BreakerHealth, BreakerPolicy, BreakerStore, CircuitBreaker, CircuitPool, Trip } from "effect-fuse"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import { BreakerRoutes } from "effect-fuse/http"
import { createManager, type Policy, trip } from "effect-fuse/promise"
import { sqlite } from "./support/sqlite.ts"
import { play, recordEvents } from "./support/verbs.ts"

/** Every kind of trip, with limits that these tests do not reach. */
const trips: Readonly<Record<string, Trip.Input>> = {
  "failures in a row": Trip.consecutive(5),
  "stuck calls": Trip.stuck({ calls: 50, olderThan: "1 minute" }),
  "failures in a row or stuck calls": Trip.any(Trip.consecutive(5), Trip.stuck({ calls: 50, olderThan: "1 minute" })),
  "failures in a row and stuck calls": Trip.all(Trip.consecutive(5), Trip.stuck({ calls: 50, olderThan: "1 minute" })),
  "failures of a number of calls": Trip.failures({ atLeast: 50, of: 100 }),
  "failures in a time": Trip.failures({ atLeast: 50, of: "10 seconds" }),
  "the share of failures": Trip.failureRate({ threshold: 0.9, minimumCalls: 20, over: "10 seconds" }),
  "the share of slow calls": Trip.slowRate({ threshold: 0.9, minimumCalls: 20, over: 100 }),
  weights: Trip.weighted({ atLeast: 50, over: 100 }),
  "a custom rule": Trip.custom("never", () => false),
  "several windows": Trip.any(
    Trip.failures({ atLeast: 50, of: 100 }),
    Trip.failureRate({ threshold: 0.9, minimumCalls: 20, over: "10 seconds" })
  )
}

const json = (path: string) =>
  Effect.flatMap(HttpClient.HttpClient, (client) => Effect.flatMap(client.get(path), ({ json }) => json))

/** The failure rate of the circuit `api`, by each way in which it can be read. */
const readings = Effect.gen(function* () {
  yield* Snapshots.take()
  const health = (yield* json("/health")) as { failure_rate: number | null }
  const breakers = (yield* json("/breakers")) as ReadonlyArray<{ failure_rate: number | null }>
  return {
    inspect: (yield* CircuitBreaker.inspect("api")).failureRate,
    list: (yield* CircuitBreaker.list).find(({ circuit }) => circuit === "api")?.failureRate,
    check: (yield* BreakerHealth.check).failureRate,
    checkOnly: (yield* BreakerHealth.checkOnly(["api"])).failureRate,
    snapshot: (yield* Snapshots.series("api")).at(-1)?.failureRate,
    "/health": health.failure_rate ?? undefined,
    "/breakers": breakers[0]?.failure_rate ?? undefined
  }
})

const everywhere = (rate: number | undefined) => ({
  inspect: rate,
  list: rate,
  check: rate,
  checkOnly: rate,
  snapshot: rate,
  "/health": rate,
  "/breakers": rate
})

const read = (policies: Layer.Layer<never, unknown>) =>
  HttpRouter.serve(BreakerRoutes.layer(), { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layerTest),
    Layer.provideMerge(AuditTrail.layer()),
    Layer.provideMerge(BreakerStore.layerMemory),
    Layer.provide(sqlite(":memory:")),
    Layer.provideMerge(policies),
    Layer.orDie
  )

const under = (trip: Trip.Input) => read(BreakerPolicy.layer({ default: { trip } }))

describe("the failure rate of a circuit", () => {
  it.live.each(Object.entries(trips))("is the share of its recent calls that failed, if it trips on %s", ([, trip]) =>
    Effect.gen(function* () {
      yield* play("SFSFSFSF")
      assert.deepStrictEqual(yield* readings, everywhere(0.5))
      yield* play("SSSSSSSS")
      assert.deepStrictEqual(yield* readings, everywhere(0.25))
    }).pipe(Effect.provide(under(trip)))
  )

  it.live.each(Object.entries(trips))("is absent before the first call, if it trips on %s", ([, trip]) =>
    Effect.gen(function* () {
      yield* CircuitBreaker.disable("api")
      yield* CircuitBreaker.release("api")
      assert.deepStrictEqual(yield* readings, everywhere(undefined))
    }).pipe(Effect.provide(under(trip)))
  )

  it.live("is 0 if recent calls succeeded, and 1 while the circuit is Open", () =>
    Effect.gen(function* () {
      yield* play("SS")
      assert.deepStrictEqual(yield* readings, everywhere(0))
      yield* play("FFFFF")
      assert.strictEqual(yield* CircuitBreaker.state("api"), "Open")
      assert.deepStrictEqual(yield* readings, everywhere(1))
    }).pipe(Effect.provide(under(Trip.consecutive(5))))
  )

  it.live("exists if the environment sets only a threshold", () =>
    Effect.gen(function* () {
      yield* play("SFSFSFSF")
      assert.deepStrictEqual(yield* readings, everywhere(0.5))
    }).pipe(
      Effect.provide(
        read(
          BreakerPolicy.layerConfig().pipe(
            Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { CIRCUIT_BREAKER_THRESHOLD: "5" } })))
          )
        )
      )
    )
  )

  const rate = Effect.map(CircuitBreaker.inspect("api"), ({ failureRate }) => failureRate)
  const memory = (trip: Trip.Input) =>
    Layer.provideMerge(BreakerStore.layerMemory, Layer.orDie(BreakerPolicy.layer({ default: { trip } })))

  it.effect.each<readonly [what: string, trip: Trip.Input]>([
    ["no window", Trip.consecutive(5)],
    ["a window", Trip.failures({ atLeast: 5, of: 10 })]
  ])("is 1 while the circuit is HalfOpen, if its trip reads %s", ([, trip]) =>
    Effect.gen(function* () {
      yield* play("FFFFF")
      yield* TestClock.adjust("30 seconds")
      const probe = yield* CircuitBreaker.admit("api")
      assert.strictEqual(yield* CircuitBreaker.state("api"), "HalfOpen")
      assert.strictEqual(yield* rate, 1)
      assert.strictEqual((yield* BreakerHealth.check).failureRate, 1)
      yield* CircuitBreaker.settle(probe, Exit.succeed("ok"))
      assert.isUndefined(yield* rate)
    }).pipe(Effect.provide(memory(trip)))
  )

  it.effect("forgets calls after 10 seconds, if its trip reads no window", () =>
    Effect.gen(function* () {
      yield* play("FFSS")
      yield* TestClock.adjust("8 seconds")
      yield* play("SSSS")
      assert.strictEqual(yield* rate, 0.25)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* rate, 0)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* rate, undefined)
    }).pipe(Effect.provide(memory(Trip.consecutive(5))))
  )

  it.effect("starts again after a recovery: calls before the opening are not counted", () =>
    Effect.gen(function* () {
      yield* play("FFFFF")
      yield* TestClock.adjust("30 seconds")
      yield* play("S")
      assert.strictEqual(yield* rate, undefined)
      yield* play("SSSF")
      assert.strictEqual(yield* rate, 0.25)
    }).pipe(Effect.provide(memory(Trip.consecutive(5))))
  )

  it.effect("leaves the trip's windows and the eviction of idle circuits as they are", () =>
    Effect.gen(function* () {
      for (const key of ["a", "b", "c"]) yield* play("FS", { key })
      assert.deepStrictEqual((yield* CircuitBreaker.inspect("api", { key: "c" })).windows, [])
      assert.strictEqual((yield* BreakerStore.stats).evicted, 1)
    }).pipe(
      Effect.provide(
        Layer.provideMerge(
          Layer.orDie(BreakerStore.layerMemoryWith({ maxCircuits: 2 })),
          Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(5) } }))
        )
      )
    )
  )

  it.effect("of several circuits is the mean over those that have one", () =>
    Effect.gen(function* () {
      const pool = CircuitPool.make("api", { members: ["a", "b", "c"] })
      assert.strictEqual((yield* CircuitPool.health(pool)).failureRate, undefined)
      yield* play("SF", { key: "a" })
      yield* play("SSSS", { key: "b" })
      assert.strictEqual((yield* CircuitPool.health(pool)).failureRate, 0.25)
    }).pipe(Effect.provide(memory(Trip.consecutive(5))))
  )

  it.effect("is in the event of an opening, if the trip reads no window", () =>
    Effect.gen(function* () {
      const events = yield* recordEvents
      yield* play("SSSFFFFF")
      const opened = (yield* events).find((event) => event._tag === "Transition")
      assert.deepStrictEqual(opened?.counts, { calls: 8, failures: 5, slow: 0, streak: 5 })
    }).pipe(Effect.provide(memory(Trip.consecutive(5))))
  )
})

describe("the failure rate of the promise face", () => {
  const policies: Readonly<Record<string, Policy>> = {
    "the default": {},
    "failures in a row": { trip: trip.consecutive(5) },
    "stuck calls": { trip: trip.stuck({ calls: 50, olderThan: "1 minute" }) },
    "failures of a number of calls": { trip: trip.failures({ atLeast: 50, of: 100 }) }
  }

  it.each(Object.entries(policies))("is the same in metrics and in aggregateMetrics, with %s", async (_, policy) => {
    await using manager = createManager()
    const breaker = manager.register(
      "api",
      async (fails: boolean) => {
        if (fails) throw new Error("down")
      },
      policy
    )
    manager.register("unused", async () => {})
    assert.deepStrictEqual(
      [breaker.metrics.failureRate, manager.aggregateMetrics().failureRate],
      [undefined, undefined]
    )
    for (let i = 0; i < 8; i++) await breaker.execute(i % 2 === 0).catch(() => {})
    assert.deepStrictEqual([breaker.metrics.failureRate, manager.aggregateMetrics().failureRate], [0.5, 0.5])
    assert.strictEqual(manager.get("unused")?.metrics.failureRate, undefined)
  })
})
