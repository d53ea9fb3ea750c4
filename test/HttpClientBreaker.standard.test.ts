import { createServer, type RequestListener } from "node:http"
import type { AddressInfo } from "node:net"
import { Readable } from "node:stream"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { type Cause, Data, type Duration, Effect, Fiber, Layer, Logger, Stream } from "effect"
import {
  FetchHttpClient,
  HttpBody,
  HttpClient,
  HttpClientError,
  HttpClientRequest,
  HttpClientResponse
} from "effect/http"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, type CircuitOpen, Trip } from "effect-fuse"
import { HttpClientBreaker } from "effect-fuse/http"

const services = Layer.mergeAll(
  BreakerStore.layerMemory,
  Logger.layer([]),
  Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(10) } }))
)

/** An error of the program with the same tag as Effect's `TimeoutError`. */
class TimeoutError extends Data.TaggedError("TimeoutError") {}

type Answer =
  | number
  | TimeoutError
  | "no connection"
  | "silence"
  | { readonly status: number; readonly headers: Record<string, string> }

/** A client that gives these answers one after another, the last one again and again, and counts its requests. */
const answering = (...answers: ReadonlyArray<Answer>) => {
  const seen: Array<string> = []
  const client = HttpClient.make((request) =>
    Effect.suspend(() => {
      const answer = answers[Math.min(seen.length, answers.length - 1)] ?? 200
      seen.push(request.method)
      if (answer === "silence") return Effect.never
      // The type of `HttpClient` does not include this error, but middleware of the program can raise it.
      if (answer instanceof TimeoutError) return Effect.fail(answer as never)
      if (answer === "no connection") {
        return Effect.fail(
          new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request }) })
        )
      }
      const init = typeof answer === "number" ? { status: answer } : answer
      return Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, init)))
    })
  )
  return { client, seen }
}

const url = "https://a.test/items"
const key = { key: "https://a.test" }

/** What becomes of a request, in virtual time: its status or the tag of its error. */
const ended = <E extends { readonly _tag: string }, R>(
  call: Effect.Effect<HttpClientResponse.HttpClientResponse, E, R>,
  within: Duration.Input = "10 minutes"
) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(
      Effect.match(call, { onFailure: ({ _tag }): string | number => _tag, onSuccess: ({ status }) => status })
    )
    yield* TestClock.adjust(within)
    return yield* Fiber.join(fiber)
  })

describe("the standard client makes again what may be repeated:", () => {
  const given = (...answers: ReadonlyArray<Answer>) => answers
  const cases: ReadonlyArray<
    readonly [what: string, answers: ReadonlyArray<Answer>, requests: number, end: number | string]
  > = [
    ["a success is one request", given(200), 1, 200],
    ["503, then 200", given(503, 200), 2, 200],
    ["429, then 200", given(429, 200), 2, 200],
    ["408, then 200", given(408, 200), 2, 200],
    ["500, 502, 204", given(500, 502, 204), 3, 204],
    ["503 for ever is a response", given(503), 3, 503],
    ["no connection, then 200", given("no connection", 200), 2, 200],
    ["no connection at all", given("no connection"), 3, "HttpClientError"],
    ["silence, then 200", given("silence", 200), 2, 200],
    ["silence for ever", given("silence"), 3, "TimeoutError"],
    ["an error of the program with the tag TimeoutError", given(new TimeoutError()), 1, "TimeoutError"],
    ["404 is an answer", given(404), 1, 404],
    ["400 is an answer", given(400), 1, 400],
    ["a Retry-After of 5 seconds is waited for", given({ status: 503, headers: { "retry-after": "5" } }, 200), 2, 200],
    ["a Retry-After of a minute is not", given({ status: 503, headers: { "retry-after": "60" } }, 200), 1, 503]
  ]
  for (const [what, answers, requests, end] of cases) {
    it.effect(what, () =>
      Effect.gen(function* () {
        const { client, seen } = answering(...answers)
        assert.strictEqual(yield* ended(HttpClientBreaker.standard(client, "http").get(url)), end)
        assert.strictEqual(seen.length, requests)
        assert.strictEqual((yield* CircuitBreaker.inspect("http", key)).totals.calls, requests)
      }).pipe(Effect.provide(services))
    )
  }

  for (const [method, repeats] of [
    ["GET", true],
    ["HEAD", true],
    ["OPTIONS", true],
    ["QUERY", true],
    ["PUT", true],
    ["DELETE", true],
    ["POST", false],
    ["PATCH", false]
  ] as const) {
    it.effect(`${method} is ${repeats ? "" : "not "}made again`, () =>
      Effect.gen(function* () {
        const { client, seen } = answering(503, 200)
        const request = HttpClientRequest.make(method)(url)
        const status = yield* ended(HttpClientBreaker.standard(client, "http").execute(request))
        assert.deepStrictEqual([status, seen.length], repeats ? [200, 2] : [503, 1])
      }).pipe(Effect.provide(services))
    )
  }

  async function* generator() {
    yield "a"
  }
  const bytes = new TextEncoder().encode("a")
  for (const [what, request, repeats] of [
    ["a POST with an Idempotency-Key", HttpClientRequest.post(url, { headers: { "Idempotency-Key": "1" } }), true],
    ["a PUT with a text", HttpClientRequest.put(url, { body: HttpBody.text("a") }), true],
    ["a PUT with a stream", HttpClientRequest.put(url, { body: HttpBody.stream(Stream.make(bytes)) }), false],
    [
      "a PUT with a ReadableStream",
      HttpClientRequest.put(url, { body: HttpBody.raw(new ReadableStream<Uint8Array>()) }),
      false
    ],
    ["a PUT with a stream of Node", HttpClientRequest.put(url, { body: HttpBody.raw(Readable.from(["a"])) }), false],
    ["a PUT with a generator", HttpClientRequest.put(url, { body: HttpBody.raw(generator()) }), false],
    ["a PUT with a Blob", HttpClientRequest.put(url, { body: HttpBody.raw(new Blob(["a"])) }), true],
    ["a PUT with bytes", HttpClientRequest.put(url, { body: HttpBody.raw(bytes) }), true],
    ["a PUT with a form", HttpClientRequest.put(url, { body: HttpBody.formData(new FormData()) }), true]
  ] as const) {
    it.effect(`${what} is ${repeats ? "" : "not "}made again`, () =>
      Effect.gen(function* () {
        const { client, seen } = answering("no connection", 200)
        yield* ended(HttpClientBreaker.standard(client, "http").execute(request))
        assert.strictEqual(seen.length, repeats ? 2 : 1)
      }).pipe(Effect.provide(services))
    )
  }

  it.effect("a request that cannot be encoded is not sent, and is Ignored", () =>
    Effect.gen(function* () {
      const client = HttpClientBreaker.standard(answering(200).client, "http")
      assert.strictEqual(yield* ended(client.get("no url")), "HttpClientError")
    }).pipe(Effect.provide(services))
  )
})

describe("the standard client", () => {
  it.effect("has a circuit for each origin, and stops when it opens, with the status as the cause", () =>
    Effect.gen(function* () {
      const { client, seen } = answering(503)
      const standard = HttpClientBreaker.standard(client, "http", { policy: { trip: Trip.consecutive(2) } })
      const fiber = yield* Effect.forkChild(Effect.flip(standard.get(url)))
      yield* TestClock.adjust("1 minute")
      const open = yield* Fiber.join(fiber)
      assert.strictEqual(open._tag, "CircuitOpen")
      if (open._tag !== "CircuitOpen") return
      assert.strictEqual(open.key, "https://a.test")
      assert.include(String(open.cause), "503")
      assert.strictEqual(seen.length, 2)
      assert.strictEqual(yield* CircuitBreaker.state("http", { key: "https://b.test" }), "Closed")
    }).pipe(Effect.provide(services))
  )

  it.effect("stands before or after filterStatusOk, and answers the same", () =>
    Effect.gen(function* () {
      for (const status of [404, 503]) {
        const inside = answering(status)
        const outside = answering(status)
        const clients = [
          inside.client.pipe(HttpClient.filterStatusOk, HttpClientBreaker.standard(`inside ${status}`)),
          outside.client.pipe(HttpClientBreaker.standard(`outside ${status}`), HttpClient.filterStatusOk)
        ]
        for (const client of clients) assert.strictEqual(yield* ended(client.get(url)), "HttpClientError")
        const requests = status === 404 ? 1 : 3
        assert.deepStrictEqual([inside.seen.length, outside.seen.length], [requests, requests])
        for (const where of ["inside", "outside"]) {
          const { totals } = yield* CircuitBreaker.inspect(`${where} ${status}`, key)
          assert.strictEqual(totals.failures, status === 404 ? 0 : 3)
        }
      }
    }).pipe(Effect.provide(services))
  )

  it.effect("has options for each of its parts", () =>
    Effect.gen(function* () {
      const of = (options: HttpClientBreaker.StandardOptions, ...answers: ReadonlyArray<Answer>) =>
        Effect.gen(function* () {
          const { client, seen } = answering(...answers)
          const end = yield* ended(HttpClientBreaker.standard(client, "http", options).get(url))
          return [end, seen.length]
        })
      assert.deepStrictEqual(yield* of({ retry: false }, 503), [503, 1])
      assert.deepStrictEqual(yield* of({ retry: 1 }, 503), [503, 2])
      assert.deepStrictEqual(yield* of({ retry: { times: 4 } }, 503), [503, 5])
      assert.deepStrictEqual(yield* of({ retry: { while: () => false } }, "no connection"), ["HttpClientError", 1])
      const patient = { retry: { maxRetryAfter: "2 minutes" } } as const
      assert.deepStrictEqual(yield* of(patient, { status: 429, headers: { "retry-after": "60" } }, 200), [200, 2])
      assert.deepStrictEqual(yield* of({ timeout: "1 minute", retry: false }, "silence"), ["TimeoutError", 1])
      yield* of({ key: "all" }, 200)
      assert.strictEqual((yield* CircuitBreaker.inspect("http", { key: "all" })).totals.calls, 1)
    }).pipe(Effect.provide(services))
  )

  it("has the errors of its parts in its type, and names an option that is wrong", () => {
    type Client<E> = HttpClient.HttpClient.With<
      HttpClientError.HttpClientError | CircuitOpen.CircuitOpen | E,
      BreakerStore.BreakerStore
    >
    const { client } = answering(200)
    expectTypeOf(HttpClientBreaker.standard(client, "http")).toEqualTypeOf<Client<Cause.TimeoutError>>()
    expectTypeOf(client.pipe(HttpClientBreaker.standard("http"))).toEqualTypeOf<Client<Cause.TimeoutError>>()
    expectTypeOf(client.pipe(HttpClientBreaker.standard("http", { timeout: false }))).toEqualTypeOf<Client<never>>()
    const wrong: ReadonlyArray<readonly [options: object, message: RegExp]> = [
      [{ timeout: -1 }, /timeout: expected a duration above 0/],
      [{ retry: -1 }, /HttpClientBreaker.standard: retry.times: expected a whole number/],
      [{ retry: "often" }, /HttpClientBreaker.standard: retry/],
      [{ retry: { maxRetryAfter: "soon" } }, /maxRetryAfter: expected a duration/],
      [{ key: 7 }, /HttpClientBreaker.standard: key: expected a text/],
      [{ retries: 2 }, /retries: unknown field/]
    ]
    for (const [options, message] of wrong) {
      assert.throws(() => HttpClientBreaker.standard(client, "http", options as never), message)
    }
  })
})

// ---- Real servers ---------------------------------------------------------------------------------------------------

const server = (listener: RequestListener) =>
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<{ readonly origin: string; readonly stop: () => Promise<void> }>((resolve) => {
          const http = createServer(listener)
          http.listen(0, "127.0.0.1", () =>
            resolve({
              origin: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
              stop: () => new Promise<void>((done) => void http.close(() => done()).closeAllConnections())
            })
          )
        })
    ),
    ({ stop }) => Effect.promise(stop)
  )

for (const [name, layer] of [
  ["fetch", FetchHttpClient.layer],
  ["undici", NodeHttpClient.layerUndici],
  ["node:http", NodeHttpClient.layerNodeHttp]
] as const) {
  it.live(`the standard client over ${name} gets past two failures of a real server, and sends a POST once`, () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const { origin } = yield* server((request, answer) => {
        seen.push(request.method ?? "")
        answer.writeHead(seen.length % 3 === 0 ? 200 : 503, { "retry-after": "0" }).end("body")
      })
      const client = HttpClientBreaker.standard(yield* HttpClient.HttpClient, "http")
      const response = yield* client.get(`${origin}/items`)
      assert.deepStrictEqual([response.status, yield* response.text], [200, "body"])
      assert.strictEqual((yield* client.post(`${origin}/items`)).status, 503)
      assert.deepStrictEqual(seen, ["GET", "GET", "GET", "POST"])
    }).pipe(Effect.scoped, Effect.provide([services, layer]))
  )
}
