import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Cause, Context, Deferred, Duration, Effect, Exit, Fiber, Layer, pipe, Schedule } from "effect"
import {
  HttpClient,
  HttpClientRequest,
  HttpRouter,
  HttpServerError,
  HttpServerRequest,
  HttpServerRespondable,
  HttpServerResponse
} from "effect/http"
import {
  BreakerPolicy,
  BreakerStore,
  Bulkhead,
  BulkheadFull,
  CircuitBreaker,
  CircuitOpen,
  Outcome,
  Tenant,
  Trip
} from "effect-fuse"
import { HttpServerBreaker } from "effect-fuse/http"

const policies = Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "20 seconds" } }))
const services = Layer.merge(BreakerStore.layerMemory, policies)

const ok = Effect.succeed(HttpServerResponse.text("ok"))
const status = (status: number, headers: Record<string, string> = {}) =>
  Effect.succeed(HttpServerResponse.empty({ status, headers }))

/** What these routes answer to a client, over a socket. */
const serving = <A, E, R>(routes: Layer.Layer<A, E, R>, under: Layer.Layer<BreakerStore.BreakerStore> = services) =>
  HttpRouter.serve(routes as Layer.Layer<A, E, HttpRouter.HttpRouter>, {
    disableLogger: true,
    disableListenLog: true
  }).pipe(Layer.provideMerge(NodeHttpServer.layerTest), Layer.provideMerge(under)) as Layer.Layer<
    HttpClient.HttpClient | BreakerStore.BreakerStore
  >

const get = (path: string, headers: Record<string, string> = {}) =>
  Effect.flatMap(HttpClient.HttpClient, (client) => client.execute(HttpClientRequest.get(path, { headers })))

/** The status, the headers that matter and the body of a response. */
const seen = (path: string, headers: Record<string, string> = {}) =>
  Effect.flatMap(get(path, headers), (response) =>
    Effect.map(response.text, (body) => ({
      status: response.status,
      type: response.headers["content-type"],
      retryAfter: response.headers["retry-after"],
      cache: response.headers["cache-control"],
      body: body === "" ? undefined : (JSON.parse(body) as Record<string, unknown>)
    }))
  )

const state = (name: string, key?: string) => CircuitBreaker.state(name, { key })

describe("while a circuit is open", () => {
  it.live("a handler does not run, and the answer says 503, why, and when to come back", () => {
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

  it.live("the answer may be what a function says", () =>
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

  it.live("without an end nobody is told when to come back", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("reports")
      const { body, retryAfter } = yield* seen("/report")
      assert.deepStrictEqual([retryAfter, body?.["retry_after"]], [undefined, null])
    }).pipe(Effect.provide(serving(HttpRouter.add("GET", "/report", pipe(ok, HttpServerBreaker.protect("reports"))))))
  )
})

describe("what a handler's calls reject", () => {
  const inner = pipe(
    Effect.succeed(HttpServerResponse.text("ok")),
    CircuitBreaker.protect("db"),
    HttpServerBreaker.protect("reports")
  )

  it.live("is answered with 503 of the circuit that rejected, and says nothing of the handler", () =>
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
class Teapot extends Error {
  readonly _tag = "Teapot";
  [HttpServerRespondable.symbol]() {
    return Effect.succeed(HttpServerResponse.empty({ status: 418 }))
  }
}
class Overloaded extends Error {
  readonly _tag = "Overloaded";
  [HttpServerRespondable.symbol]() {
    return Effect.succeed(HttpServerResponse.empty({ status: 503, headers: { "retry-after": "7" } }))
  }
}

describe("the end of a handler", () => {
  const rejected = CircuitOpen.make({
    circuit: "db",
    state: "Open",
    reason: "Cooldown",
    retryAfter: Duration.seconds(1),
    openings: 1
  })
  const cases: ReadonlyArray<
    readonly [what: string, exit: Exit.Exit<HttpServerResponse.HttpServerResponse, unknown>, says: string]
  > = [
    ...[200, 204, 301, 400, 401, 404, 408, 418, 429].map(
      (status) => [`status ${status}`, Exit.succeed(HttpServerResponse.empty({ status })), "Success"] as const
    ),
    ...[500, 501, 502, 503, 504, 599].map(
      (status) => [`status ${status}`, Exit.succeed(HttpServerResponse.empty({ status })), "Failure"] as const
    ),
    ["a plain error", Exit.fail("boom"), "Failure"],
    ["a defect", Exit.die(new Error("boom")), "Failure"],
    ["a defect that is a response", Exit.die(HttpServerResponse.empty({ status: 404 })), "Success"],
    ["an error that answers 418", Exit.fail(new Teapot()), "Success"],
    ["an error that answers 503", Exit.fail(new Overloaded()), "Failure"],
    ["an interruption", Exit.interrupt(1), "Ignored"],
    ["a client that closed its request", Exit.succeed(HttpServerResponse.empty({ status: 499 })), "Ignored"],
    ["the answer to a rejection", Exit.succeed(HttpServerBreaker.toResponse(rejected)), "Ignored"],
    ["an open circuit", Exit.fail(rejected), "Ignored"],
    ["a full bulkhead", Exit.fail(BulkheadFull.make({ bulkhead: "b", concurrency: 1, queue: 0 })), "Ignored"],
    ["an open circuit beside a defect", Exit.failCause(Cause.combine(Cause.fail(rejected), Cause.die("x"))), "Failure"]
  ]
  it.effect.each(cases)("%s", ([, exit, says]) => {
    const outcome = HttpServerBreaker.classify(exit)
    return Effect.map(Effect.isEffect(outcome) ? outcome : Effect.succeed(outcome), ({ _tag }) =>
      assert.strictEqual(_tag, says)
    )
  })

  it.live("of a route that is not there is an answer, and of a body that cannot be read", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 3; i++) assert.strictEqual((yield* get("/nowhere")).status, 404)
      for (let i = 0; i < 3; i++) assert.strictEqual((yield* get("/json")).status, 400)
      const { state, totals } = yield* CircuitBreaker.inspect("app")
      assert.deepStrictEqual([state, totals.successes, totals.failures], ["Closed", 6, 0])
    }).pipe(
      Effect.provide(
        serving(
          Layer.mergeAll(
            HttpRouter.add(
              "GET",
              "/json",
              Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
                Effect.fail(
                  new HttpServerError.HttpServerError({ reason: new HttpServerError.RequestParseError({ request }) })
                )
              )
            ),
            HttpServerBreaker.layer("app")
          )
        )
      )
    )
  )

  it.live("lengthens an opening by its Retry-After", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 2; i++) yield* get("/report")
      const { retryAfter } = yield* CircuitBreaker.inspect("reports")
      assert.isAbove(Duration.toMillis(retryAfter), 50_000)
    }).pipe(
      Effect.provide(
        serving(
          HttpRouter.add(
            "GET",
            "/report",
            pipe(status(503, { "retry-after": "60" }), HttpServerBreaker.protect("reports"))
          )
        )
      )
    )
  )

  it.live("of a client that went away is Ignored", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const hanging = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)
      const App = serving(HttpRouter.add("GET", "/report", pipe(hanging, HttpServerBreaker.protect("reports"))))
      yield* Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(get("/report"))
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(fiber)
        const ignored = Effect.map(CircuitBreaker.inspect("reports"), ({ inFlight, totals }) => [
          inFlight,
          totals.ignored
        ])
        yield* Effect.retry(
          Effect.filterOrFail(ignored, ([inFlight, n]) => inFlight === 0 && n === 1),
          { times: 500, schedule: Schedule.spaced("10 millis") }
        )
      }).pipe(Effect.provide(App))
    })
  )

  it.live("is read as it is told", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 2; i++) yield* get("/report")
      assert.strictEqual(yield* state("reports"), "Open")
    }).pipe(
      Effect.provide(
        serving(
          HttpRouter.add(
            "GET",
            "/report",
            pipe(
              status(429),
              HttpServerBreaker.protect("reports", {
                classify: (exit: Exit.Exit<HttpServerResponse.HttpServerResponse>) =>
                  Exit.isSuccess(exit) && exit.value.status === 429
                    ? Outcome.failure()
                    : HttpServerBreaker.classify(exit)
              })
            )
          )
        )
      )
    )
  )
})

describe("the tenant of a request", () => {
  const who = Effect.map(Tenant.Current, (tenant) => HttpServerResponse.jsonUnsafe({ tenant: tenant ?? null }))
  const route = (tenant: boolean | HttpServerBreaker.TenantOptions | undefined = true) =>
    serving(HttpRouter.add("GET", "/who", pipe(who, HttpServerBreaker.protect("reports", { tenant }))))

  it.live("has a circuit of its own, and is that of all that the handler calls", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.isolate("reports", { key: "acme" })
      assert.deepInclude((yield* seen("/who", { "X-Tenant-ID": "acme" })).body, { tenant_id: "acme" })
      assert.deepStrictEqual((yield* seen("/who", { "X-Tenant-ID": "other" })).body, { tenant: "other" })
      assert.deepStrictEqual((yield* seen("/who")).body, { tenant: null })
    }).pipe(Effect.provide(route()))
  )

  it.live.each([
    ["empty", ""],
    ["longer than 256 characters", "x".repeat(257)],
    ["with a space", "a b"],
    ["of two headers", "a, b"],
    ["not ASCII", "caf\u00e9"],
    ["with a slash, which is for keys", "a/b"],
    ["with a per cent sign", "a%2Fb"]
  ] as const)("%s is answered with 400, and not with what came", ([, tenant]) =>
    Effect.gen(function* () {
      const { body, status } = yield* seen("/who", { "x-tenant-id": tenant })
      assert.strictEqual(status, 400)
      assert.deepStrictEqual(body, {
        error: "invalid_tenant",
        detail: "The header x-tenant-id does not name a tenant"
      })
      assert.deepStrictEqual(yield* CircuitBreaker.list, [])
    }).pipe(Effect.provide(route()))
  )

  it.live("of 256 characters is the longest", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* get("/who", { "x-tenant-id": "x".repeat(256) })).status, 200)
    }).pipe(Effect.provide(route()))
  )

  it.live("is read as it is told: another header, shorter, of a form, required", () =>
    Effect.gen(function* () {
      const status = (tenant: string) => Effect.map(get("/who", { org: tenant }), ({ status }) => status)
      assert.deepStrictEqual(
        yield* Effect.all([
          status("t-1"),
          status("t-1"),
          status("t-123"),
          status("x-1"),
          status("t-1x"),
          status("xt-1")
        ]),
        [200, 200, 400, 400, 400, 400]
      )
      assert.strictEqual((yield* get("/who")).status, 400)
    }).pipe(Effect.provide(route({ header: "Org", maxLength: 4, pattern: /t-\d+/gy, required: true })))
  )

  for (const tenant of [undefined, false] as const) {
    it.live(`is not read with ${tenant}: any client could bypass an open circuit with a tenant of its own`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* seen("/who", { "x-tenant-id": "acme" })).body, { tenant: null })
        yield* CircuitBreaker.isolate("reports")
        for (const value of ["acme", "fresh-1", "a/b"]) {
          assert.strictEqual((yield* get("/who", { "x-tenant-id": value })).status, 503)
        }
      }).pipe(
        Effect.provide(
          serving(
            HttpRouter.add(
              "GET",
              "/who",
              pipe(who, HttpServerBreaker.protect("reports", tenant === undefined ? {} : { tenant }))
            )
          )
        )
      )
    )
  }

  it.live("may be as many as come: their number is bounded by the store", () => {
    const routes = HttpRouter.add("GET", "/who", pipe(who, HttpServerBreaker.protect("reports", { tenant: true })))
    const App = HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
      Layer.provideMerge(NodeHttpServer.layerTest),
      Layer.provideMerge(Layer.orDie(BreakerStore.layerMemoryWith({ maxCircuits: 10 })))
    )
    return Effect.gen(function* () {
      for (let i = 0; i < 50; i++) yield* get("/who", { "x-tenant-id": `t${i}` })
      assert.isAtMost((yield* BreakerStore.stats).circuits, 11)
    }).pipe(Effect.provide(App))
  })
})

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

  it.live("beside all routes, with a circuit for whatever the request says", () =>
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

  it.live("around both: a route whose circuit is open says nothing of the application", () =>
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
