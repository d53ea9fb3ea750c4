import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { type Context, Effect, Layer } from "effect"
import { HttpClient, HttpRouter } from "effect/http"
import { BreakerHealth, BreakerPolicy, BreakerStore, CircuitBreaker, MemoryStore, Trip } from "effect-fuse"
import { BreakerRoutes } from "effect-fuse/http"
import { fail, play, scenario, succeed, times } from "./support/verbs.ts"

const quick: BreakerPolicy.Input = { trip: Trip.failures({ atLeast: 3, of: 10 }), cooldown: "1 minute" }

describe("the health of all circuits", () => {
  scenario("is empty without circuits", quick, function* () {
    assert.deepStrictEqual(yield* BreakerHealth.check, {
      healthy: 0,
      unhealthy: 0,
      total: 0,
      unknown: [],
      failureRate: undefined,
      circuits: []
    })
  })

  scenario("counts the circuits that let calls through, and has their mean failure rate", quick, function* () {
    yield* play("SF")
    yield* succeed({ name: "other" })
    yield* CircuitBreaker.isolate("gone")
    yield* CircuitBreaker.disable("off")
    yield* times(3, fail({ name: "down", key: "a" }))
    const { circuits, failureRate, healthy, total } = yield* BreakerHealth.check
    assert.deepStrictEqual([healthy, total, failureRate], [3, 5, 0.5])
    assert.strictEqual(circuits.length, 5)
  })

  scenario("of some names contains each of them once, with all keys, and lists the unknown names", quick, function* () {
    const asked = ["down", "other", "never called", "other", "also never called"]
    const before = yield* BreakerHealth.checkOnly(asked)
    assert.deepStrictEqual(before.unknown, ["down", "other", "never called", "also never called"])
    assert.deepStrictEqual([before.healthy, before.unhealthy, before.total], [0, 0, 4])
    assert.strictEqual(before.failureRate, undefined)
    for (const key of ["a", "b"]) yield* times(3, fail({ name: "down", key }))
    yield* succeed({ name: "other" })
    yield* succeed({ name: "not asked for" })
    const some = yield* BreakerHealth.checkOnly(asked)
    assert.deepStrictEqual(some.unknown, ["never called", "also never called"])
    assert.deepStrictEqual([some.healthy, some.unhealthy, some.total], [1, 2, 5])
    assert.deepStrictEqual(
      some.circuits.map(({ circuit, key }) => [circuit, key]),
      [
        ["down", "a"],
        ["down", "b"],
        ["other", undefined]
      ]
    )
  })

  it("of some names needs a list of names", () => {
    const checkOnly = BreakerHealth.checkOnly as (names: unknown) => unknown
    for (const wrong of ["api", undefined, [1], ["api", ""]]) {
      assert.throws(() => checkOnly(wrong), RangeError, /BreakerHealth.checkOnly: names/)
    }
  })

  scenario(
    "counts a circuit with an open dependency as unhealthy",
    {
      breakers: { api: { dependsOn: ["database"] } }
    },
    function* () {
      yield* succeed()
      yield* CircuitBreaker.isolate("database")
      const { healthy, total } = yield* BreakerHealth.check
      assert.deepStrictEqual([healthy, total], [0, 2])
    }
  )
})

const serving = (
  options?: BreakerRoutes.Options,
  policy: BreakerPolicy.Input = quick,
  store: Layer.Layer<BreakerStore.BreakerStore> = BreakerStore.layerMemory
) =>
  HttpRouter.serve(BreakerRoutes.layer(options), { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layerTest),
    Layer.provideMerge(store),
    Layer.provideMerge(Layer.orDie(BreakerPolicy.layer({ default: policy })))
  )

const get = (path: string) =>
  Effect.gen(function* () {
    const response = yield* (yield* HttpClient.HttpClient).get(path)
    return { status: response.status, cache: response.headers["cache-control"], body: (yield* response.json) as never }
  })

const isTime = (value: unknown) => typeof value === "string" && !Number.isNaN(Date.parse(value))

describe("over HTTP", () => {
  it.live("/health responds with 200 and up, or 200 and degraded with the names of the unhealthy circuits", () =>
    Effect.gen(function* () {
      yield* succeed()
      assert.deepStrictEqual(yield* get("/health"), {
        status: 200,
        cache: "no-store",
        body: { status: "up", healthy: 1, total: 1, failure_rate: 0, unhealthy: [], unknown: [] } as never
      })
      yield* CircuitBreaker.isolate("mail", { reason: "migration" })
      yield* times(3, fail({ key: "acme" }))
      const { body, status } = yield* get("/health")
      const { unhealthy, ...rest } = body as { readonly unhealthy: ReadonlyArray<Record<string, unknown>> }
      assert.strictEqual(status, 200)
      assert.deepInclude(rest, { status: "degraded", healthy: 1, total: 3 })
      assert.deepStrictEqual(
        unhealthy.map(({ down_since, retry_after_ms, since, ...one }) => {
          assert.isTrue(isTime(since))
          assert.strictEqual(down_since, one["name"] === "api" ? since : null)
          return { ...one, waits: retry_after_ms === null ? "for ever" : Number(retry_after_ms) > 50_000 }
        }),
        [
          {
            name: "mail",
            circuits: 1,
            state: "Isolated",
            scope: "local",
            outage_openings: 0,
            detail: "migration",
            waits: "for ever"
          },
          {
            name: "api",
            circuits: 1,
            state: "Open",
            scope: "local",
            outage_openings: 1,
            detail: "3 failures in the last 10 calls (limit 3)",
            waits: true
          }
        ].reverse()
      )
      assert.notInclude(JSON.stringify(body), "acme")
    }).pipe(Effect.provide(serving()))
  )

  it.live("/health is down, and 503, while a critical circuit is not healthy", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("mail")
      const before = yield* get("/health")
      assert.strictEqual(before.status, 200)
      assert.deepInclude(before.body, { status: "degraded", unknown: ["database"] })
      yield* CircuitBreaker.isolate("database")
      const { body, status } = yield* get("/health")
      assert.deepStrictEqual([status, (body as { status: string }).status], [503, "down"])
    }).pipe(Effect.provide(serving({ critical: ["database"] })))
  )

  it.live("/breakers has the counts of each name, with its keys together", () =>
    Effect.gen(function* () {
      yield* play("SSF", { key: "a" })
      yield* play("S", { key: "b" })
      yield* play("S", { name: "other" })
      const body = (yield* get("/breakers")).body as ReadonlyArray<Record<string, unknown>>
      assert.deepStrictEqual(
        body.map(({ calls, circuits, failures, healthy, name, state }) => [
          name,
          circuits,
          state,
          healthy,
          calls,
          failures
        ]),
        [
          ["api", 2, "Closed", true, 4, 1],
          ["other", 1, "Closed", true, 1, 0]
        ]
      )
      assert.deepInclude(body[1], {
        since: null,
        down_since: null,
        outage_openings: 0,
        retry_after_ms: 0,
        detail: null,
        rejected: 0,
        in_flight: 0,
        openings: 0
      })
    }).pipe(Effect.provide(serving()))
  )

  it.live("keys are listed with keys: true, at the configured paths", () =>
    Effect.gen(function* () {
      yield* succeed({ key: "a" })
      yield* succeed({ key: "b" })
      const body = (yield* get("/status/all")).body as ReadonlyArray<Record<string, unknown>>
      assert.deepStrictEqual(
        body.map(({ key, name }) => [name, key]),
        [
          ["api", "a"],
          ["api", "b"]
        ]
      )
      assert.strictEqual((yield* get("/status")).status, 200)
      assert.strictEqual((yield* get("/breakers")).status, 404)
    }).pipe(Effect.provide(serving({ keys: true, health: "/status", breakers: "/status/all" })))
  )

  it.live("an outage has the same start at every read, and one more opening for each failed probe", () =>
    Effect.gen(function* () {
      yield* succeed({ key: "b" })
      yield* times(3, fail({ key: "a" }))
      const { outage } = yield* CircuitBreaker.inspect("api", { key: "a" })
      const downSince = new Date(outage?.since ?? 0).toISOString()
      const openings = Effect.map(CircuitBreaker.inspect("api", { key: "a" }), ({ outage }) => outage?.openings ?? 0)
      while ((yield* openings) < 3) {
        yield* fail({ key: "a" })
        yield* Effect.sleep(1)
      }
      // Another key goes down later. The row is about the key with the longest outage.
      yield* times(3, fail({ key: "b" }))
      for (let i = 0; i < 3; i++) {
        yield* Effect.sleep(2)
        const { unhealthy } = (yield* get("/health")).body as { readonly unhealthy: ReadonlyArray<unknown> }
        const all = (yield* get("/breakers")).body as ReadonlyArray<unknown>
        for (const [entry] of [unhealthy, all]) {
          assert.deepInclude(entry, { name: "api", circuits: 2, down_since: downSince, outage_openings: 3 })
        }
      }
    }).pipe(Effect.provide(serving({}, { trip: Trip.consecutive(3), cooldown: "5 millis", probeTimeout: "1 minute" })))
  )

  it.live("the fields of an outage are the same at every read in every process that shares a store", () =>
    Effect.gen(function* () {
      const store = yield* MemoryStore.make
      const process = Effect.map(
        Layer.build(Layer.fresh(serving({}, quick, Layer.orDie(BreakerStore.layerShared(store))))),
        (context) =>
          <A, E, R>(self: Effect.Effect<A, E, R>) =>
            Effect.provideContext(self, context as Context.Context<R>)
      )
      const first = yield* process
      yield* first(times(3, fail()))
      while ((yield* first(CircuitBreaker.scope("api"))) !== "fleet") yield* Effect.sleep(5)
      const second = yield* process
      const seen = new Set<string>()
      for (const one of [first, second, first, second]) {
        const [api] = (yield* one(get("/breakers"))).body as ReadonlyArray<Record<string, unknown>>
        assert.strictEqual(api?.["state"], "Open")
        seen.add(`since ${api?.["since"]}, down since ${api?.["down_since"]}`)
        yield* Effect.sleep(7)
      }
      assert.strictEqual(seen.size, 1, [...seen].join("; "))
    })
  )

  it("names the option that is wrong", () => {
    const layer = BreakerRoutes.layer as (options: unknown) => unknown
    assert.throws(() => layer({ health: "health" }), /BreakerRoutes.layer: health: expected a path/)
    assert.throws(() => layer({ critical: [""] }), /critical/)
    assert.throws(() => layer({ keys: "yes" }), /keys/)
    assert.throws(() => layer({ ready: "/ready" }), /ready: unknown field/)
  })

  for (const keys of [true, false]) {
    it.effect(`/health ${keys ? "lists" : "does not list"} keys with { keys: ${keys} }`, () =>
      Effect.gen(function* () {
        yield* fail({ key: "k" })
        const store = yield* BreakerStore.BreakerStore
        const routes = Layer.provide(BreakerRoutes.layer({ keys }), Layer.succeed(BreakerStore.BreakerStore, store))
        const { dispose, handler } = HttpRouter.toWebHandler(routes, { disableLogger: true })
        const body = yield* Effect.promise(async () => (await handler(new Request("http://a.test/health"))).json())
        yield* Effect.promise(dispose)
        assert.deepStrictEqual(
          body.unhealthy.map((one: { key?: string; circuits?: number }) => [one.key, one.circuits]),
          [keys ? ["k", undefined] : [undefined, 1]]
        )
      }).pipe(
        Effect.provide(BreakerStore.layerMemory),
        Effect.provide(BreakerPolicy.layer({ default: { trip: Trip.consecutive(1) } }))
      )
    )
  }
})
