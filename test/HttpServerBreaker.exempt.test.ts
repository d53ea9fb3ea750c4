import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Logger, pipe } from "effect"
import { HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { BreakerPolicy, BreakerStore, BulkheadFull, CircuitBreaker, CircuitOpen, Trip } from "effect-fuse"
import { BreakerRoutes, HttpServerBreaker } from "effect-fuse/http"

const services = Layer.mergeAll(
  BreakerStore.layerMemory,
  Logger.layer([]),
  Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "1 minute" } }))
)

// biome-ignore lint/suspicious/noExplicitAny: what each route needs is provided below
type Routes = Layer.Layer<never, never, any>

/** What a router answers, without a socket. */
const answering = (routes: Routes) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        HttpRouter.toWebHandler(
          routes.pipe(Layer.provideMerge(services), Layer.provide(HttpServer.layerServices)) as never,
          { disableLogger: true }
        )
      ),
      ({ dispose }) => Effect.promise(() => dispose())
    ),
    ({ handler }) =>
      (path: string, init: RequestInit = {}) =>
        Effect.promise(
          async () => (await handler(new Request(`http://a.test${path}`, init), undefined as never)).status
        )
  )

const post = { method: "POST" }
const act = (path: `/${string}`, action: Effect.Effect<unknown, never, BreakerStore.BreakerStore>) =>
  HttpRouter.add("POST", path, Effect.as(action, HttpServerResponse.empty()))
const fails = HttpRouter.add("GET", "/fails", HttpServerResponse.empty({ status: 500 }))
const hello = HttpRouter.add("GET", "/hello", HttpServerResponse.text("hello"))
const actions = Layer.mergeAll(
  act("/open/db", CircuitBreaker.open("db")),
  act("/open/api", CircuitBreaker.open("api")),
  act("/isolate/api", CircuitBreaker.isolate("api"))
)
const calls = HttpRouter.add(
  "GET",
  "/calls",
  Effect.map(CircuitBreaker.inspect("api"), ({ totals }) => HttpServerResponse.empty({ status: 200 + totals.calls }))
)

describe("health, breaker and metrics routes", () => {
  const app = Layer.mergeAll(
    HttpServerBreaker.layer("api"),
    BreakerRoutes.layer({ critical: ["db"] }),
    PrometheusMetrics.layerHttp(),
    actions,
    fails,
    hello
  )

  it.effect("are never counted: the 503 of /health does not open the circuit of the application", () =>
    Effect.gen(function* () {
      const get = yield* answering(app)
      yield* get("/open/db", post)
      for (let i = 0; i < 6; i++) assert.strictEqual(yield* get("/health"), 503)
      assert.deepStrictEqual([yield* get("/hello"), yield* get("/breakers"), yield* get("/metrics")], [200, 200, 200])
    }).pipe(Effect.scoped)
  )

  for (const how of ["/open/api", "/isolate/api"]) {
    it.effect(`answer while the circuit is under ${how}`, () =>
      Effect.gen(function* () {
        const get = yield* answering(app)
        yield* get(how, post)
        assert.strictEqual(yield* get("/hello"), 503)
        for (const path of ["/health", "/health/", "/health?full=1", "/breakers", "/metrics"]) {
          assert.oneOf(yield* get(path), [200, 404], path)
        }
        assert.strictEqual(yield* get("/health"), 200)
      }).pipe(Effect.scoped)
    )
  }

  it.effect("are asked for no tenant", () =>
    Effect.gen(function* () {
      const required = HttpServerBreaker.layer("api", { tenant: { required: true } })
      const get = yield* answering(Layer.mergeAll(required, BreakerRoutes.layer(), hello))
      assert.deepStrictEqual([yield* get("/hello"), yield* get("/health")], [400, 200])
    }).pipe(Effect.scoped)
  )

  it.effect("may be called as they like: the paths of BreakerRoutes are known", () =>
    Effect.gen(function* () {
      const routes = BreakerRoutes.layer({ critical: ["db"], health: "/_status", breakers: "/_circuits" })
      const get = yield* answering(Layer.mergeAll(HttpServerBreaker.layer("api"), routes, actions, hello))
      yield* get("/open/db", post)
      for (let i = 0; i < 6; i++) assert.strictEqual(yield* get("/_status"), 503)
      assert.strictEqual(yield* get("/hello"), 200)
      yield* get("/isolate/api", post)
      assert.deepStrictEqual([yield* get("/hello"), yield* get("/_status"), yield* get("/_circuits")], [503, 503, 200])
    }).pipe(Effect.scoped)
  )

  for (const nested of [false, true]) {
    it.effect(`are exempt under ${nested ? "two prefixes" : "a prefix"} from their first request on`, () =>
      Effect.gen(function* () {
        const under = HttpRouter.HttpRouter.use((router) => {
          const prefixed = nested ? router.prefixed("/all").prefixed("/internal/") : router.prefixed("/internal")
          return Effect.succeed(Layer.succeed(HttpRouter.HttpRouter, prefixed))
        })
        const path = `${nested ? "/all" : ""}/internal/_status`
        const routes = Layer.provide(BreakerRoutes.layer({ health: "/_status" }), Layer.unwrap(under))
        const get = yield* answering(Layer.mergeAll(HttpServerBreaker.layer("api"), routes, actions, hello))
        yield* get("/isolate/api", post)
        assert.deepStrictEqual([yield* get("/hello"), yield* get(path), yield* get("/_status")], [503, 200, 503])
      }).pipe(Effect.scoped)
    )
  }

  it.effect("may have a prefix: they count nothing", () =>
    Effect.gen(function* () {
      const under = HttpRouter.HttpRouter.use((router) =>
        Effect.sync(() => Layer.succeed(HttpRouter.HttpRouter, router.prefixed("/internal")))
      )
      const routes = Layer.provide(BreakerRoutes.layer({ critical: ["db"], health: "/_status" }), Layer.unwrap(under))
      const get = yield* answering(Layer.mergeAll(HttpServerBreaker.layer("api"), routes, actions, hello))
      yield* get("/open/db", post)
      for (let i = 0; i < 6; i++) assert.strictEqual(yield* get("/internal/_status"), 503)
      assert.strictEqual(yield* get("/hello"), 200)
      yield* get("/isolate/api", post)
      assert.deepStrictEqual([yield* get("/hello"), yield* get("/internal/_status")], [503, 503])
    }).pipe(Effect.scoped)
  )

  it.effect("stay outside of a middleware that is provided to them", () =>
    Effect.gen(function* () {
      const routes = Layer.mergeAll(BreakerRoutes.layer({ critical: ["db"] }), hello).pipe(
        Layer.provide(HttpServerBreaker.middleware("api").layer)
      )
      const get = yield* answering(Layer.mergeAll(routes, actions))
      yield* get("/open/db", post)
      for (let i = 0; i < 6; i++) assert.strictEqual(yield* get("/health"), 503)
      assert.strictEqual(yield* get("/hello"), 200)
      yield* get("/isolate/api", post)
      assert.deepStrictEqual([yield* get("/hello"), yield* get("/health")], [503, 503])
      assert.strictEqual(yield* get("/breakers"), 200)
    }).pipe(Effect.scoped)
  )

  it.effect("count nothing inside protect, which is around them by intent", () =>
    Effect.gen(function* () {
      const get = yield* answering(Layer.mergeAll(HttpServerBreaker.layer("api"), calls, hello, BreakerRoutes.layer()))
      yield* get("/health")
      assert.strictEqual(yield* get("/calls"), 201)
    }).pipe(Effect.scoped)
  )
})

describe("paths that are exempt by the option", () => {
  const app = (exempt: ReadonlyArray<string>) =>
    Layer.mergeAll(
      HttpServerBreaker.layer("api", { exempt }),
      actions,
      hello,
      HttpRouter.add("GET", "/status", HttpServerResponse.empty({ status: 500 })),
      HttpRouter.add("GET", "/internal/a/b", HttpServerResponse.empty()),
      HttpRouter.add("GET", "/internals", HttpServerResponse.empty())
    )

  it.effect("are neither counted nor rejected, and nothing else is exempt", () =>
    Effect.gen(function* () {
      const get = yield* answering(app(["/status", "/internal/*"]))
      for (let i = 0; i < 4; i++) assert.strictEqual(yield* get("/status"), 500)
      assert.strictEqual(yield* get("/hello"), 200)
      yield* get("/isolate/api", post)
      for (const [path, status] of [
        ["/status", 500],
        ["/status/", 500],
        ["/status?x=1", 500],
        ["/internal/a/b", 204],
        ["/internals", 503],
        ["/hello?x=/status", 503],
        ["/hello#/status", 503],
        ["/STATUS", 503]
      ] as const) {
        assert.oneOf(yield* get(path), path.endsWith("/") ? [500, 404] : [status], path)
      }
    }).pipe(Effect.scoped)
  )
})

describe("the answer to a rejection", () => {
  const rejected = CircuitOpen.make({
    circuit: "db",
    state: "Open",
    reason: "Cooldown",
    retryAfter: Duration.seconds(30),
    openings: 1
  })
  const full = BulkheadFull.make({ bulkhead: "cpu", concurrency: 1, queue: 0 })
  const answered = (error: CircuitOpen.CircuitOpen | BulkheadFull.BulkheadFull, options: object) =>
    Effect.acquireRelease(
      Effect.sync(() =>
        HttpRouter.toWebHandler(
          HttpRouter.add("GET", "/", pipe(Effect.fail(error), HttpServerBreaker.protect("api", options))).pipe(
            Layer.provideMerge(services),
            Layer.provide(HttpServer.layerServices)
          ) as never,
          { disableLogger: true }
        )
      ),
      ({ dispose }) => Effect.promise(() => dispose())
    ).pipe(
      Effect.flatMap(({ handler }) =>
        Effect.promise(() => handler(new Request("http://a.test/"), undefined as never) as Promise<Response>)
      )
    )
  const headers = (response: Response) => [response.headers.get("retry-after"), response.headers.get("cache-control")]
  const own = (response: HttpServerResponse.HttpServerResponse) => ({ respond: () => response })

  it.effect("has Retry-After and Cache-Control, also with a response of its own", () =>
    Effect.gen(function* () {
      const plain = HttpServerResponse.jsonUnsafe({ error: "down" }, { status: 503 })
      assert.deepStrictEqual(headers(yield* answered(rejected, own(plain))), ["30", "no-store"])
      assert.deepStrictEqual(headers(yield* answered(full, own(plain))), [null, "no-store"])
      const stale = HttpServerResponse.jsonUnsafe({ items: [] })
      assert.deepStrictEqual(headers(yield* answered(rejected, own(stale))), [null, "no-store"])
      const ownHeaders = HttpServerResponse.empty({
        status: 503,
        headers: { "Retry-After": "5", "Cache-Control": "max-age=1" }
      })
      assert.deepStrictEqual(headers(yield* answered(rejected, own(ownHeaders))), ["5", "max-age=1"])
    }).pipe(Effect.scoped)
  )

  for (const respond of ["json", "problem"] as const) {
    it.effect(`as ${respond} has retry_after as a time with retryAfter: iso`, () =>
      Effect.gen(function* () {
        const before = Date.now()
        const response = yield* answered(rejected, { respond, retryAfter: "iso" })
        const body = (yield* Effect.promise(() => response.json())) as { readonly retry_after: string }
        assert.match(body.retry_after, /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/)
        const at = Date.parse(body.retry_after)
        assert.isTrue(at >= before + 30_000 && at <= Date.now() + 30_000, body.retry_after)
        assert.deepStrictEqual(headers(response), ["30", "no-store"])
        const never = (yield* Effect.promise(async () =>
          (await Effect.runPromise(Effect.scoped(answered(full, { respond, retryAfter: "iso" })))).json()
        )) as { readonly retry_after: unknown }
        assert.isNull(never.retry_after)
      }).pipe(Effect.scoped)
    )
  }

  it("of toResponse is a time from now on, as far as that can be written", () => {
    const now = Date.parse("2026-01-31T12:00:00Z")
    const body = (open: CircuitOpen.CircuitOpen) =>
      JSON.parse(
        new TextDecoder().decode(
          (
            HttpServerBreaker.toResponse(open, { retryAfter: "iso", now }).body as unknown as {
              readonly body: Uint8Array
            }
          ).body
        )
      ).retry_after
    assert.strictEqual(body(rejected), "2026-01-31T12:00:30.000Z")
    const with_ = (retryAfter: Duration.Duration) => CircuitOpen.make({ ...rejected, retryAfter })
    assert.strictEqual(body(with_(Duration.infinity)), null)
    assert.strictEqual(body(with_(Duration.millis(1))), "2026-01-31T12:00:01.000Z")
    assert.match(body(with_(Duration.days(1e9))), /^20\d\d-/)
  })
})
