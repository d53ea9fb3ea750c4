import { createServer } from "node:http"
import { NodeHttpClient, NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Layer, Logger, pipe, Schedule } from "effect"
import { HttpClient, HttpClientRequest, HttpRouter, HttpServer, HttpServerResponse } from "effect/http"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Deadline, Resilience, Trip } from "effect-fuse"
import { HttpClientBreaker, HttpServerBreaker } from "effect-fuse/http"

const services = Layer.mergeAll(
  BreakerStore.layerMemory,
  NodeHttpClient.layerUndici,
  Logger.layer([]),
  Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(1_000) } }))
)

/** Serves routes on a free port, and returns the URL of the server. */
const served = <E, R>(routes: Layer.Layer<never, E, R>) =>
  Effect.gen(function* () {
    const server = HttpRouter.serve(routes as Layer.Layer<never, E, HttpRouter.HttpRouter>, {
      disableLogger: true,
      disableListenLog: true
    }).pipe(Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })))
    const { address } = Context.get(yield* Layer.build(server), HttpServer.HttpServer)
    return `http://127.0.0.1:${"port" in address ? address.port : 0}/`
  })

const serve = <E, R>(handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  served(HttpRouter.add("GET", "/", handler as Effect.Effect<HttpServerResponse.HttpServerResponse>))

type Deadlines = "with" | "without"

const isOn = (deadlines: Deadlines) => (deadlines === "with" ? { deadline: true } : {})

const get = (url: string, deadlines: Deadlines, headers: Record<string, string> = {}) =>
  Effect.flatMap(HttpClient.HttpClient, (client) => {
    const retry = { times: 2, schedule: Schedule.spaced(1), budget: false } as const
    const resilient = HttpClientBreaker.standard(client, "next", { ...isOn(deadlines), retry })
    return resilient.execute(HttpClientRequest.get(url, { headers }))
  })

const passed = ({ status }: { readonly status: number }) =>
  HttpServerResponse.empty({ status: status >= 500 ? 503 : status })

/** A service that calls another service, and responds with 503 if that call fails. */
const service = (next: string, deadlines: Deadlines) => {
  const handler = Effect.map(get(next, deadlines), passed)
  return serve(HttpServerBreaker.protect("self", isOn(deadlines))(handler))
}

/** A dependency that responds with this status, and the headers that it has received. */
const bottom = (status: number) =>
  Effect.gen(function* () {
    const seen: Array<{ readonly attempt: string | undefined; readonly millis: number | undefined }> = []
    const server = createServer((request, response) => {
      const millis = request.headers["x-envoy-expected-rq-timeout-ms"]
      seen.push({
        attempt: request.headers["x-envoy-attempt-count"]?.toString(),
        millis: millis === undefined ? undefined : Number(millis)
      })
      response.writeHead(status).end()
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.callback<void>((resume) => {
          server.closeAllConnections()
          server.close(() => resume(Effect.void))
        })
    )
    const address = server.address()
    return { seen, url: `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/` }
  })

describe("three services, each with two retries, above a dependency that is down", () => {
  it.live.each([
    { deadlines: "without", calls: 27 },
    { deadlines: "with", calls: 3 }
  ] as const)("$deadlines deadlines make $calls calls for one request", ({ calls, deadlines }) =>
    Effect.gen(function* () {
      const { seen, url } = yield* bottom(500)
      let next = url
      for (let i = 0; i < 3; i++) next = yield* service(next, deadlines)
      const client = yield* HttpClient.HttpClient
      const response = yield* client.get(next)
      assert.strictEqual(response.status, 503)
      assert.strictEqual(response.headers["x-envoy-overloaded"], deadlines === "with" ? "true" : undefined)
      assert.strictEqual(seen.length, calls)
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("they call a healthy dependency once, and no response forbids retries", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* bottom(200)
      const client = yield* HttpClient.HttpClient
      const response = yield* client.get(yield* service(url, "with"))
      assert.deepStrictEqual(
        [response.status, response.headers["x-envoy-overloaded"], seen],
        [200, undefined, [{ attempt: "1", millis: undefined }]]
      )
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("a service without retries passes x-envoy-overloaded on to its caller", () =>
    Effect.gen(function* () {
      const { url } = yield* bottom(500)
      const next = yield* service(url, "with")
      const handler = Effect.flatMap(HttpClient.HttpClient, (client) => {
        const once = HttpClientBreaker.standard(client, "next", { deadline: true, retry: false })
        return Effect.map(once.get(next), passed)
      })
      const client = yield* HttpClient.HttpClient
      const response = yield* client.get(yield* serve(HttpServerBreaker.protect("self", { deadline: true })(handler)))
      assert.deepStrictEqual([response.status, response.headers["x-envoy-overloaded"]], [503, "true"])
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("a service does not retry if its caller is retrying, and passes on the number of the attempt", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* bottom(500)
      const client = yield* HttpClient.HttpClient
      const headers = { "x-envoy-attempt-count": "2" }
      yield* client.execute(HttpClientRequest.get(yield* service(url, "with"), { headers }))
      assert.deepStrictEqual(
        seen.map(({ attempt }) => attempt),
        ["2"]
      )
    }).pipe(Effect.scoped, Effect.provide(services))
  )
})

describe("the client", () => {
  it.live("sends the attempt and the remaining time, which shrinks from attempt to attempt", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* bottom(500)
      yield* Deadline.within(get(url, "with"), "1 minute")
      assert.deepStrictEqual(
        seen.map(({ attempt }) => attempt),
        ["1", "2", "3"]
      )
      const left = seen.map(({ millis }) => millis ?? 0)
      assert.isTrue(left.every((millis, i) => millis > 0 && millis <= (left[i - 1] ?? 60_000)))
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("also counts the attempts without a deadline", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* bottom(500)
      yield* get(url, "with")
      assert.deepStrictEqual(seen, [
        { attempt: "1", millis: undefined },
        { attempt: "2", millis: undefined },
        { attempt: "3", millis: undefined }
      ])
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("does not send these headers by default", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* bottom(500)
      yield* Deadline.within(get(url, "without"), "1 minute")
      const protecting = HttpClientBreaker.protect(yield* HttpClient.HttpClient, "other")
      yield* Deadline.within(protecting.get(url), "1 minute")
      assert.deepStrictEqual(
        seen,
        Array.from({ length: 4 }, () => ({ attempt: undefined, millis: undefined }))
      )
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("of HttpClientBreaker.protect sends the headers inside a deadline", () =>
    Effect.gen(function* () {
      const { seen, url } = yield* bottom(200)
      const protecting = HttpClientBreaker.protect(yield* HttpClient.HttpClient, "other", { deadline: true })
      yield* protecting.get(url)
      yield* Deadline.within(protecting.get(url), "1 minute")
      assert.deepStrictEqual(
        seen.map(({ attempt, millis }) => [attempt, millis !== undefined]),
        [
          [undefined, false],
          ["1", true]
        ]
      )
    }).pipe(Effect.scoped, Effect.provide(services))
  )
})

describe("the server", () => {
  const readings = (headers: Record<string, string>, deadline: boolean | { readonly max: Duration.Input } = true) =>
    Effect.gen(function* () {
      const read = Effect.map(Effect.all([Deadline.remaining, Deadline.attempt]), ([left, attempt]) =>
        HttpServerResponse.jsonUnsafe({ left: Duration.isFinite(left) ? Duration.toMillis(left) : null, attempt })
      )
      const url = yield* serve(HttpServerBreaker.protect("self", { deadline })(read))
      const client = yield* HttpClient.HttpClient
      const response = yield* client.execute(HttpClientRequest.get(url, { headers }))
      return (yield* response.json) as { readonly left: number | null; readonly attempt: number }
    }).pipe(Effect.scoped, Effect.provide(services))

  const timeout = "x-envoy-expected-rq-timeout-ms"
  const attempt = "x-envoy-attempt-count"

  it.live.each([
    [{ [timeout]: "20000", [attempt]: "3" }, true, [10_000, 20_000], 3],
    [{ [timeout]: "999999999" }, true, [50_000, 60_000], 1],
    [{ [timeout]: "20000" }, { max: "10 seconds" }, [5_000, 10_000], 1],
    [{ [timeout]: "20000", [attempt]: "3" }, false, undefined, 1],
    [{}, true, undefined, 1],
    ...["0", "-5", "1e9", "soon", "", "12.5", "9999999999", "0x10"].map(
      (wrong) => [{ [timeout]: wrong, [attempt]: wrong }, true, undefined, 1] as const
    )
  ] as const)("reads %j with deadline: %j", ([headers, deadline, between, count]) =>
    Effect.gen(function* () {
      const { attempt, left } = yield* readings(headers as Record<string, string>, deadline)
      assert.strictEqual(attempt, count)
      if (between === undefined) assert.isNull(left)
      else assert.isTrue(left !== null && left > between[0] && left <= between[1], String(left))
    })
  )

  const down = Effect.fail("down")
  const giving = {
    "whose retries fail": pipe(down, Resilience.retry({ times: 1, schedule: Schedule.spaced(1) })),
    "whose retry opens its circuit": pipe(
      down,
      CircuitBreaker.protect("bank", { policy: { trip: Trip.consecutive(1) } }),
      Resilience.retry({ times: 1, schedule: Schedule.spaced(1) })
    ),
    "that fails without a retry": down,
    "that recovers": pipe(
      down,
      Resilience.retry({ times: 1, schedule: Schedule.spaced(1) }),
      Effect.orElseSucceed(() => HttpServerResponse.empty())
    )
  }

  describe.each(["layer", "middleware", "protect"] as const)("with %s", (how) => {
    it.live.each(Object.keys(giving) as ReadonlyArray<keyof typeof giving>)(
      "tells the caller not to retry only after failed retries: a handler %s",
      (which) =>
        Effect.gen(function* () {
          const handler = giving[which] as Effect.Effect<HttpServerResponse.HttpServerResponse>
          const options = { deadline: true } as const
          const route = HttpRouter.add(
            "GET",
            "/",
            how === "protect" ? HttpServerBreaker.protect("self", options)(handler) : handler
          )
          const routes =
            how === "layer"
              ? Layer.mergeAll(route, HttpServerBreaker.layer("self", options))
              : how === "middleware"
                ? Layer.provide(route, HttpServerBreaker.middleware("self", options).layer)
                : route
          const client = yield* HttpClient.HttpClient
          const { headers, status } = yield* client.get(yield* served(routes))
          const isOpen = which === "whose retry opens its circuit"
          assert.strictEqual(status >= 500, which !== "that recovers")
          const forbids = which === "whose retries fail" || isOpen
          assert.strictEqual(headers["x-envoy-overloaded"], forbids ? "true" : undefined)
        }).pipe(Effect.scoped, Effect.provide(services))
    )
  })

  it.live("interrupts the handler at the deadline, and responds with 504", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const hanging = Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      const url = yield* serve(HttpServerBreaker.protect("self", { deadline: true })(hanging))
      const client = yield* HttpClient.HttpClient
      const response = yield* client.execute(HttpClientRequest.get(url, { headers: { [timeout]: "20" } }))
      yield* Deferred.await(interrupted)
      assert.deepStrictEqual([response.status, yield* response.json], [504, { error: "deadline_exceeded" }])
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live(
    "a caller with a very short deadline does not open the circuit of a handler that turns failures into answers",
    () =>
      Effect.gen(function* () {
        const handler = pipe(
          Effect.never,
          Resilience.timeout("10 seconds"),
          Effect.orElseSucceed(() => HttpServerResponse.empty({ status: 503 }))
        )
        const policy = { trip: Trip.consecutive(1) }
        const url = yield* serve(HttpServerBreaker.protect("self", { deadline: true, policy })(handler))
        const client = yield* HttpClient.HttpClient
        yield* client.execute(HttpClientRequest.get(url, { headers: { [timeout]: "1" } }))
        assert.strictEqual(yield* CircuitBreaker.state("self"), "Closed")
      }).pipe(Effect.scoped, Effect.provide(services))
  )

  const cut = Deadline.within(Effect.never, "1 millis")
  it.live.each([
    ["an error", cut],
    ["a defect", Effect.orDie(cut)]
  ] as const)("responds with 504 if a call in the handler ended at the deadline: %s", ([, handler]) =>
    Effect.gen(function* () {
      const url = yield* serve(HttpServerBreaker.protect("self", { deadline: true })(handler))
      const client = yield* HttpClient.HttpClient
      const response = yield* client.execute(HttpClientRequest.get(url, { headers: { [timeout]: "20000" } }))
      assert.deepStrictEqual([response.status, yield* response.json], [504, { error: "deadline_exceeded" }])
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live.each([
    ["600 millis", "a defect", [["TimeoutError: The deadline of '600ms' is over"], 0]],
    ["600 millis", "an error", [["TimeoutError: The deadline of '600ms' is over"], 0]],
    ["1 millis", "a defect", [[], 1]],
    ["1 millis", "an error", [[], 1]]
  ] as const)(
    "if a deadline of %s ended the handler with %s, the time of the handler decides its outcome",
    ([time, how, expected]) =>
      Effect.gen(function* () {
        const late = Deadline.within(Effect.never, time)
        const handler = how === "a defect" ? Effect.orDie(late) : late
        const url = yield* serve(HttpServerBreaker.protect("self", { deadline: true })(handler))
        const client = yield* HttpClient.HttpClient
        yield* client.execute(HttpClientRequest.get(url, { headers: { [timeout]: "20000" } }))
        const { lastFailures, totals } = yield* CircuitBreaker.inspect("self")
        const found: unknown = [lastFailures.map(({ error }) => error), totals.ignored]
        assert.deepStrictEqual(found, expected)
      }).pipe(Effect.scoped, Effect.provide(services))
  )
})
