import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { FetchHttpClient, HttpClient, HttpClientResponse, HttpIncomingMessage } from "effect/http"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Outcome, Trip } from "effect-fuse"
import { HttpClientBreaker } from "effect-fuse/http"

const policies = Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(1), cooldown: "10 seconds" } }))
const services = Layer.merge(BreakerStore.layerMemory, policies)

const totals = Effect.map(CircuitBreaker.inspect("http", { key: "one" }), ({ inFlight, totals }) => ({
  inFlight,
  successes: totals.successes,
  failures: totals.failures,
  ignored: totals.ignored
}))
const only = (what: "successes" | "failures" | "ignored" | "inFlight") => ({
  inFlight: 0,
  successes: 0,
  failures: 0,
  ignored: 0,
  [what]: 1
})

/** What the server does with a request, by its path. */
const answers: Record<string, (answer: ServerResponse) => void> = {
  "/whole": (answer) => answer.writeHead(200, { "content-type": "application/json" }).end('{"a":1}'),
  "/form": (answer) => answer.writeHead(200, { "content-type": "application/x-www-form-urlencoded" }).end("a=1"),
  "/dies": (answer) => {
    answer.writeHead(200, { "content-length": "1000" })
    answer.write("begun", () => setTimeout(() => answer.destroy(), 20))
  },
  "/dies-in-chunks": (answer) => {
    answer.writeHead(200)
    answer.write("begun", () => setTimeout(() => answer.destroy(), 20))
  },
  "/endless": (answer) => {
    answer.writeHead(200)
    answer.write("begun")
  },
  "/no-json": (answer) => answer.writeHead(200).end("<html>"),
  "/none": (answer) => answer.writeHead(204).end(),
  "/empty": (answer) => answer.writeHead(200, { "content-length": "0" }).end(),
  "/missing": (answer) => answer.writeHead(404).end("not here"),
  "/moved": (answer) => answer.writeHead(302, { location: "/whole" }).end("there"),
  "/down": (answer) => answer.writeHead(503).end("down")
}

const server = Effect.acquireRelease(
  Effect.promise(
    () =>
      new Promise<{ readonly origin: string; readonly stop: () => Promise<void> }>((resolve) => {
        const http = createServer(({ url = "" }, answer) => answers[url]?.(answer))
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

type Response = HttpClientResponse.HttpClientResponse

/** Interrupts a reader of a stream after the reader receives the first part. */
const interrupted = (stream: Response["stream"]) =>
  Effect.gen(function* () {
    const first = yield* Deferred.make<void>()
    const reader = yield* Effect.forkChild(Stream.runForEach(stream, () => Deferred.succeed(first, undefined)))
    yield* Deferred.await(first)
    yield* Fiber.interrupt(reader)
  })

const cases: ReadonlyArray<
  readonly [
    what: string,
    path: string,
    read: (response: Response) => Effect.Effect<unknown, unknown>,
    says: "successes" | "failures" | "ignored" | "inFlight"
  ]
> = [
  ["whole, as text", "/whole", ({ text }) => text, "successes"],
  ["whole, as JSON", "/whole", ({ json }) => json, "successes"],
  ["whole, as bytes", "/whole", ({ arrayBuffer }) => arrayBuffer, "successes"],
  ["whole, as parameters", "/form", ({ urlParamsBody }) => urlParamsBody, "successes"],
  ["whole, as a form", "/form", ({ formData }) => formData, "successes"],
  ["whole, as a stream", "/whole", ({ stream }) => Stream.runDrain(stream), "successes"],
  [
    "whole, through Effect's decoder",
    "/whole",
    HttpClientResponse.schemaBodyJson(Schema.Struct({ a: Schema.Number })),
    "successes"
  ],
  ["that dies, as text", "/dies", ({ text }) => text, "failures"],
  ["that dies, as JSON", "/dies", ({ json }) => json, "failures"],
  ["that dies, as a stream", "/dies", ({ stream }) => Stream.runDrain(stream), "failures"],
  ["that dies without a length, as a stream", "/dies-in-chunks", ({ stream }) => Stream.runDrain(stream), "failures"],
  ["of which its reader has enough", "/endless", ({ stream }) => Stream.runDrain(Stream.take(stream, 1)), "successes"],
  ["whose reader is interrupted", "/endless", ({ stream }) => interrupted(stream), "ignored"],
  [
    "whose reader fails by himself",
    "/endless",
    ({ stream }) => Stream.runForEach(stream, () => Effect.fail("no")),
    "successes"
  ],
  ["that is not the JSON that was hoped for", "/no-json", ({ json }) => json, "successes"],
  ["that is no form, read as one", "/whole", ({ formData }) => formData, "successes"],
  ["that was not read yet", "/whole", () => Effect.void, "inFlight"],
  ["that is none, of 204", "/none", () => Effect.void, "successes"],
  ["that is none, of length 0", "/empty", () => Effect.void, "successes"],
  ["of an answer that is none of 2xx", "/missing", () => Effect.void, "successes"],
  ["of a redirect", "/moved", () => Effect.void, "successes"],
  ["of a server that is down", "/down", () => Effect.void, "failures"]
]

describe("a body that counts", () => {
  for (const [name, client] of [
    ["fetch", Layer.provide(FetchHttpClient.layer, Layer.succeed(FetchHttpClient.RequestInit, { redirect: "manual" }))],
    ["undici", NodeHttpClient.layerUndici],
    ["node:http", NodeHttpClient.layerNodeHttp]
  ] as const) {
    // A busy machine can stall this process, and a breaker ignores failures after a stall. The virtual clock never stalls.
    it.effect.each(cases)(`over ${name}: %s`, ([, path, read, says]) =>
      Effect.gen(function* () {
        const { origin } = yield* server
        const guarded = HttpClientBreaker.protect(yield* HttpClient.HttpClient, "http", { body: true, key: "one" })
        const response = yield* guarded.get(`${origin}${path}`)
        yield* Effect.exit(read(response))
        assert.deepStrictEqual(yield* totals, only(says))
      }).pipe(Effect.scoped, Effect.provide([services, client]))
    )
  }

  const chunks = (...texts: ReadonlyArray<string>) =>
    HttpClient.make((request) =>
      Effect.succeed(
        HttpClientResponse.fromWeb(request, new Response(texts.length === 0 ? null : texts.join(""), { status: 200 }))
      )
    )
  const hanging = HttpClient.make(() => Effect.never)
  const counted = (client: HttpClient.HttpClient, options: HttpClientBreaker.Options<unknown> = {}) =>
    HttpClientBreaker.protect(client, "http", {
      body: true,
      key: "one",
      ...options
    } as never) as unknown as typeof client

  it.effect("counts once, however often it is read", () =>
    Effect.gen(function* () {
      const response = yield* counted(chunks("a")).get("https://a.test")
      assert.strictEqual(yield* response.text, "a")
      assert.strictEqual(yield* response.text, "a")
      assert.strictEqual((yield* response.arrayBuffer).byteLength, 1)
      assert.deepStrictEqual(yield* totals, only("successes"))
    }).pipe(Effect.provide(services))
  )

  it.effect("is an answer where the status promises one and there is none", () =>
    Effect.gen(function* () {
      const response = yield* counted(chunks()).get("https://a.test")
      yield* Effect.exit(Stream.runDrain(response.stream))
      assert.deepStrictEqual(yield* totals, only("successes"))
    }).pipe(Effect.provide(services))
  )

  it.effect("that is never read is Ignored when its lease is over", () =>
    Effect.gen(function* () {
      const response = yield* counted(chunks("a"), { lease: "1 minute" }).get("https://a.test")
      assert.deepStrictEqual(yield* totals, only("inFlight"))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* totals, only("ignored"))
      // Too late to say anything.
      assert.strictEqual(yield* response.text, "a")
      assert.deepStrictEqual(yield* totals, only("ignored"))
    }).pipe(Effect.provide(services))
  )

  it.effect("of a probe decides, and not its headers", () =>
    Effect.gen(function* () {
      const state = CircuitBreaker.state("http", { key: "one" })
      yield* CircuitBreaker.open("http", { key: "one" })
      yield* TestClock.adjust("10 seconds")
      const response = yield* counted(chunks("a")).get("https://a.test")
      assert.strictEqual(yield* state, "HalfOpen")
      yield* response.text
      assert.strictEqual(yield* state, "Closed")
    }).pipe(Effect.provide(services))
  )

  it.effect("of a probe frees its place when its time is over", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.open("http", { key: "one" })
      yield* TestClock.adjust("10 seconds")
      yield* counted(chunks("a")).get("https://a.test")
      assert.strictEqual((yield* Effect.flip(counted(chunks("a")).get("https://a.test")))._tag as string, "CircuitOpen")
      yield* TestClock.adjust("30 seconds")
      yield* Effect.flatMap(counted(chunks("a")).get("https://a.test"), ({ text }) => text)
      assert.strictEqual(yield* CircuitBreaker.state("http", { key: "one" }), "Closed")
    }).pipe(Effect.provide(services))
  )

  it.effect("does not keep a probe that hangs before its headers: it is interrupted, and a Failure", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.open("http", { key: "one" })
      yield* TestClock.adjust("10 seconds")
      const probe = yield* Effect.forkChild(Effect.flip(counted(hanging).get("https://a.test")), {
        startImmediately: true
      })
      yield* TestClock.adjust("30 seconds")
      const error: { readonly _tag: string; readonly reason: unknown } = yield* Fiber.join(probe)
      assert.deepStrictEqual([error._tag, error.reason], ["CircuitOpen", "ProbeTimedOut"])
      assert.strictEqual(yield* CircuitBreaker.state("http", { key: "one" }), "Open")
      assert.deepStrictEqual(yield* totals, only("failures"))
    }).pipe(Effect.provide(services))
  )

  it.effect("is classified by the classifier, which sees the response, or the error that ended it", () =>
    Effect.gen(function* () {
      const seen: Array<boolean> = []
      const client = counted(chunks("a"), {
        classify: (exit) => {
          seen.push(Exit.isSuccess(exit))
          return Outcome.failure()
        }
      })
      yield* Effect.flatMap(client.get("https://a.test"), ({ text }) => text)
      assert.deepStrictEqual(seen, [true])
      assert.deepStrictEqual(yield* totals, only("failures"))
    }).pipe(Effect.provide(services))
  )

  it.effect("is a success if its reader takes only the first part", () =>
    Effect.gen(function* () {
      const { origin } = yield* server
      const guarded = HttpClientBreaker.protect(yield* HttpClient.HttpClient, "http", { body: true, key: "one" })
      const { text } = yield* guarded.get(`${origin}/whole`)
      const error = yield* Effect.flip(Effect.provideService(text, HttpIncomingMessage.MaxBodySize, 2n as never))
      assert.include(String(error.reason._tag === "DecodeError" && error.reason.cause), "maxBytes")
      assert.deepStrictEqual(yield* totals, only("successes"))
    }).pipe(Effect.scoped, Effect.provide([services, NodeHttpClient.layerNodeHttp]))
  )

  it.effect("does not change the response", () =>
    Effect.gen(function* () {
      const response = yield* counted(chunks("a")).get("https://a.test?b=1")
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.request.url, "https://a.test?b=1")
      assert.strictEqual(
        response.pipe(({ status }) => status),
        200
      )
      assert.isTrue(HttpClientResponse.toWeb(response)._tag === "Some")
      assert.include(JSON.stringify(response), "200")
    }).pipe(Effect.provide(services))
  )

  it("names the options that are wrong", () => {
    const client = chunks()
    assert.throws(() => counted(client, { body: "yes" as never }), /body: expected true or false/)
    assert.throws(() => counted(client, { bodies: true } as never), /HttpClientBreaker.protect: bodies: unknown field/)
    assert.throws(() => counted(client, { lease: 0 }), /lease: expected a duration above 0/)
  })
})
