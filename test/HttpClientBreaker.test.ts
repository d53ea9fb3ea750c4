import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Layer } from "effect"
import { FetchHttpClient, HttpClient, HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, BulkheadFull, CircuitBreaker, type CircuitOpen, Outcome, Trip } from "effect-fuse"
import { HttpClientBreaker } from "effect-fuse/http"
import { responding } from "./support/responding.ts"
import { expectState, quick, scenario } from "./support/verbs.ts"

const policies = Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "10 seconds" } }))
const services = Layer.merge(BreakerStore.layerMemory, policies)

const request = HttpClientRequest.get("https://a.test/items")
const response = (status: number, headers: Record<string, string> = {}) =>
  HttpClientResponse.fromWeb(request, new Response(null, { status, headers }))

const outcomeOf = (exit: Exit.Exit<HttpClientResponse.HttpClientResponse, unknown>) => {
  const outcome = HttpClientBreaker.classify(exit)
  return Effect.isEffect(outcome) ? outcome : Effect.succeed(outcome)
}

/** A server with one status for all requests, which can be changed and stopped. */
const server = Effect.acquireRelease(
  Effect.promise(
    () =>
      new Promise<{ readonly origin: string; status: number; requests: number; readonly stop: () => Promise<void> }>(
        (resolve) => {
          const http = createServer((_, answer) => {
            self.requests++
            answer.writeHead(self.status, { "retry-after": "7", connection: "close" }).end("body")
          })
          const self = {
            origin: "",
            status: 200,
            requests: 0,
            stop: () => new Promise<void>((done) => void http.close(() => done()).closeAllConnections())
          }
          http.listen(0, "127.0.0.1", () => {
            resolve(Object.assign(self, { origin: `http://127.0.0.1:${(http.address() as AddressInfo).port}` }))
          })
        }
      )
  ),
  ({ stop }) => Effect.promise(stop)
)

describe("an HttpClient with a breaker", () => {
  for (const [name, client] of [
    ["fetch", FetchHttpClient.layer],
    ["undici", NodeHttpClient.layerUndici],
    ["node:http", NodeHttpClient.layerNodeHttp]
  ] as const) {
    it.effect(`of ${name} has a circuit for each origin, over a real socket`, () =>
      Effect.gen(function* () {
        const good = yield* server
        const bad = yield* server
        const guarded = HttpClientBreaker.protect(yield* HttpClient.HttpClient, "http")
        bad.status = 503
        for (let i = 0; i < 2; i++) assert.strictEqual((yield* guarded.get(`${bad.origin}/${i}`)).status, 503)
        const open = yield* Effect.flip(guarded.get(`${bad.origin}/other?x=1`))
        assert.strictEqual(open._tag, "CircuitOpen")
        if (open._tag === "CircuitOpen") assert.strictEqual(open.key, bad.origin)
        assert.strictEqual(bad.requests, 2)
        assert.strictEqual(yield* Effect.flatMap(guarded.get(good.origin), ({ text }) => text), "body")
        // Nobody there at all.
        yield* Effect.promise(good.stop)
        for (let i = 0; i < 2; i++)
          assert.strictEqual((yield* Effect.flip(guarded.get(good.origin)))._tag, "HttpClientError")
        assert.strictEqual(yield* CircuitBreaker.state("http", { key: good.origin }), "Open")
      }).pipe(Effect.scoped, Effect.provide([services, client]))
    )
  }

  it.effect("lengthens an opening by Retry-After", () =>
    Effect.gen(function* () {
      const client = HttpClientBreaker.protect(responding(429, { "retry-after": "60" }), "http")
      for (let i = 0; i < 2; i++) yield* client.execute(request)
      const { retryAfter } = yield* CircuitBreaker.inspect("http", { key: "https://a.test" })
      assert.deepStrictEqual(retryAfter, Duration.minutes(1))
      assert.deepStrictEqual(
        (yield* CircuitBreaker.inspect("http", { key: "https://a.test" })).lastFailures.map(({ error }) => error),
        ["HTTP 429", "HTTP 429"]
      )
    }).pipe(Effect.provide(services))
  )

  it.effect("stops Effect's retryTransient at an open circuit", () =>
    Effect.gen(function* () {
      const client = responding(503).pipe(HttpClientBreaker.protect("http"), HttpClient.retryTransient({ times: 10 }))
      assert.strictEqual((yield* Effect.flip(client.execute(request)))._tag, "CircuitOpen")
      assert.strictEqual((yield* CircuitBreaker.inspect("http", { key: "https://a.test" })).totals.calls, 2)
    }).pipe(Effect.provide(services))
  )

  it.effect("uses the key of its options, and the circuit of the name without a key", () =>
    Effect.gen(function* () {
      const keyed = [
        HttpClientBreaker.protect(responding(200), "text", { key: "all" }),
        HttpClientBreaker.protect(responding(200), "function", { key: ({ method }) => method }),
        HttpClientBreaker.protect(responding(200), "none", { key: () => undefined }),
        HttpClientBreaker.protect(responding(200), "relative")
      ]
      for (const client of keyed.slice(0, 3)) yield* client.execute(request)
      yield* Effect.exit(HttpClientBreaker.protect(responding(200), "relative").get("no url"))
      const found = (yield* CircuitBreaker.list).map(({ circuit, key }) => [circuit, key])
      assert.deepStrictEqual(found.slice(0, 3), [
        ["text", "all"],
        ["function", "GET"],
        ["none", undefined]
      ])
    }).pipe(Effect.provide(services))
  )

  it.effect("reads responses by the option `classify`, which can call the default", () =>
    Effect.gen(function* () {
      const client = HttpClientBreaker.protect(responding(404), "http", {
        classify: (exit) =>
          Exit.isSuccess(exit) && exit.value.status === 404 ? Outcome.failure() : HttpClientBreaker.classify(exit)
      })
      for (let i = 0; i < 2; i++) yield* client.execute(request)
      assert.strictEqual(yield* CircuitBreaker.state("http", { key: "https://a.test" }), "Open")
    }).pipe(Effect.provide(services))
  )

  it.effect("dies of a key that is no text, and names it", () =>
    Effect.gen(function* () {
      const client = HttpClientBreaker.protect(responding(200), "http", { key: () => 7 as never })
      assert.include(
        String(yield* Effect.exit(client.execute(request))),
        "HttpClientBreaker.protect: key: expected a text, got 7"
      )
    }).pipe(Effect.provide(services))
  )

  it("adds CircuitOpen and BreakerStore to its types, and names invalid options", () => {
    const guarded = HttpClientBreaker.protect(responding(200), "http")
    type Guarded = HttpClient.HttpClient.With<
      HttpClientError.HttpClientError | CircuitOpen.CircuitOpen,
      BreakerStore.BreakerStore
    >
    expectTypeOf(guarded).toEqualTypeOf<Guarded>()
    expectTypeOf(responding(200).pipe(HttpClientBreaker.protect("http"))).toEqualTypeOf<Guarded>()
    assert.throws(
      () => HttpClientBreaker.protect(responding(200), ""),
      /HttpClientBreaker.protect: name: expected a text/
    )
    // @ts-expect-error
    const wrongKey = () => HttpClientBreaker.protect(responding(200), "a", { key: 7 })
    assert.throws(wrongKey, /key: expected a text, or .*, got 7/)
    // @ts-expect-error
    const wrong = () => HttpClientBreaker.protect(responding(200), "a", { classify: 7 })
    assert.throws(wrong, /classify: expected a function/)
  })

  scenario("uses the policy and the key of its options", {}, function* () {
    yield* HttpClientBreaker.protect(responding(503), "api", { policy: quick, key: "k" }).get("https://a.test/")
    yield* expectState("Open", { key: "k" })
  })
})

describe("the end of a request", () => {
  const failed = (reason: HttpClientError.HttpClientErrorReason) =>
    Exit.fail(new HttpClientError.HttpClientError({ reason }))
  const cases: ReadonlyArray<
    readonly [what: string, exit: Exit.Exit<HttpClientResponse.HttpClientResponse, unknown>, says: string]
  > = [
    ...[200, 204, 301, 304, 400, 401, 403, 404, 409, 410, 422, 499].map(
      (status) => [`status ${status}`, Exit.succeed(response(status)), "Success"] as const
    ),
    ...[408, 429, 500, 501, 502, 503, 504, 529, 599].map(
      (status) => [`status ${status}`, Exit.succeed(response(status)), "Failure"] as const
    ),
    ["no connection", failed(new HttpClientError.TransportError({ request })), "Failure"],
    [
      "an error of status 404",
      failed(new HttpClientError.StatusCodeError({ request, response: response(404) })),
      "Success"
    ],
    [
      "an error of status 503",
      failed(new HttpClientError.StatusCodeError({ request, response: response(503) })),
      "Failure"
    ],
    [
      "a body that cannot be read",
      failed(new HttpClientError.DecodeError({ request, response: response(200) })),
      "Failure"
    ],
    ["a wrong URL", failed(new HttpClientError.InvalidUrlError({ request })), "Ignored"],
    ["a body that cannot be written", failed(new HttpClientError.EncodeError({ request })), "Ignored"],
    ["a timeout", Exit.fail(new Cause.TimeoutError()), "Failure"],
    ["a full bulkhead", Exit.fail(BulkheadFull.make({ bulkhead: "b", concurrency: 1, queue: 0 })), "Ignored"],
    ["a defect", Exit.die("broken"), "Failure"]
  ]
  it.effect.each(cases)("%s", ([, exit, says]) =>
    Effect.map(outcomeOf(exit), ({ _tag }) => assert.strictEqual(_tag, says))
  )
})

it.effect("the date of a Retry-After is compared with the clock in force", () =>
  Effect.gen(function* () {
    const date = "Sun, 06 Nov 1994 08:49:37 GMT"
    yield* TestClock.setTime(Date.parse(date) - 3_000)
    const outcome = yield* outcomeOf(Exit.succeed(response(503, { "retry-after": date })))
    assert.deepStrictEqual(outcome._tag === "Failure" && outcome.retryAfter, Duration.seconds(3))
  })
)
