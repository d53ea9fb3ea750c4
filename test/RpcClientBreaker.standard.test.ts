import { assert, describe } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Stream } from "effect"
import { HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import { type RpcClient, RpcClientError, RpcTest } from "effect/rpc"
import { SocketOpenError } from "effect/socket/Socket"
import { TestClock } from "effect/testing"
import { CircuitBreaker, Deadline, Trip } from "effect-fuse"
import { RpcClientBreaker, RpcServerBreaker } from "effect-fuse/rpc"
import { NotFound, Users, usersWith } from "./support/users.ts"
import { inspect, scenario } from "./support/verbs.ts"

const calm = { trip: Trip.consecutive(100), cooldown: "10 seconds" } as const

const refused = new RpcClientError.RpcClientError({
  reason: new SocketOpenError({ kind: "Unknown", cause: "refused" })
})
const down = Exit.fail(refused)
const request = HttpClientRequest.post("http://users.test/rpc")
const gateway = (headers: Readonly<Record<string, string>>) => {
  const response = HttpClientResponse.fromWeb(request, new Response(null, { status: 503, headers }))
  const error = new HttpClientError.HttpClientError({
    reason: new HttpClientError.StatusCodeError({ request, response })
  })
  return Exit.fail(
    new RpcClientError.RpcClientError({ reason: HttpClientError.HttpClientErrorSchema.fromHttpClientError(error) })
  )
}
const unavailable = (fields: { readonly retryable: boolean; readonly retryAfter?: Duration.Duration }) =>
  Exit.fail(new RpcServerBreaker.ServiceUnavailable({ reason: "CircuitOpen", service: "database", ...fields }))
const answer = Exit.succeed("user 1")

type Answer = Exit.Exit<unknown, unknown> | "silence"
type Client = RpcClient.FromGroup<typeof Users, RpcClientError.RpcClientError>

/** Makes a client that returns these answers in order, then repeats the last answer. Counts the calls. */
const answering = (...answers: ReadonlyArray<Answer>) => {
  const seen: Array<Readonly<Record<string, string>>> = []
  const call = (_: unknown, options?: { readonly headers?: Readonly<Record<string, string>> }) =>
    Effect.suspend(() => {
      const next = answers[Math.min(seen.length, answers.length - 1)] ?? "silence"
      seen.push({ ...options?.headers })
      return next === "silence" ? Effect.never : next
    })
  const client = { GetUser: call, AddUser: call, WatchUsers: () => Stream.fromEffect(call(undefined)) }
  return { self: Effect.succeed(client as unknown as Client), seen }
}

/** Runs a call in virtual time. Returns its result. */
const ended = <A, E extends { readonly _tag: string }>(
  call: Effect.Effect<A, E>,
  within: Duration.Input = "10 minutes"
) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(
      Effect.match(call, { onFailure: ({ _tag }): string => _tag, onSuccess: String })
    )
    yield* TestClock.adjust(within)
    return yield* Fiber.join(fiber)
  })

const idempotent = { idempotent: ["GetUser"] } as const

describe("the standard client", () => {
  type Options = RpcClientBreaker.StandardOptions<never>
  const cases: ReadonlyArray<
    readonly [what: string, answers: ReadonlyArray<Answer>, calls: number, end: string, options?: Options]
  > = [
    ["calls once if that succeeds", [answer], 1, "user 1"],
    ["retries an error of the transport", [down, answer], 2, "user 1"],
    ["retries twice, then fails with the last error", [down], 3, "RpcClientError"],
    ["does not retry a typed error", [Exit.fail(new NotFound({ id: 1 }))], 1, "NotFound"],
    ["retries a timeout of 10 seconds", ["silence", answer], 2, "user 1"],
    ["fails with TimeoutError", ["silence"], 3, "TimeoutError"],
    ["retries ServiceUnavailable", [unavailable({ retryable: true }), answer], 2, "user 1"],
    [
      "retries after the time that the server asks for",
      [unavailable({ retryable: true, retryAfter: Duration.seconds(9) }), answer],
      2,
      "user 1"
    ],
    [
      "does not retry if the server asks for more than 10 seconds",
      [unavailable({ retryable: true, retryAfter: Duration.seconds(11) }), answer],
      1,
      "ServiceUnavailable"
    ],
    ["does not retry if the server forbids it", [unavailable({ retryable: false }), answer], 1, "ServiceUnavailable"],
    [
      "does not retry if the server forbids it, even if `while` allows it",
      [unavailable({ retryable: false }), answer],
      1,
      "ServiceUnavailable",
      { retry: { while: () => true } }
    ],
    [
      "does not retry if the response of a gateway asks for more than 10 seconds",
      [gateway({ "retry-after": "11" }), answer],
      1,
      "RpcClientError"
    ],
    [
      "does not retry if the response of a gateway forbids it",
      [gateway({ "x-envoy-overloaded": "true" }), answer],
      1,
      "RpcClientError"
    ],
    [
      "retries an error that `while` accepts",
      [Exit.fail(new NotFound({ id: 1 })), answer],
      2,
      "user 1",
      { retry: { while: ({ _tag }: { readonly _tag: string }) => _tag === "NotFound" } as never }
    ],
    ["retries at most `retry` times", [down], 6, "RpcClientError", { retry: 5 }],
    ["does not retry if `retry` is false", [down], 1, "RpcClientError", { retry: false }],
    ["does not retry a procedure that may not be repeated", [down], 1, "RpcClientError", { idempotent: [] }]
  ]
  for (const [what, answers, calls, end, options] of cases) {
    scenario(what, calm, function* () {
      const { seen, self } = answering(...answers)
      const client = yield* self.pipe(RpcClientBreaker.standard(Users, "api", { ...idempotent, ...options } as object))
      assert.deepStrictEqual(
        [yield* ended(client.GetUser({ id: 1 }) as Effect.Effect<string, NotFound>), seen.length],
        [end, calls]
      )
    })
  }

  for (const [source, failed] of [
    ["server", unavailable({ retryable: true, retryAfter: Duration.seconds(9) })],
    ["response of a gateway", gateway({ "retry-after": "9" })]
  ] as const) {
    scenario(`waits as long as the ${source} asks before it retries`, calm, function* () {
      const { seen, self } = answering(failed, answer)
      const client = yield* self.pipe(RpcClientBreaker.standard(Users, "api", idempotent))
      const fiber = yield* Effect.forkChild(client.GetUser({ id: 1 }))
      yield* TestClock.adjust("8 seconds")
      assert.strictEqual(seen.length, 1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(fiber), "user 1")
    })
  }

  scenario("stops its retries when the circuit opens", { ...calm, trip: Trip.consecutive(2) }, function* () {
    const { seen, self } = answering(down)
    const client = yield* self.pipe(RpcClientBreaker.standard(Users, "api", { ...idempotent, retry: 9 }))
    const error = yield* Effect.flip(client.GetUser({ id: 1 })).pipe(
      Effect.forkChild,
      Effect.flatMap((fiber) => Effect.andThen(TestClock.adjust("1 minute"), Fiber.join(fiber)))
    )
    assert.deepStrictEqual([error._tag, seen.length], ["CircuitOpen", 2])
    assert.strictEqual(error.cause, refused)
  })

  scenario("without a timeout, a call is not interrupted", calm, function* () {
    const { seen, self } = answering("silence")
    const client = yield* self.pipe(RpcClientBreaker.standard(Users, "api", { timeout: false }))
    const fiber = yield* Effect.forkChild(client.GetUser({ id: 1 }))
    yield* TestClock.adjust("1 hour")
    assert.strictEqual((yield* inspect()).inFlight, 1)
    yield* Fiber.interrupt(fiber)
    assert.strictEqual(seen.length, 1)
  })

  scenario("streams have neither a timeout nor retries", calm, function* () {
    const { seen, self } = answering("silence")
    const client = yield* self.pipe(RpcClientBreaker.standard(Users, "api", { idempotent: ["WatchUsers"] }))
    const fiber = yield* Effect.forkChild(Stream.runDrain(client.WatchUsers(undefined)))
    yield* TestClock.adjust("1 hour")
    yield* Fiber.interrupt(fiber)
    assert.strictEqual(seen.length, 1)
  })

  scenario("throws if the group does not contain an idempotent procedure", calm, function* () {
    const wrong = () =>
      RpcClientBreaker.standard(answering().self, Users, "api", { idempotent: ["GetUsers" as "GetUser"] })
    assert.throws(wrong, /RpcClientBreaker\.standard.*idempotent.*GetUsers/)
    yield* Effect.void
  })
})

describe("the headers of a call", () => {
  const attempt = "x-envoy-attempt-count"
  const millis = "x-envoy-expected-rq-timeout-ms"

  scenario("are not sent by default", calm, function* () {
    const { seen, self } = answering(answer)
    const client = yield* self.pipe(RpcClientBreaker.standard(Users, "api"))
    yield* Deadline.within(client.GetUser({ id: 1 }), "3 seconds")
    assert.deepStrictEqual(seen, [{}])
  })

  scenario("are the attempt, the remaining time and the headers of the call", calm, function* () {
    const { seen, self } = answering("silence", down, answer)
    const client = yield* self.pipe(
      RpcClientBreaker.standard(Users, "api", {
        ...idempotent,
        deadline: true,
        timeout: "1 second",
        retry: { times: 2, budget: false }
      })
    )
    const call = client.GetUser({ id: 1 }, { headers: { "X-Own": "1" } }).pipe(Deadline.within("10 seconds"))
    const fiber = yield* Effect.forkChild(call)
    yield* TestClock.adjust("5 seconds")
    assert.strictEqual(yield* Fiber.join(fiber), "user 1")
    assert.deepStrictEqual(
      seen.map((headers) => [headers["x-own"], headers[attempt]]),
      [
        ["1", "1"],
        ["1", "2"],
        ["1", "3"]
      ]
    )
    assert.strictEqual(seen[0]?.[millis], "10000")
    assert.isBelow(Number(seen[1]?.[millis]), 9_001)
  })

  scenario("without a deadline, standard sends the attempt, and protect sends no headers", calm, function* () {
    const one = answering(down, answer)
    const standard = yield* one.self.pipe(RpcClientBreaker.standard(Users, "api", { ...idempotent, deadline: true }))
    yield* ended(standard.GetUser({ id: 1 }))
    assert.deepStrictEqual(one.seen, [{ [attempt]: "1" }, { [attempt]: "2" }])
    const other = answering(answer)
    const protect = yield* other.self.pipe(RpcClientBreaker.protect(Users, "api", { deadline: true }))
    yield* protect.GetUser({ id: 1 })
    assert.deepStrictEqual(other.seen, [{}])
  })

  scenario("do not hide an answer that forbids retries, even if the call has no deadline", calm, function* () {
    const { self } = answering(unavailable({ retryable: false }))
    const client = yield* self.pipe(RpcClientBreaker.protect(Users, "api", { deadline: true }))
    assert.strictEqual((yield* Effect.flip(client.GetUser({ id: 1 })))._tag, "ServiceUnavailable")
  })

  for (const [deadline, attempt] of [
    [true, 2],
    [false, 1]
  ] as const) {
    scenario(
      `with \`deadline: ${deadline}\`, a retry is attempt ${attempt} of the calls inside it`,
      calm,
      function* () {
        const { seen, self } = answering(down, "silence")
        const looking = Effect.map(self, ({ GetUser, ...others }) => ({
          ...others,
          GetUser: (...args: Parameters<typeof GetUser>) =>
            seen.length === 0 ? GetUser(...args) : Effect.map(Deadline.attempt, String)
        }))
        const client = yield* RpcClientBreaker.standard(looking as typeof self, Users, "api", {
          ...idempotent,
          deadline
        })
        assert.strictEqual(yield* ended(client.GetUser({ id: 1 })), String(attempt))
      }
    )
  }

  scenario("of a stream are set at its first pull", calm, function* () {
    const headers = yield* Deferred.make<unknown>()
    const client = yield* RpcTest.makeClient(Users).pipe(
      RpcClientBreaker.protect(Users, "api", { deadline: true }),
      Effect.provide(
        usersWith({
          WatchUsers: (_, options) =>
            Stream.fromEffect(Effect.as(Deferred.succeed(headers, { ...options.headers }), "a"))
        })
      )
    )
    const stream = client.WatchUsers(undefined)
    yield* Deadline.within(Stream.runDrain(stream), "3 seconds")
    assert.deepStrictEqual(yield* Deferred.await(headers), { [attempt]: "1", [millis]: "3000" })
  })
})

scenario("a call is Ignored if the caller's deadline interrupts it", calm, function* () {
  const { self } = answering("silence")
  const client = yield* self.pipe(RpcClientBreaker.protect(Users, "api"))
  assert.strictEqual(yield* ended(Deadline.within(client.AddUser({ name: "a" }), "10 millis")), "TimeoutError")
  const { totals } = yield* CircuitBreaker.inspect("api")
  assert.deepStrictEqual([totals.failures, totals.ignored], [0, 1])
})
