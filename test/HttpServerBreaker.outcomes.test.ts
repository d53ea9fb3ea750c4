import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Layer, pipe, Schedule } from "effect"
import { HttpRouter, HttpServerError, HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "effect/http"
import { BulkheadFull, CircuitBreaker, CircuitOpen, Outcome } from "effect-fuse"
import { HttpServerBreaker } from "effect-fuse/http"
import { answer, get, serving, state, status } from "./support/httpServing.ts"
import { expectState, inspect, quick, scenario } from "./support/verbs.ts"

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

  it.live("of a route that does not exist, or of a body that cannot be parsed, is a Success", () =>
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

  it.live("of a request whose client disconnected is Ignored", () =>
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

  it.live("is read by the option `classify`", () =>
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

  scenario("counts in the circuit of the option `key`, under the option `policy`", {}, function* () {
    yield* answer({ key: "k", policy: quick })
    yield* expectState("Open", { key: "k" })
    assert.strictEqual((yield* answer({ key: "k", policy: quick })).status, 503)
    assert.strictEqual((yield* inspect()).totals.calls, 0)
  })

  scenario("is Ignored if `classify` returns Outcome.ignored", {}, function* () {
    yield* answer({ classify: () => Outcome.ignored })
    assert.strictEqual((yield* inspect()).totals.ignored, 1)
  })
})
