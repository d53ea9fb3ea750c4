import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Duration, Effect, Exit, Layer, Logger, Option } from "effect"
import {
  HttpClient,
  HttpClientResponse,
  HttpRouter,
  HttpServer,
  HttpServerRequest,
  HttpServerResponse
} from "effect/http"
import { BreakerStore, BulkheadFull, CircuitBreaker, CircuitOpen, Tenant } from "effect-fuse"
import { BreakerRoutes, HttpClientBreaker, HttpServerBreaker, RetryAfter } from "effect-fuse/http"
import { edited, either, name, number, oneOf, optional, runs, text } from "./support/garbage.ts"

// What requests and responses say may be anything, and so may what they are answered with.

const memory = Layer.merge(BreakerStore.layerMemory, Logger.layer([]))

// ---- What comes ---------------------------------------------------------------------------------------------------

const dates = [
  "Sun, 06 Nov 1994 08:49:37 GMT",
  "Sunday, 06-Nov-94 08:49:37 GMT",
  "Sun Nov  6 08:49:37 1994",
  "Fri, 31 Dec 9999 23:59:59 GMT",
  "Sun, 99 Nov 1994 99:99:99 GMT",
  "Sun, 06 Nov 275760 08:49:37 GMT"
]
const seconds = [
  "120",
  "0",
  "-1",
  "1.5",
  "1e3",
  "0x10",
  "Infinity",
  "NaN",
  "9".repeat(15),
  "9".repeat(16),
  "9".repeat(400)
]
const headerValue = either(edited(oneOf([...dates, ...seconds])), oneOf([...dates, ...seconds]))

describe("Retry-After, whatever its text,", () => {
  const isMillis = (millis: number) => Number.isFinite(millis) && millis >= 0

  it.prop(
    "is a number of milliseconds that one can wait, or nothing",
    [headerValue, optional(headerValue), either(oneOf([0, 1.7e12, 8.64e15]), either(number, oneOf([0])))],
    ([value, date, now]) => {
      const millis = RetryAfter.parse({ "retry-after": value, date }, Number.isFinite(now) ? now : 0)
      if (millis !== undefined) assert.isTrue(isMillis(millis), String(millis))
    },
    runs("retry-after", 2_000)
  )

  it.effect.prop(
    "makes a failure of a response that failed, with such a time or without, for a client and for a server",
    [oneOf([429, 503, 500]), text, optional(headerValue)],
    ([status, value, date]) =>
      Effect.gen(function* () {
        const headers = { "retry-after": value, ...(date === undefined ? {} : { date }) }
        const response = { status, headers } as never
        for (const { classify } of [HttpClientBreaker, HttpServerBreaker]) {
          const read = classify(Exit.succeed(response))
          const outcome = Effect.isEffect(read) ? yield* read : read
          if (outcome._tag !== "Failure" || outcome.retryAfter === undefined) continue
          assert.isTrue(isMillis(Duration.toMillis(outcome.retryAfter)))
        }
      }),
    runs("classify", 300)
  )
})

/** What a router answers, without a socket. */
const answering = (routes: Layer.Layer<never, never, HttpRouter.HttpRouter | BreakerStore.BreakerStore>) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      HttpRouter.toWebHandler(
        routes.pipe(Layer.provideMerge(memory), Layer.provide(HttpServer.layerServices)) as never,
        {
          disableLogger: true
        }
      )
    ),
    ({ dispose }) => Effect.promise(() => dispose())
  )

/** Only characters of one byte may be in a header at all. */
const sendable = Arbitrary.map(text, (one) => one.replaceAll(/[^\u0021-\u007e\u0080-\u00ff\t ]/g, ""))

describe("The tenant of a request, whatever its text,", () => {
  const options: ReadonlyArray<HttpServerBreaker.TenantOptions> = [
    {},
    { required: true },
    { maxLength: 3 },
    { pattern: /[\s\S]*/ },
    { pattern: /a|b/gimsuy },
    { pattern: /\w+|/, maxLength: 1 }
  ]
  const request = (tenant: string | undefined) =>
    HttpServerRequest.HttpServerRequest.of({ headers: tenant === undefined ? {} : { "x-tenant-id": tenant } } as never)

  it.effect.prop(
    "is the tenant of a circuit, or is answered with 400",
    [oneOf(options), optional(text)],
    ([tenant, value]) =>
      Effect.gen(function* () {
        const handler = Effect.map(Tenant.Current, (tenant) =>
          HttpServerResponse.jsonUnsafe({ tenant: tenant ?? null })
        )
        const response = yield* HttpServerBreaker.protect("api", { tenant })(handler).pipe(
          Effect.provideService(HttpServerRequest.HttpServerRequest, request(value))
        )
        const { body, status } = yield* read(response)
        const circuits = yield* CircuitBreaker.list
        if (status === 400) {
          assert.strictEqual(body["detail"], "The header x-tenant-id does not name a tenant")
          return assert.strictEqual(circuits.length, 0)
        }
        assert.strictEqual(status, 200)
        assert.strictEqual(body["tenant"], value ?? null)
        assert.strictEqual(circuits.length, 1)
      }).pipe(Effect.provide(memory, { local: true })),
    runs("tenant", 300)
  )
})

describe("An address that a client asks, whatever it is,", () => {
  const urls = ["http://example.com/a?b#c", "https://u:p@[::1]:65535/", "/relative", "file:///x", "mailto:a@b"]
  const down = HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null))))
  it.effect.prop(
    "is asked under a circuit, or is an error that has a name",
    [either(edited(oneOf(urls)), text)],
    ([url]) =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(HttpClientBreaker.protect(down, "http").get(url))
        if (Exit.isFailure(exit)) {
          assert.isFalse(Cause.hasDies(exit.cause), Cause.pretty(exit.cause))
          assert.isString(Option.getOrThrow(Cause.findErrorOption(exit.cause))._tag)
        }
        for (const { key } of yield* CircuitBreaker.list)
          if (key !== undefined) assert.match(key, /^https?:\/\/[^/@]+$/)
      }).pipe(Effect.provide(memory, { local: true })),
    runs("urls", 300)
  )
})

// ---- What is answered ---------------------------------------------------------------------------------------------

/** A response as it goes over the wire, which it cannot with a header that is none. */
const read = (response: HttpServerResponse.HttpServerResponse) =>
  Effect.promise(async () => {
    const web = HttpServerResponse.toWeb(response)
    for (const [header, value] of Object.entries(response.headers)) {
      assert.match(header, /^[a-z-]+$/)
      assert.match(String(value), /^[!-~]+( [!-~]+)*$/)
    }
    const body = JSON.parse(await web.text()) as Record<string, unknown>
    return { status: web.status, retryAfter: web.headers.get("retry-after"), body }
  })

describe("A rejection, whatever its fields are,", () => {
  const rejections = Arbitrary.map(
    Arbitrary.all({
      circuit: name,
      key: optional(text),
      detail: optional(text),
      dependency: optional(text),
      millis: number
    }),
    ({ millis, ...fields }) =>
      CircuitOpen.make({
        ...fields,
        state: "Open",
        reason: "Dependency",
        openings: 1,
        retryAfter: Duration.millis(Math.max(0, Number.isNaN(millis) ? 0 : millis))
      })
  )
  const full = Arbitrary.map(name, (bulkhead) => BulkheadFull.make({ bulkhead, concurrency: 1, queue: 0 }))

  it.effect.prop(
    "is answered in headers that can be sent and in JSON, with whole seconds that a client can read, or none",
    [either(rejections, full), optional(text), oneOf(["json", "problem"] as const)],
    ([rejection, tenant, format]) =>
      Effect.map(read(HttpServerBreaker.toResponse(rejection, { tenant, format })), ({ body, retryAfter, status }) => {
        assert.strictEqual(status, 503)
        assert.strictEqual(body["service"], rejection._tag === "CircuitOpen" ? rejection.circuit : rejection.bulkhead)
        if (retryAfter === null) return assert.isNull(body["retry_after"])
        assert.match(retryAfter, /^[1-9]\d{0,14}$/)
        assert.isAtLeast(RetryAfter.parse({ "retry-after": retryAfter }, 0) ?? 0, 1_000)
        assert.strictEqual(body["retry_after"], Number(retryAfter))
      }),
    runs("rejections", 300)
  )
})

describe("The routes of circuits", () => {
  const action = Arbitrary.all({ name, key: optional(text), reason: text, millis: number, error: text })
  it.live.prop(
    "answer any request with JSON, whatever circuits are called and whyever they are open",
    [
      Arbitrary.array(action, { minLength: 1, maxLength: 3 }),
      oneOf([true, false]),
      Arbitrary.array(Arbitrary.all([sendable, oneOf(["/health", "/breakers", "/health/", "/"])]), { maxLength: 3 })
    ],
    ([actions, keys, asked]) =>
      Effect.gen(function* () {
        const registry = yield* BreakerStore.BreakerStore
        for (const { error, key, millis, name, reason } of actions) {
          const where = key === undefined ? {} : { key }
          yield* Effect.exit(CircuitBreaker.protect(Effect.fail(new Error(error)), name, where))
          if (Number.isNaN(millis) || (key?.length ?? 0) > 512) continue
          const last = { ...where, reason, for: Math.max(1, millis) }
          yield* millis > 0 ? CircuitBreaker.isolate(name, last) : CircuitBreaker.open(name, last)
        }
        const routes = BreakerRoutes.layer({ keys, critical: [actions[0]?.name ?? "a"] })
        const { handler } = yield* answering(
          Layer.provide(routes, Layer.succeed(BreakerStore.BreakerStore, registry)) as never
        )
        for (const [more, path] of [["", "/health"] as const, ["", "/breakers"] as const, ...asked]) {
          const url = `http://local${path}?keys=${encodeURIComponent(more)}&${more.replaceAll(/[\s#]/g, "")}`
          const response = yield* Effect.promise(() =>
            handler(
              new Request(url, { headers: { "x-tenant-id": more.trim(), accept: more.trim() } }),
              undefined as never
            )
          )
          const body = yield* Effect.promise(() => response.text())
          assert.include(
            path === "/health" || path === "/breakers" ? [200, 503] : [200, 404, 503],
            response.status,
            body
          )
          if (response.status === 404) continue
          assert.strictEqual(response.headers.get("cache-control"), "no-store")
          const told = JSON.parse(body)
          assert.isTrue(Array.isArray(told) || ["up", "degraded", "down"].includes(told.status))
        }
      }).pipe(Effect.scoped, Effect.provide(memory, { local: true })),
    runs("routes", 150)
  )
})
