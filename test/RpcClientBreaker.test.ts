import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import { Rpc, type RpcClient, RpcClientError, RpcGroup, RpcTest } from "effect/rpc"
import { SocketOpenError } from "effect/socket/Socket"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, CircuitOpen, Outcome, Tenant, Trip } from "effect-fuse"
import { RpcClientBreaker, RpcServerBreaker } from "effect-fuse/rpc"
import { Gone, NotFound, Users, usersWith } from "./support/users.ts"
import { inspect, quick, rejectionIn, scenario } from "./support/verbs.ts"

const totals = (key?: string) =>
  Effect.map(inspect({ key }), ({ totals: { failures, ignored, successes } }) => ({ successes, failures, ignored }))

const success = { successes: 1, failures: 0, ignored: 0 }
const failure = { successes: 0, failures: 1, ignored: 0 }
const ignored = { successes: 0, failures: 0, ignored: 1 }

type Client = RpcClient.FromGroup<typeof Users, RpcClientError.RpcClientError>

/** Makes a client. Its calls end with this exit. */
const ending = (exit: Exit.Exit<unknown, unknown>) =>
  Effect.succeed({
    GetUser: () => exit,
    AddUser: () => exit,
    WatchUsers: () => Stream.fromEffect(exit)
  } as unknown as Client)

const transport = (reason: RpcClientError.RpcClientError["reason"]) => new RpcClientError.RpcClientError({ reason })
const request = HttpClientRequest.post("http://users.test/rpc")
const http = (reason: HttpClientError.HttpClientErrorReason) =>
  transport(HttpClientError.HttpClientErrorSchema.fromHttpClientError(new HttpClientError.HttpClientError({ reason })))
const status = (code: number, headers = {}) =>
  http(
    new HttpClientError.StatusCodeError({
      request,
      response: HttpClientResponse.fromWeb(request, new Response(null, { status: code, headers }))
    })
  )
const unavailable = (reason: RpcServerBreaker.ServiceUnavailable["reason"], retryAfter?: Duration.Duration) =>
  new RpcServerBreaker.ServiceUnavailable({
    reason,
    service: "database",
    retryable: true,
    ...(retryAfter && { retryAfter })
  })
const httpWithoutDetails = transport(new HttpClientError.HttpClientErrorSchema({ kind: "StatusCodeError" }))
const throwing = new Proxy(
  {},
  {
    get: () => {
      throw new Error("no")
    }
  }
)
const unreadable = Object.defineProperty(new Error("out of order"), "cause", {
  get: () => {
    throw new Error("no")
  }
})
const open = CircuitOpen.make({
  circuit: "x",
  state: "Open",
  reason: "Cooldown",
  retryAfter: Duration.zero,
  openings: 1
})

describe("the end of a call:", () => {
  const cases: ReadonlyArray<readonly [what: string, exit: Exit.Exit<unknown, unknown>, outcome: typeof success]> = [
    ["an answer is a Success", Exit.succeed("user 1"), success],
    ["a typed error is a Success", Exit.fail(new NotFound({ id: 1 })), success],
    ["a typed error that is a string is a Success", Exit.fail("missing"), success],
    ["no connection is a Failure", Exit.fail(transport(new SocketOpenError({ kind: "Unknown", cause: "" }))), failure],
    [
      "an answer of another protocol is a Failure",
      Exit.fail(transport(new RpcClientError.RpcClientDefect({ message: "Error decoding message", cause: "" }))),
      failure
    ],
    [
      "a broken connection is a Failure, whatever its cause is",
      Exit.fail(
        transport(
          new RpcClientError.RpcClientDefect({
            message: "Unknown socket error",
            cause: new HttpClientError.InvalidUrlError({ request })
          })
        )
      ),
      failure
    ],
    ["no HTTP connection is a Failure", Exit.fail(http(new HttpClientError.TransportError({ request }))), failure],
    ["HTTP 503 is a Failure", Exit.fail(status(503)), failure],
    ["HTTP 413 is a Success, as in HttpClientBreaker", Exit.fail(status(413)), success],
    ["an invalid URL is Ignored", Exit.fail(http(new HttpClientError.InvalidUrlError({ request }))), ignored],
    ["HTTP 503 without its details is a Failure", Exit.fail(httpWithoutDetails), failure],
    ["a defect is a Failure", Exit.die("out of order"), failure],
    ["a defect that is an Error is a Failure", Exit.die(new Error("out of order")), failure],
    ["a defect with properties that throw is a Failure", Exit.die(throwing), failure],
    ["a defect with an unreadable cause is a Failure", Exit.die(unreadable), failure],
    [
      "a defect beside a typed error is a Failure",
      Exit.failCause(Cause.combine(Cause.fail("x"), Cause.die("y"))),
      failure
    ],
    ["an interruption is Ignored", Exit.interrupt(1), ignored],
    [
      "a typed error beside an interruption is a Success",
      Exit.failCause(Cause.combine(Cause.interrupt(1), Cause.fail("x"))),
      success
    ],
    [
      "an interruption beside a defect is a Failure",
      Exit.failCause(Cause.combine(Cause.interrupt(1), Cause.die("y"))),
      failure
    ],
    [
      "a typed error beside a rejection is a Success",
      Exit.failCause(Cause.combine(Cause.fail("x"), Cause.fail(open))),
      success
    ],
    [
      "a rejection beside a typed error is a Success",
      Exit.failCause(Cause.combine(Cause.fail(open), Cause.fail("x"))),
      success
    ],
    ["a timeout is a Failure", Exit.fail(new Cause.TimeoutError("late")), failure],
    ["a rejection by another circuit is Ignored", Exit.fail(open), ignored],
    ["an open circuit of the server is a Failure", Exit.fail(unavailable("CircuitOpen")), failure],
    ["a full bulkhead of the server is a Failure", Exit.fail(unavailable("BulkheadFull")), failure],
    ["a deadline that the server has not met is a Failure", Exit.fail(unavailable("DeadlineExceeded")), failure],
    ["a value with properties that throw is a Success", Exit.fail(throwing), success]
  ]

  for (const [what, exit, outcome] of cases) {
    scenario(what, {}, function* () {
      const client = yield* ending(exit).pipe(RpcClientBreaker.protect(Users, "api"))
      assert.deepStrictEqual(yield* Effect.exit(client.GetUser({ id: 1 })), exit)
      assert.deepStrictEqual(yield* totals(), outcome)
    })
    scenario(`in a stream, ${what}`, {}, function* () {
      const client = yield* ending(exit).pipe(RpcClientBreaker.protect(Users, "api"))
      yield* Effect.exit(Stream.runDrain(client.WatchUsers(undefined)))
      assert.deepStrictEqual(yield* totals(), outcome)
    })
    it(`as classify says, ${what}`, () => {
      const tags = { Success: success, Failure: failure, Ignored: ignored }
      assert.strictEqual(tags[RpcClientBreaker.classify(exit)._tag], outcome)
    })
  }

  it.each(["CircuitOpen", "BulkheadFull", "DeadlineExceeded"] as const)(
    "the detail of a Failure names %s",
    (reason) => {
      const outcome = RpcClientBreaker.classify(Exit.fail(unavailable(reason)))
      assert.strictEqual(outcome._tag === "Failure" && outcome.detail, `ServiceUnavailable (${reason})`)
    }
  )

  scenario("a payload that does not match its schema is Ignored", {}, function* () {
    const client = yield* RpcTest.makeClient(Users).pipe(
      RpcClientBreaker.protect(Users, "api"),
      Effect.provide(usersWith({}))
    )
    const exit = yield* Effect.exit(client.GetUser({ id: "one" as unknown as number }))
    assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
    assert.deepStrictEqual(yield* totals(), ignored)
  })

  scenario("isFailure makes a typed error a Failure, and no other error", {}, function* () {
    const isFailure = (error: NotFound | Gone) => error._tag === "NotFound"
    const client = (exit: Exit.Exit<unknown, unknown>) =>
      ending(exit).pipe(RpcClientBreaker.protect(Users, "api", { isFailure }))
    yield* Effect.exit((yield* client(Exit.fail(new NotFound({ id: 1 })))).GetUser({ id: 1 }))
    assert.deepStrictEqual(yield* totals(), failure)
    yield* Effect.exit((yield* client(Exit.fail(new Gone()))).GetUser({ id: 1 }))
    yield* Effect.exit((yield* client(Exit.fail(open))).GetUser({ id: 1 }))
    assert.deepStrictEqual(yield* totals(), { successes: 1, failures: 1, ignored: 1 })
  })

  scenario("classify reads the exit, and can call the default classifier for the remaining cases", {}, function* () {
    const client = yield* ending(Exit.fail(new Gone())).pipe(
      RpcClientBreaker.protect(Users, "api", {
        classify: (exit) => (Exit.isFailure(exit) ? Outcome.ignored : RpcClientBreaker.classify(exit))
      })
    )
    yield* Effect.exit(client.GetUser({ id: 1 }))
    assert.deepStrictEqual(yield* totals(), ignored)
  })

  it("isFailure cannot be combined with classify", () => {
    const both = { isFailure: () => true, classify: RpcClientBreaker.classify }
    assert.throws(
      () => ending(Exit.void).pipe(RpcClientBreaker.protect(Users, "api", both)),
      /isFailure.*as classify reads the whole exit/
    )
  })
})

describe("the circuit stays open for the wait that the server asks for:", () => {
  const policy = { ...quick, maxCooldown: "1 hour" } as const
  const wait = (exit: Exit.Exit<unknown, unknown>) =>
    Effect.gen(function* () {
      const client = yield* ending(exit).pipe(RpcClientBreaker.protect(Users, "api"))
      yield* Effect.exit(client.GetUser({ id: 1 }))
      return Duration.toSeconds(rejectionIn(yield* Effect.exit(client.GetUser({ id: 1 }))).retryAfter)
    })

  scenario("the retryAfter of ServiceUnavailable", policy, function* () {
    assert.strictEqual(yield* wait(Exit.fail(unavailable("CircuitOpen", Duration.minutes(2)))), 120)
  })
  scenario("the retryAfter of ServiceUnavailable, which ended a stream", policy, function* () {
    const exit = Exit.fail(unavailable("CircuitOpen", Duration.minutes(2)))
    const client = yield* ending(exit).pipe(RpcClientBreaker.protect(Users, "api"))
    yield* Effect.exit(Stream.runDrain(client.WatchUsers(undefined)))
    const rejected = rejectionIn(yield* Effect.exit(client.GetUser({ id: 1 })))
    assert.strictEqual(Duration.toSeconds(rejected.retryAfter), 120)
  })
  scenario("at most maxCooldown", policy, function* () {
    assert.strictEqual(yield* wait(Exit.fail(unavailable("CircuitOpen", Duration.days(1)))), 3_600)
  })
  scenario("Retry-After of the HTTP response, if the transport fails with it", policy, function* () {
    assert.strictEqual(yield* wait(Exit.fail(status(503, { "retry-after": "120" }))), 120)
  })
  scenario("the retryAfter of a typed error that is a Failure", policy, function* () {
    const exit = Exit.fail({ _tag: "Limited", retryAfter: Duration.minutes(3) })
    const client = yield* ending(exit).pipe(RpcClientBreaker.protect(Users, "api", { isFailure: () => true }))
    yield* Effect.exit(client.GetUser({ id: 1 }))
    const rejected = rejectionIn(yield* Effect.exit(client.GetUser({ id: 1 })))
    assert.strictEqual(Duration.toSeconds(rejected.retryAfter), 180)
  })
})

describe("a limit begins if the server is overloaded:", () => {
  const limited = { limit: true, trip: Trip.failures({ atLeast: 100_000, of: "1 minute" }) } as const
  const cases = [
    ["an open circuit", unavailable("CircuitOpen"), true],
    ["a full bulkhead", unavailable("BulkheadFull"), true],
    ["a timeout", new Cause.TimeoutError(), true],
    ["HTTP 503 of the transport", status(503), true],
    ["HTTP 500 of the transport", status(500), false],
    ["a deadline that the server has not met", unavailable("DeadlineExceeded"), false],
    ["no connection", transport(new SocketOpenError({ kind: "Unknown", cause: "" })), false]
  ] as const
  for (const [what, error, begins] of cases) {
    scenario(`${begins ? "" : "not "}after ${what}`, limited, function* () {
      const late = Effect.andThen(Effect.sleep(30), Effect.fail(error)) as unknown as Exit.Exit<never>
      const client = yield* ending(late).pipe(RpcClientBreaker.protect(Users, "api"))
      const calls = Effect.forEach(Array.from({ length: 20 }), () => Effect.exit(client.GetUser({ id: 1 })), {
        concurrency: "unbounded"
      })
      const fiber = yield* Effect.forkChild(calls, { startImmediately: true })
      yield* TestClock.adjust(30)
      yield* Fiber.join(fiber)
      assert.strictEqual((yield* inspect()).limit !== undefined, begins)
    })
  }
})

const broken = usersWith({ GetUser: () => Effect.die("out of order"), WatchUsers: () => Stream.die("out of order") })
const brokenClient = <A, E, R>(protect: (self: ReturnType<typeof makeBroken>) => Effect.Effect<A, E, R>) =>
  protect(makeBroken())
const makeBroken = () => Effect.provide(RpcTest.makeClient(Users, { disableFatalDefects: true }), broken)

describe("the circuit of a call:", () => {
  scenario("all procedures of a group share a circuit", quick, function* () {
    const client = yield* brokenClient(RpcClientBreaker.protect(Users, "api"))
    yield* Effect.exit(client.GetUser({ id: 1 }))
    rejectionIn(yield* Effect.exit(client.AddUser({ name: "a" })))
    rejectionIn(yield* Effect.exit(Stream.runDrain(client.WatchUsers(undefined))))
  })

  scenario("a key for each procedure", quick, function* () {
    const client = yield* brokenClient(RpcClientBreaker.protect(Users, "api", { key: ({ procedure }) => procedure }))
    yield* Effect.exit(client.GetUser({ id: 1 }))
    assert.strictEqual(rejectionIn(yield* Effect.exit(client.GetUser({ id: 1 }))).key, "GetUser")
    yield* client.AddUser({ name: "a" })
  })

  scenario("the payload can give the key; a call without a key uses the circuit of the name", quick, function* () {
    const client = yield* brokenClient(
      RpcClientBreaker.protect(Users, "api", {
        key: (call) => (call.procedure === "GetUser" ? `shard ${call.payload.id % 2}` : undefined)
      })
    )
    yield* Effect.exit(client.GetUser({ id: 1 }))
    assert.strictEqual(rejectionIn(yield* Effect.exit(client.GetUser({ id: 3 }))).key, "shard 1")
    assert.isUndefined(
      (yield* Effect.exit(client.GetUser({ id: 2 }))).pipe(Exit.findErrorOption, (o) =>
        o._tag === "Some" ? o.value : undefined
      )
    )
    yield* client.AddUser({ name: "a" })
  })

  scenario("each procedure can have its own key, even a stream", quick, function* () {
    const client = yield* brokenClient(
      RpcClientBreaker.protect(Users, "api", { key: ({ payload, procedure }) => `${procedure} ${payload}` })
    )
    yield* Effect.exit(Stream.runDrain(client.WatchUsers(undefined)))
    const { key } = rejectionIn(yield* Effect.exit(Stream.runDrain(client.WatchUsers(undefined))))
    assert.strictEqual(key, "WatchUsers undefined")
  })

  scenario("a procedure that is not in the group has no circuit", quick, function* () {
    const group = RpcGroup.make(Rpc.make("AddUser", { payload: { name: Schema.String } }))
    const client = yield* brokenClient(RpcClientBreaker.protect(group as unknown as typeof Users, "api"))
    yield* Effect.exit(client.GetUser({ id: 1 }))
    yield* client.AddUser({ name: "a" })
    assert.deepStrictEqual(yield* totals(), success)
  })

  scenario("the tenant of the caller", quick, function* () {
    const client = yield* brokenClient(RpcClientBreaker.protect(Users, "api"))
    yield* Tenant.within(Effect.exit(client.GetUser({ id: 1 })), "acme")
    rejectionIn(yield* Tenant.within(Effect.exit(client.GetUser({ id: 1 })), "acme"))
    yield* Tenant.within(client.AddUser({ name: "a" }), "globex")
  })

  scenario("a key that is not a string is a defect that names the option", quick, function* () {
    const client = yield* brokenClient(RpcClientBreaker.protect(Users, "api", { key: () => 7 as unknown as string }))
    const exit = yield* Effect.exit(client.GetUser({ id: 1 }))
    assert.match(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), /RpcClientBreaker\.protect: key: /)
  })

  scenario("a flat client uses the same circuits", quick, function* () {
    const client = yield* RpcTest.makeClient(Users, { flatten: true, disableFatalDefects: true }).pipe(
      RpcClientBreaker.protect(Users, "api"),
      Effect.provide(broken)
    )
    yield* Effect.exit(client("GetUser", { id: 1 }))
    rejectionIn(yield* Effect.exit(client("AddUser", { name: "a" })))
    rejectionIn(yield* Effect.exit(Stream.runDrain(client("WatchUsers", undefined))))
  })

  scenario("procedures may have any name", quick, function* () {
    const names = ["__proto__", "constructor", "\u001b[31mred\n", "a".repeat(1_000)]
    const group = RpcGroup.make(...names.map((name) => Rpc.make(name, { success: Schema.String })))
    const handlers = group.toLayer(Object.fromEntries(names.map((name) => [name, () => Effect.die(name)])) as never)
    const made = RpcTest.makeClient(group as RpcGroup.RpcGroup<Rpc.Rpc<string, Schema.Void, Schema.String>>, {
      disableFatalDefects: true
    }).pipe(Effect.provide(handlers as Layer.Layer<never>))
    const client = (yield* RpcClientBreaker.protect(made as Effect.Effect<object>, group, "api", {
      key: ({ procedure }) => procedure
    })) as unknown as Record<string, (payload?: unknown) => Effect.Effect<string>>
    for (const name of names) {
      assert.isTrue(Object.hasOwn(client, name))
      yield* Effect.exit(client[name]?.() ?? Effect.die("no method"))
      const rejected = rejectionIn(yield* Effect.exit(client[name]?.() ?? Effect.die("no method")))
      assert.match(rejected.message, /^[ -~]*$/)
    }
  })
})

describe("the store and the policies of a client", () => {
  it.effect("are provided when the client is made, unless the caller provides others", () =>
    Effect.gen(function* () {
      const client = yield* brokenClient(RpcClientBreaker.protect(Users, "api"))
      yield* Effect.exit(client.GetUser({ id: 1 }))
      rejectionIn(yield* Effect.exit(client.GetUser({ id: 1 })))
      const own = Layer.provideMerge(
        Layer.fresh(BreakerStore.layerMemory),
        Layer.orDie(BreakerPolicy.layer({ default: quick }))
      )
      const elsewhere = Effect.gen(function* () {
        const exit = yield* Effect.exit(client.GetUser({ id: 1 }))
        return [Exit.isFailure(exit) && Cause.hasDies(exit.cause), yield* CircuitBreaker.state("api")]
      })
      assert.deepStrictEqual(yield* Effect.provide(elsewhere, own), [true, "Open"])
    }).pipe(
      Effect.scoped,
      Effect.provide(BreakerStore.layerMemory),
      Effect.provide(BreakerPolicy.layer({ default: quick }))
    )
  )

  it.effect("apply to calls without a store", () =>
    Effect.gen(function* () {
      const client = yield* brokenClient(RpcClientBreaker.protect(Users, "api", { policy: quick })).pipe(
        Effect.provide(BreakerStore.layerMemory)
      )
      yield* Effect.exit(client.GetUser({ id: 1 }))
      rejectionIn(yield* Effect.exit(client.GetUser({ id: 1 })))
    }).pipe(Effect.scoped)
  )
})

describe("interruption and concurrency", () => {
  scenario("an interrupted call is Ignored, and the server stops it", quick, function* () {
    const stopped = yield* Deferred.make<void>()
    const hanging = usersWith({
      GetUser: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(stopped, undefined))
    })
    const client = yield* RpcTest.makeClient(Users).pipe(
      RpcClientBreaker.protect(Users, "api"),
      Effect.provide(hanging)
    )
    const fiber = yield* Effect.forkChild(client.GetUser({ id: 1 }), { startImmediately: true })
    yield* Effect.yieldNow
    yield* Fiber.interrupt(fiber)
    yield* Deferred.await(stopped)
    assert.deepStrictEqual(yield* totals(), ignored)
    assert.strictEqual((yield* inspect()).inFlight, 0)
  })

  scenario("a call can be interrupted while its classifier waits, and is Ignored", quick, function* () {
    const client = yield* ending(Exit.fail(new NotFound({ id: 1 }))).pipe(
      RpcClientBreaker.protect(Users, "api", { classify: () => Effect.never })
    )
    const fiber = yield* Effect.forkChild(client.GetUser({ id: 1 }), { startImmediately: true })
    yield* Fiber.interrupt(fiber)
    assert.deepStrictEqual(yield* totals(), ignored)
  })

  scenario("ten thousand calls at once are counted once each", { trip: Trip.consecutive(20_000) }, function* () {
    const handlers = usersWith({ GetUser: ({ id }) => (id % 2 === 0 ? Effect.succeed("ok") : Effect.die(id)) })
    const client = yield* RpcTest.makeClient(Users, { disableFatalDefects: true }).pipe(
      RpcClientBreaker.protect(Users, "api"),
      Effect.provide(handlers)
    )
    const ids = Array.from({ length: 10_000 }, (_, id) => id)
    yield* Effect.forEach(ids, (id) => Effect.exit(client.GetUser({ id })), { concurrency: "unbounded", discard: true })
    assert.deepStrictEqual(yield* totals(), { successes: 5_000, failures: 5_000, ignored: 0 })
    assert.strictEqual((yield* inspect()).inFlight, 0)
  })

  scenario("a discarded call succeeds when the server has received it", quick, function* () {
    const client = yield* RpcTest.makeClient(Users).pipe(
      RpcClientBreaker.protect(Users, "api"),
      Effect.provide(usersWith({ AddUser: () => Effect.never }))
    )
    yield* client.AddUser({ name: "a" }, { discard: true })
    assert.deepStrictEqual(yield* totals(), success)
  })
})
