import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Logger, pipe } from "effect"
import { AiError } from "effect/ai"
import { HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Outcome, Resilience, Trip } from "effect-fuse"
import { responding } from "./support/responding.ts"

const services = Layer.mergeAll(
  BreakerStore.layerMemory,
  Logger.layer([]),
  Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(3), cooldown: "10 seconds" } }))
)

const get = (status: number, headers?: Record<string, string>) => responding(status, headers).get("https://a.test/")
const getOk = (status: number, headers?: Record<string, string>) =>
  HttpClient.filterStatusOk(responding(status, headers)).get("https://a.test/")

const outcomes = Effect.map(CircuitBreaker.inspect("api"), ({ totals: { failures, ignored, successes } }) => ({
  failures,
  ignored,
  successes
}))
const success = { failures: 0, ignored: 0, successes: 1 }
const failure = { failures: 1, ignored: 0, successes: 0 }

describe("a response of an HttpClient counts by its status, with every way to make a call:", () => {
  const ways: ReadonlyArray<
    readonly [
      what: string,
      protect: <A, E>(call: Effect.Effect<A, E>) => Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
    ]
  > = [
    ["protect", CircuitBreaker.protect("api")],
    ["protect with isFailure", (call) => CircuitBreaker.protect(call, "api", { isFailure: () => true })],
    ["protect with isIgnored", (call) => CircuitBreaker.protect(call, "api", { isIgnored: () => false })],
    ["Resilience.standard", (call) => Resilience.standard("api", { retry: false })(call)],
    ["Resilience.breaker", (call) => Resilience.breaker("api")(call)],
    ["cascade", (call) => Resilience.cascade([{ name: "api", call }])],
    ["forEach", (call) => CircuitBreaker.forEach([1], () => call, { name: "api" })],
    [
      "admit and settle",
      (call) =>
        Effect.flatMap(CircuitBreaker.admit("api"), (permit) =>
          Effect.flatMap(Effect.exit(call), (exit) => CircuitBreaker.settle(permit, exit))
        )
    ]
  ]
  for (const [what, protect] of ways) {
    for (const [status, says] of [
      [200, success],
      [304, success],
      [404, success],
      [408, failure],
      [429, failure],
      [500, failure],
      [503, failure]
    ] as const) {
      it.effect(`${what}: ${status} is a ${says.failures === 1 ? "failure" : "success"}`, () =>
        Effect.gen(function* () {
          yield* Effect.exit(protect(get(status)))
          assert.deepStrictEqual(yield* outcomes, says)
        }).pipe(Effect.provide(services))
      )
    }
  }

  it.effect("an error because of a status counts as the status does", () =>
    Effect.gen(function* () {
      yield* Effect.exit(CircuitBreaker.protect(getOk(404), "api"))
      assert.deepStrictEqual(yield* outcomes, success)
      yield* Effect.exit(CircuitBreaker.protect(getOk(503), "api"))
      assert.deepStrictEqual(yield* outcomes, { ...success, failures: 1 })
      yield* Effect.exit(CircuitBreaker.protect(responding(200).get("no url"), "api"))
      assert.deepStrictEqual(yield* outcomes, { successes: 1, failures: 1, ignored: 1 })
    }).pipe(Effect.provide(services))
  )

  it.effect("other answers with a status are successes", () =>
    Effect.gen(function* () {
      for (const answer of [
        { status: 503 },
        { status: 503, headers: {} },
        null,
        undefined,
        503,
        "503",
        () => 503,
        []
      ]) {
        yield* CircuitBreaker.protect(Effect.succeed(answer), "api")
      }
      assert.deepStrictEqual(yield* outcomes, { ...success, successes: 8 })
    }).pipe(Effect.provide(services))
  )

  it.effect("a classifier of one's own decides alone", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.protect(get(503), "api", { classify: () => Outcome.success })
      assert.deepStrictEqual(yield* outcomes, success)
    }).pipe(Effect.provide(services))
  )
})

describe("an opening lasts as long as the dependency asks for, by", () => {
  const sdkError = (fields: object) => Effect.fail(Object.assign(new Error("busy"), fields))
  const cases: ReadonlyArray<readonly [what: string, call: Effect.Effect<unknown, unknown>, seconds: number]> = [
    ["a response", get(503, { "retry-after": "60" }), 60],
    ["a response with a fraction", get(429, { "retry-after": "90.5" }), 90.5],
    ["a response with a rate limit", get(429, { "x-ratelimit-remaining": "0", "x-ratelimit-reset": "60" }), 60],
    ["a response whose limit is not used up", get(503, { "x-ratelimit-remaining": "5", "ratelimit-reset": "60" }), 10],
    ["a response that asks for a short time", get(503, { "retry-after": "5" }), 10],
    ["a response that asks for a year, up to maxCooldown", get(503, { "retry-after": "31536000" }), 600],
    ["a StatusCodeError", getOk(429, { "retry-after": "60" }), 60],
    ["an error of a language model", Effect.fail(new AiError.RateLimitError({ retryAfter: Duration.seconds(60) })), 60],
    ["an error with milliseconds", sdkError({ retryAfter: 60_000 }), 60],
    ["an error with headers", sdkError({ status: 429, headers: new Headers({ "retry-after": "60" }) }), 60],
    ["an error with a response", sdkError({ response: { status: 429, headers: { "retry-after": "60" } } }), 60],
    ["an error with another as its cause", sdkError({ cause: { headers: { "retry-after-ms": "60000" } } }), 60],
    ["an error with nonsense", sdkError({ retryAfter: "soon", headers: 7, response: null }), 10],
    [
      "an error that cannot be read",
      Effect.fail(
        Object.defineProperty({}, "headers", {
          get: () => {
            throw new Error("no")
          }
        })
      ),
      10
    ]
  ]
  for (const [what, call, seconds] of cases) {
    it.effect(`${what}: ${seconds} s`, () =>
      Effect.gen(function* () {
        for (let i = 0; i < 3; i++) yield* Effect.exit(pipe(call, CircuitBreaker.protect("api")))
        const { retryAfter, state } = yield* CircuitBreaker.inspect("api")
        assert.deepStrictEqual([state, Duration.toSeconds(retryAfter)], ["Open", seconds])
      }).pipe(Effect.provide(services))
    )
  }

  it.effect("a classifier without a retryAfter: that of the error", () =>
    Effect.gen(function* () {
      const call = CircuitBreaker.protect(get(503, { "retry-after": "60" }), "api", {
        classify: () => Outcome.failure(),
        policy: { trip: Trip.consecutive(1) }
      })
      yield* call
      assert.strictEqual(Duration.toSeconds((yield* CircuitBreaker.inspect("api")).retryAfter), 60)
    }).pipe(Effect.provide(services))
  )

  it.effect("a classifier's retryAfter, instead of the header", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.protect(get(503, { "retry-after": "60" }), "api", {
        classify: () => Outcome.failure({ retryAfter: 0 }),
        policy: { trip: Trip.consecutive(1) }
      })
      assert.strictEqual(Duration.toSeconds((yield* CircuitBreaker.inspect("api")).retryAfter), 10)
    }).pipe(Effect.provide(services))
  )
})

describe("a retry waits at least as long as the error asks for:", () => {
  /** The times of the attempts in milliseconds, in virtual time. */
  const attempts = <E>(call: Effect.Effect<unknown, E>, options: Resilience.RetryOptions) =>
    Effect.gen(function* () {
      const at: Array<number> = []
      const noted = Effect.andThen(
        Effect.clockWith((clock) => Effect.map(clock.currentTimeMillis, (now) => void at.push(now))),
        call
      )
      yield* Effect.forkChild(Effect.exit(Resilience.retry(options as { readonly times?: number })(noted)))
      yield* TestClock.adjust("1 hour")
      return at.map((time) => time - (at[0] ?? 0))
    })
  const busy = (headers: Record<string, string>) => getOk(429, headers)

  it.effect("by two seconds", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* attempts(busy({ "retry-after": "2" }), { times: 2 }), [0, 2_000, 4_000])
    })
  )
  it.effect("not shorter than its own delay", () =>
    Effect.gen(function* () {
      const [, second = 0] = yield* attempts(busy({ "retry-after": "0" }), { times: 1 })
      assert.isAtLeast(second, 50)
    })
  )
  it.effect("not at all where that is longer than it may", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* attempts(busy({ "retry-after": "11" }), { times: 2 }), [0])
      assert.deepStrictEqual(yield* attempts(busy({ "retry-after": "3" }), { maxRetryAfter: "2 seconds" }), [0])
      assert.deepStrictEqual(
        yield* attempts(busy({ "retry-after": "60" }), { times: 1, maxRetryAfter: "1 minute" }),
        [0, 60_000]
      )
    })
  )
  it.effect("for every kind of error with a retry-after", () =>
    Effect.gen(function* () {
      const error = (fields: object) => Effect.fail(Object.assign(new Error("busy"), fields))
      for (const call of [
        Effect.fail(new AiError.RateLimitError({ retryAfter: Duration.seconds(2) })),
        error({ retryAfter: 2_000 }),
        error({ headers: { "retry-after-ms": "2000" } }),
        error({ response: new Response(null, { headers: { "retry-after": "2" } }) }),
        error({ cause: { retryAfter: Duration.seconds(2) } })
      ]) {
        assert.deepStrictEqual(yield* attempts(call, { times: 1 }), [0, 2_000])
      }
    })
  )
})
