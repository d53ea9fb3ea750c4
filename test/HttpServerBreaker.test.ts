import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Context, Deferred, Effect, type Exit, Fiber, Layer, pipe, Schedule } from "effect"
import { HttpRouter, type HttpServerRequest, HttpServerResponse } from "effect/http"
import {
  BreakerPolicy,
  BreakerStore,
  Bulkhead,
  type BulkheadFull,
  CircuitBreaker,
  type CircuitOpen,
  Outcome
} from "effect-fuse"
import { HttpServerBreaker } from "effect-fuse/http"
import { get, ok, seen, serving, state, status } from "./support/httpServing.ts"

describe("while a circuit is open", () => {
  it.live("a handler does not run, and the response is 503 with the reason and Retry-After", () => {
    let ran = 0
    const handler = Effect.suspend(() => {
      ran++
      return status(500)
    })
    return Effect.gen(function* () {
      for (let i = 0; i < 2; i++) assert.strictEqual((yield* get("/report")).status, 500)
      assert.strictEqual(yield* state("reports"), "Open")
      const answer = yield* seen("/report")
      const seconds = Number(answer.retryAfter)
      assert.isTrue(seconds >= 1 && seconds <= 20)
      assert.deepStrictEqual(answer, {
        status: 503,
        type: "application/json",
        retryAfter: String(seconds),
        cache: "no-store",
        body: { error: "circuit_open", service: "reports", tenant_id: null, retry_after: seconds }
      })
      assert.strictEqual(ran, 2)
    }).pipe(
      Effect.provide(serving(HttpRouter.add("GET", "/report", pipe(handler, HttpServerBreaker.protect("reports")))))
    )
  })

  it.live("the answer may be problem+json", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("reports", { for: "1 minute" })
      const { body, retryAfter, status, type } = yield* seen("/report", { "x-tenant-id": "acme" })
      assert.deepStrictEqual([status, type, retryAfter], [503, "application/problem+json", "60"])
      assert.deepStrictEqual(body, {
        type: "about:blank",
        title: "Service Unavailable",
        status: 503,
        error: "circuit_open",
        service: "reports",
        tenant_id: "acme",
        retry_after: 60
      })
    }).pipe(
      Effect.provide(
        serving(
          HttpRouter.add(
            "GET",
            "/report",
            pipe(ok, HttpServerBreaker.protect("reports", { respond: "problem", tenant: true }))
          )
        )
      )
    )
  )

  it.live("the response may be that of a function", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("reports")
      assert.strictEqual((yield* get("/report", { "x-tenant-id": "acme" })).status, 529)
    }).pipe(
      Effect.provide(
        serving(
          HttpRouter.add(
            "GET",
            "/report",
            pipe(
              ok,
              HttpServerBreaker.protect("reports", {
                tenant: true,
                respond: (rejection, tenant) =>
                  HttpServerResponse.empty({
                    status: tenant === "acme" && rejection._tag === "CircuitOpen" ? 529 : 500
                  })
              })
            )
          )
        )
      )
    )
  )

  it.live("without an end, the response has no Retry-After", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("reports")
      const { body, retryAfter } = yield* seen("/report")
      assert.deepStrictEqual([retryAfter, body?.["retry_after"]], [undefined, null])
    }).pipe(Effect.provide(serving(HttpRouter.add("GET", "/report", pipe(ok, HttpServerBreaker.protect("reports"))))))
  )
})

describe("a circuit whose limit is reached", () => {
  const policy = { limit: { max: 1 } }

  it.live("responds with 503 and Retry-After until a call ends", () =>
    Effect.gen(function* () {
      const permit = yield* CircuitBreaker.admit("limited", { policy })
      const { body, retryAfter, status } = yield* seen("/report")
      assert.deepStrictEqual([status, retryAfter], [503, "1"])
      assert.deepInclude(body, { error: "circuit_open", service: "limited", retry_after: 1 })
      yield* CircuitBreaker.settle(permit, Outcome.success)
      assert.strictEqual((yield* get("/report")).status, 200)
    }).pipe(
      Effect.provide(
        serving(HttpRouter.add("GET", "/report", pipe(ok, HttpServerBreaker.protect("limited", { policy }))))
      )
    )
  )
})

describe("what a handler's calls reject", () => {
  const inner = pipe(
    Effect.succeed(HttpServerResponse.text("ok")),
    CircuitBreaker.protect("db"),
    HttpServerBreaker.protect("reports")
  )

  it.live("is answered with 503 for the circuit that rejected, and is Ignored by the circuit of the handler", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("db", { for: "30 seconds" })
      for (let i = 0; i < 3; i++) {
        const { body, status } = yield* seen("/report")
        assert.strictEqual(status, 503)
        assert.deepInclude(body, { error: "circuit_open", service: "db", retry_after: 30 })
      }
      assert.strictEqual(yield* state("reports"), "Closed")
      assert.strictEqual((yield* CircuitBreaker.inspect("reports")).totals.ignored, 3)
    }).pipe(Effect.provide(serving(HttpRouter.add("GET", "/report", inner))))
  )

  it.live("a full bulkhead is answered with 503 as well", () => {
    const places = Bulkhead.makeUnsafe({ name: "cpu", concurrency: 1 })
    return Effect.gen(function* () {
      const held = yield* Deferred.make<void>()
      const busy = yield* Effect.forkChild(Bulkhead.limit(Deferred.await(held), places), { startImmediately: true })
      const { body, retryAfter, status } = yield* seen("/report")
      assert.deepStrictEqual([status, retryAfter], [503, undefined])
      assert.deepStrictEqual(body, { error: "bulkhead_full", service: "cpu", tenant_id: null, retry_after: null })
      assert.strictEqual((yield* CircuitBreaker.inspect("reports")).totals.ignored, 1)
      yield* Deferred.succeed(held, undefined)
      yield* Fiber.join(busy)
    }).pipe(
      Effect.provide(
        serving(
          HttpRouter.add("GET", "/report", pipe(ok, Bulkhead.limit(places), HttpServerBreaker.protect("reports")))
        )
      )
    )
  })
})

class Db extends Context.Service<Db, number>()("Db") {}
describe("where it stands", () => {
  const failing = HttpRouter.add("GET", "/fails/:id", status(500))
  const fine = HttpRouter.add("GET", "/fine", ok)

  it.live("around routes: those that it is provided to, with a circuit for each if asked", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 3; i++) yield* get(`/fails/${i}`)
      assert.strictEqual(yield* state("routes", "/fails/:id"), "Open")
      assert.strictEqual((yield* get("/fails/9")).status, 503)
      assert.strictEqual((yield* get("/fine")).status, 200)
      assert.strictEqual((yield* get("/out")).status, 200)
      assert.deepStrictEqual(
        (yield* CircuitBreaker.list).map(({ key }) => key),
        ["/fails/:id", "/fine"]
      )
    }).pipe(
      Effect.provide(
        serving(
          Layer.merge(
            Layer.merge(failing, fine).pipe(
              Layer.provide(HttpServerBreaker.middleware("routes", { key: (_, route) => route }).layer)
            ),
            HttpRouter.add("GET", "/out", ok)
          )
        )
      )
    )
  )

  it.live("beside all routes, as a layer: one circuit", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 2; i++) yield* get(`/fails/${i}`)
      assert.strictEqual((yield* get("/fine")).status, 503)
    }).pipe(Effect.provide(serving(Layer.mergeAll(failing, fine, HttpServerBreaker.layer("app")))))
  )

  it.live("as middleware of all routes, with a circuit chosen by the request", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 2; i++) yield* get(`/fails/${i}`)
      assert.strictEqual(yield* state("app", "GET"), "Open")
      assert.strictEqual(yield* state("app"), "Closed")
    }).pipe(
      Effect.provide(
        serving(Layer.mergeAll(failing, fine, HttpServerBreaker.layer("app", { key: ({ method }) => method })))
      )
    )
  )

  it.live("around both: the circuit of the application ignores a route whose circuit is open", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("one")
      yield* CircuitBreaker.isolate("other")
      for (const path of ["/one", "/other", "/one", "/other"]) assert.isAtLeast((yield* get(path)).status, 503)
      const { state, totals } = yield* CircuitBreaker.inspect("app")
      assert.deepStrictEqual([state, totals.ignored], ["Closed", 4])
    }).pipe(
      Effect.provide(
        serving(
          Layer.mergeAll(
            HttpRouter.add("GET", "/one", pipe(ok, HttpServerBreaker.protect("one"))),
            HttpRouter.add("GET", "/other", ok).pipe(
              Layer.provide(
                HttpServerBreaker.middleware("other", { respond: () => HttpServerResponse.empty({ status: 529 }) })
                  .layer
              )
            ),
            HttpServerBreaker.layer("app")
          )
        )
      )
    )
  )

  for (const [what, app, answered] of [
    ["a handler", HttpRouter.add("GET", "/hang", pipe(Effect.never, HttpServerBreaker.protect("app"))), true],
    [
      "a route",
      HttpRouter.add("GET", "/hang", Effect.never).pipe(Layer.provide(HttpServerBreaker.middleware("app").layer)),
      true
    ],
    ["all routes", Layer.merge(HttpRouter.add("GET", "/hang", Effect.never), HttpServerBreaker.layer("app")), false]
  ] as const) {
    it.live(`a probe that hangs fails when its time is over: around ${what}`, () =>
      Effect.gen(function* () {
        yield* CircuitBreaker.open("app", { for: "10 millis" })
        yield* Effect.sleep("30 millis")
        const probe = yield* Effect.forkChild(get("/hang"))
        const why = Effect.map(CircuitBreaker.inspect("app"), ({ cause, state }) => [state, cause?.why])
        yield* Effect.retry(
          Effect.filterOrFail(why, ([state, why]) => state === "Open" && why === "ProbeTimedOut"),
          { times: 500, schedule: Schedule.spaced("10 millis") }
        )
        if (answered) assert.strictEqual((yield* Fiber.join(probe)).status, 503)
        else yield* Fiber.interrupt(probe)
      }).pipe(
        Effect.provide(
          serving(
            app as never,
            Layer.merge(
              BreakerStore.layerMemory,
              Layer.orDie(BreakerPolicy.layer({ default: { probeTimeout: "100 millis" } }))
            )
          )
        )
      )
    )
  }

  it("adds to the types of a handler what it needs, and takes what it answers", () => {
    const handler: Effect.Effect<
      HttpServerResponse.HttpServerResponse,
      "no" | CircuitOpen.CircuitOpen | BulkheadFull.BulkheadFull,
      Db
    > = Effect.die("")
    expectTypeOf(pipe(handler, HttpServerBreaker.protect("a"))).toEqualTypeOf<
      Effect.Effect<
        HttpServerResponse.HttpServerResponse,
        "no",
        Db | BreakerStore.BreakerStore | HttpServerRequest.HttpServerRequest
      >
    >()
  })

  it("takes options that were written elsewhere, and keeps the errors of a handler", () => {
    const shared: HttpServerBreaker.Options<unknown> = { tenant: { required: true } }
    const failing: Effect.Effect<HttpServerResponse.HttpServerResponse, "no"> = Effect.fail("no")
    type App = Effect.Effect<
      HttpServerResponse.HttpServerResponse,
      "no",
      BreakerStore.BreakerStore | HttpServerRequest.HttpServerRequest
    >
    expectTypeOf(pipe(failing, HttpServerBreaker.protect("a", shared))).toEqualTypeOf<App>()
    expectTypeOf(
      pipe(failing, HttpServerBreaker.protect("a", { classify: HttpServerBreaker.classify }))
    ).toEqualTypeOf<App>()
    // @ts-expect-error A classifier of other errors.
    pipe(failing, HttpServerBreaker.protect("a", { classify: (_: Exit.Exit<unknown, "other">) => Outcome.success }))
  })

  it("names the options that are wrong", () => {
    const protect = HttpServerBreaker.protect as (name: unknown, options?: unknown) => unknown
    assert.throws(() => protect(""), /HttpServerBreaker.protect: name: expected a text/)
    assert.throws(() => protect("a", { key: 1 }), /key: expected a text/)
    assert.throws(() => protect("a", { tennant: false }), /HttpServerBreaker.protect: tennant: unknown field/)
    assert.throws(() => protect("a", null), /HttpServerBreaker.protect: expected an object/)
    assert.throws(() => HttpServerBreaker.layer("a", { tennant: 1 } as never), /HttpServerBreaker.layer: tennant/)
    assert.throws(() => protect("a", { classify: 1 }), /classify: expected a function/)
    assert.throws(
      () => protect("a", { respond: "xml" }),
      /respond: expected "json", "problem" or a function, got "xml"/
    )
    assert.throws(() => protect("a", { policy: { cooldown: "soon" } }), /cooldown/)
    assert.throws(() => protect("a", { tenant: { header: "a b" } }), /tenant.header: expected the name of a header/)
    assert.throws(
      () => protect("a", { tenant: { maxLength: 257 } }),
      /tenant.maxLength: expected a whole number from 1 to 256/
    )
    assert.throws(() => protect("a", { tenant: { maxLength: 0 } }), /tenant.maxLength/)
    assert.throws(() => protect("a", { tenant: { pattern: "x" } }), /tenant.pattern: expected a regular expression/)
    assert.throws(() => protect("a", { tenant: { length: 1 } }), /tenant.length: unknown field/)
    assert.throws(() => protect("a", { tenant: "x-tenant-id" }), /tenant: expected an object/)
    assert.throws(() => protect("a", { retryAfter: "date" }), /retryAfter: expected "seconds" or "iso", got "date"/)
    assert.throws(() => protect("a", { exempt: ["/a"] }), /HttpServerBreaker.protect: exempt: unknown field/)
    for (const exempt of ["/a", ["a"], [7]]) {
      assert.throws(() => HttpServerBreaker.layer("a", { exempt } as never), /HttpServerBreaker.layer: exempt/)
    }
  })
})
