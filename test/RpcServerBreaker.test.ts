import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Layer, pipe, Schema, Stream } from "effect"
import { Headers } from "effect/http"
import { Rpc, RpcGroup, RpcMiddleware, RpcSchema, RpcTest } from "effect/rpc"
import { TestClock } from "effect/testing"
import { BreakerStore, BulkheadFull, CircuitBreaker, CircuitOpen, Deadline, Outcome, Resilience } from "effect-fuse"
import { RpcClientBreaker, RpcServerBreaker } from "effect-fuse/rpc"
import { GuardedUsers, NotFound, usersWith } from "./support/users.ts"
import { expectState, inspect, quick, scenario, times } from "./support/verbs.ts"

type Handlers = Parameters<typeof usersWith>[0]

const open = CircuitOpen.make({
  circuit: "database",
  key: "secret tenant",
  state: "Open",
  reason: "Cooldown",
  retryAfter: Duration.seconds(30),
  openings: 1,
  detail: "5 failures in a row"
})
const late = Effect.runSync(Effect.flip(Deadline.within(Effect.never, 0)))
const full = BulkheadFull.make({ bulkhead: "pool", concurrency: 1, queue: 0 })

/** A client of a server with this middleware. */
const served = <R>(handlers: Handlers, middleware: Layer.Layer<RpcServerBreaker.Middleware, never, R>) =>
  Effect.provide(RpcTest.makeClient(GuardedUsers, { disableFatalDefects: true }), [usersWith(handlers), middleware])

const ending = (cause: Cause.Cause<unknown>): Handlers => ({
  GetUser: () => Effect.failCause(cause) as Effect.Effect<never>,
  WatchUsers: () => Stream.failCause(cause) as Stream.Stream<never>
})

describe("the answer to the caller if the handler ends with", () => {
  const answers = { service: "database", retryAfter: 30_000, retryable: true }
  const other = new RpcServerBreaker.ServiceUnavailable({ reason: "CircuitOpen", service: "far", retryable: false })
  const cases: ReadonlyArray<readonly [what: string, cause: Cause.Cause<unknown>, answer: Record<string, unknown>]> = [
    ["CircuitOpen as a defect", Cause.die(open), { reason: "CircuitOpen", ...answers }],
    ["CircuitOpen as an error", Cause.fail(open), { reason: "CircuitOpen", ...answers }],
    [
      "CircuitOpen without an end",
      Cause.die(CircuitOpen.make({ ...open, retryAfter: Duration.infinity })),
      { reason: "CircuitOpen", service: "database", retryable: true }
    ],
    [
      "CircuitOpen for more than a day",
      Cause.die(CircuitOpen.make({ ...open, retryAfter: Duration.days(9) })),
      { reason: "CircuitOpen", ...answers, retryAfter: 86_400_000 }
    ],
    ["BulkheadFull", Cause.die(full), { reason: "BulkheadFull", service: "pool", retryable: true }],
    [
      "ServiceUnavailable of another service",
      Cause.die(other),
      { reason: "CircuitOpen", service: "far", retryable: false }
    ],
    ["the error of a deadline as a defect", Cause.die(late), { reason: "DeadlineExceeded", retryable: true }],
    ["the error of a deadline", Cause.fail(late), { reason: "DeadlineExceeded", retryable: true }],
    ["two rejections", Cause.combine(Cause.die(open), Cause.die(full)), { reason: "CircuitOpen", ...answers }],
    [
      "a rejection beside an interruption",
      Cause.combine(Cause.interrupt(1), Cause.die(open)),
      { reason: "CircuitOpen", ...answers }
    ]
  ]
  for (const [what, cause, answer] of cases) {
    scenario(what, quick, function* () {
      const client = yield* served(ending(cause), RpcServerBreaker.layer())
      const errors = [
        yield* Effect.flip(client.GetUser({ id: 1 })),
        yield* Effect.flip(Stream.runDrain(client.WatchUsers(undefined)))
      ]
      for (const error of errors) {
        assert.instanceOf(error, RpcServerBreaker.ServiceUnavailable)
        assert.deepStrictEqual(
          Schema.encodeSync(RpcServerBreaker.ServiceUnavailable)(error as RpcServerBreaker.ServiceUnavailable),
          { _tag: "ServiceUnavailable", ...answer } as never
        )
      }
    })
  }

  const kept: ReadonlyArray<readonly [what: string, cause: Cause.Cause<unknown>]> = [
    ["a typed error", Cause.fail(new NotFound({ id: 1 }))],
    ["a defect", Cause.die("out of order")],
    ["a defect beside the error of a deadline", Cause.combine(Cause.die(late), Cause.die("out of order"))],
    ["its own timeout, as a defect", Cause.die(new Cause.TimeoutError("slow"))],
    ["a defect beside a rejection", Cause.combine(Cause.die(open), Cause.die("out of order"))],
    ["an interruption", Cause.interrupt(1)]
  ]
  for (const [what, cause] of kept) {
    scenario(`${what}, unchanged`, quick, function* () {
      const client = yield* served(ending(cause), RpcServerBreaker.layer())
      const exit = yield* Effect.exit(client.GetUser({ id: 1 }))
      const shown = (one: Cause.Cause<unknown>) =>
        one.reasons.map((reason) => [
          reason._tag,
          reason._tag === "Fail" ? reason.error : reason._tag === "Die" ? reason.defect : 0
        ])
      assert.deepStrictEqual(Exit.isFailure(exit) ? shown(exit.cause) : exit, shown(cause))
    })
  }

  scenario("CircuitOpen unchanged, if the procedure has it in its own schema", quick, function* () {
    const group = RpcGroup.make(
      Rpc.make("Get", { success: Schema.String, error: CircuitOpen.CircuitOpen }),
      Rpc.make("Watch", { success: RpcSchema.Stream(Schema.String, CircuitOpen.CircuitOpen) })
    ).middleware(RpcServerBreaker.Middleware)
    let asDefect = false
    const Get = () => (asDefect ? Effect.die(open) : Effect.fail(open))
    const handlers = group.toLayer({ Get, Watch: () => Stream.fail(open) })
    const client = yield* Effect.provide(RpcTest.makeClient(group), [handlers, RpcServerBreaker.layer()])
    assert.strictEqual((yield* Effect.flip(client.Get(undefined)))._tag, "CircuitOpen")
    assert.strictEqual((yield* Effect.flip(Stream.runDrain(client.Watch(undefined))))._tag, "CircuitOpen")
    asDefect = true
    assert.strictEqual((yield* Effect.flip(client.Get(undefined)))._tag, "ServiceUnavailable")
  })

  const seconds = Duration.seconds(90)
  it.each([
    [{ reason: "CircuitOpen", service: "a" }, 'The service is unavailable: its circuit "a" rejects calls'],
    [{ reason: "BulkheadFull", service: "a" }, 'The service is unavailable: its bulkhead "a" rejects calls'],
    [
      { reason: "CircuitOpen", service: "a", retryAfter: seconds },
      'The service is unavailable: its circuit "a" rejects calls, retry after 1m 30s'
    ],
    [{ reason: "CircuitOpen" }, "The service is unavailable: its circuit rejects calls"],
    [{ reason: "DeadlineExceeded" }, "The service did not answer before the deadline"],
    [
      { reason: "DeadlineExceeded", retryAfter: seconds },
      "The service did not answer before the deadline, retry after 1m 30s"
    ]
  ] as const)("has a message for %o", (fields, message) => {
    assert.strictEqual(new RpcServerBreaker.ServiceUnavailable({ ...fields, retryable: true }).message, message)
  })

  it("has bounded texts, and a message of one line without control characters", () => {
    const name = `${"x".repeat(2_000)}\u001b[31m\n`
    const error = new RpcServerBreaker.ServiceUnavailable({ reason: "CircuitOpen", service: name, retryable: true })
    assert.match(error.message, /^[ -~]{1,400}$/)
  })

  scenario("an earlier middleware rejects the call with CircuitOpen", quick, function* () {
    class Other extends RpcMiddleware.Service<Other>()("test/Other") {}
    const group = RpcGroup.make(Rpc.make("Get")).middleware(Other).middleware(RpcServerBreaker.Middleware)
    const client = yield* Effect.provide(RpcTest.makeClient(group), [
      group.toLayer({ Get: () => Effect.void }),
      Layer.succeed(Other, () => Effect.die(open)),
      RpcServerBreaker.layer()
    ])
    assert.strictEqual((yield* Effect.flip(client.Get(undefined))).service, "database")
  })

  const long = "x".repeat(10_000)
  for (const rejected of [
    CircuitOpen.make({ ...open, circuit: long }),
    BulkheadFull.make({ ...full, bulkhead: long })
  ]) {
    scenario(`a long name in ${rejected._tag} is cut before it is sent`, quick, function* () {
      const client = yield* served(ending(Cause.die(rejected)), RpcServerBreaker.layer())
      const error = yield* Effect.flip(client.GetUser({ id: 1 }))
      assert.strictEqual((error as RpcServerBreaker.ServiceUnavailable).service?.length, 256)
    })
  }

  it.effect.each([Number.MAX_VALUE, -5, 1e15])("a wait of %s ms from the wire is bounded", (retryAfter) =>
    Effect.gen(function* () {
      const decode = Schema.decodeUnknownEffect(RpcServerBreaker.ServiceUnavailable)
      const error = yield* decode({ _tag: "ServiceUnavailable", reason: "CircuitOpen", retryAfter, retryable: true })
      const millis = Duration.toMillis(error.retryAfter ?? Duration.infinity)
      assert.isTrue(millis >= 0 && millis <= 86_400_000)
    })
  )
})

describe("orUnavailable", () => {
  scenario(
    "turns the rejection of a call in the handler into an answer, and does not change other errors",
    quick,
    function* () {
      const database = (id: number) =>
        pipe(
          Effect.fail(new NotFound({ id })),
          CircuitBreaker.protect("database", { isFailure: () => true }),
          RpcServerBreaker.orUnavailable
        )
      const store = yield* Effect.context<never>()
      const client = yield* served(
        { GetUser: ({ id }) => Effect.provideContext(database(id) as Effect.Effect<never, NotFound>, store) },
        RpcServerBreaker.layer()
      )
      const tags = yield* times(
        2,
        Effect.map(Effect.flip(client.GetUser({ id: 1 })), ({ _tag }) => _tag)
      )
      assert.deepStrictEqual(tags, ["NotFound", "ServiceUnavailable"])
    }
  )
})

describe("circuits around handlers", () => {
  const dying: Handlers = { GetUser: () => Effect.die("out of order"), WatchUsers: () => Stream.die("out of order") }

  scenario("a defect opens the circuit, and the caller gets its name and wait", quick, function* () {
    const client = yield* served(dying, RpcServerBreaker.layer("api"))
    yield* Effect.exit(client.GetUser({ id: 1 }))
    const error = yield* Effect.flip(client.AddUser({ name: "a" }))
    assert.deepStrictEqual(
      [error.reason, error.service, Duration.toSeconds(error.retryAfter ?? Duration.zero)],
      ["CircuitOpen", "api", 10]
    )
  })

  scenario("a key for each procedure", quick, function* () {
    const client = yield* served(dying, RpcServerBreaker.layer("api", { key: ({ procedure }) => procedure }))
    yield* Effect.exit(client.GetUser({ id: 1 }))
    assert.strictEqual((yield* Effect.flip(client.GetUser({ id: 1 })))._tag, "ServiceUnavailable")
    assert.isTrue(Exit.isSuccess(yield* Effect.exit(client.AddUser({ name: "a" }))))
    yield* expectState("Open", { key: "GetUser" })
  })

  const outcomes: ReadonlyArray<readonly [what: string, cause: Cause.Cause<unknown>, counts: ReadonlyArray<number>]> = [
    ["a typed error is a Success", Cause.fail(new NotFound({ id: 1 })), [1, 0, 0]],
    ["a defect is a Failure", Cause.die("out of order"), [0, 1, 0]],
    ["an interruption is Ignored", Cause.interrupt(1), [0, 0, 1]],
    ["a rejection by another circuit is Ignored", Cause.die(open), [0, 0, 1]],
    ["a rejection beside a defect is a Failure", Cause.combine(Cause.die(open), Cause.die("x")), [0, 1, 0]]
  ]
  for (const [what, cause, counts] of outcomes) {
    scenario(what, {}, function* () {
      const client = yield* served(ending(cause), RpcServerBreaker.layer("api"))
      yield* Effect.exit(client.GetUser({ id: 1 }))
      const { failures, ignored, successes } = (yield* inspect()).totals
      assert.deepStrictEqual([successes, failures, ignored], counts)
    })
  }

  it.each([
    ["an answer is a Success", Exit.void, Outcome.success],
    ...outcomes.map(
      ([what, cause, [successes, failures]]) =>
        [
          what,
          Exit.failCause(cause),
          successes === 1 ? Outcome.success : failures === 1 ? Outcome.failure() : Outcome.ignored
        ] as const
    )
  ] as const)("as classify says, %s", (_, exit, outcome) => {
    assert.deepStrictEqual(RpcServerBreaker.classify(exit), outcome)
  })

  scenario("classify reads the exit of the handler", {}, function* () {
    const classify = () => Outcome.ignored
    const client = yield* served(dying, RpcServerBreaker.layer("api", { classify }))
    yield* Effect.exit(client.GetUser({ id: 1 }))
    assert.strictEqual((yield* inspect()).totals.ignored, 1)
  })

  it.effect("use the store of the layer if the handlers have no store", () =>
    Effect.gen(function* () {
      const middleware = RpcServerBreaker.layer("api", { policy: quick }).pipe(Layer.provide(BreakerStore.layerMemory))
      const client = yield* served(dying, middleware)
      yield* Effect.exit(client.GetUser({ id: 1 }))
      assert.strictEqual((yield* Effect.flip(client.GetUser({ id: 1 })))._tag, "ServiceUnavailable")
    }).pipe(Effect.scoped)
  )

  scenario("streams are neither counted nor rejected", quick, function* () {
    const client = yield* served({ ...dying, WatchUsers: () => Stream.make("a") }, RpcServerBreaker.layer("api"))
    yield* Effect.exit(client.GetUser({ id: 1 }))
    assert.deepStrictEqual(yield* Stream.runCollect(client.WatchUsers(undefined)), ["a"])
  })
})

it("an invalid option of a layer without circuits is an error that names it", () => {
  assert.throws(() => RpcServerBreaker.layer({ deadline: 7 as never }), /RpcServerBreaker\.layer: deadline/)
  assert.throws(() => RpcServerBreaker.layer({ key: "a" } as never), /RpcServerBreaker\.layer: key: unknown field/)
})

describe("the deadline of a call", () => {
  const millis = "x-envoy-expected-rq-timeout-ms"
  const attempt = "x-envoy-attempt-count"

  /** Returns the remaining time and the attempt that a handler reads. */
  const seen = (options: RpcServerBreaker.Options, headers: Readonly<Record<string, string>>) =>
    Effect.gen(function* () {
      const found = yield* Deferred.make<readonly [remaining: number, attempt: number]>()
      const look = Effect.all([Effect.map(Deadline.remaining, Duration.toMillis), Deadline.attempt])
      const client = yield* served(
        { AddUser: () => Effect.flatMap(look, (both) => Deferred.succeed(found, both)).pipe(Effect.asVoid) },
        RpcServerBreaker.layer(options)
      )
      yield* client.AddUser({ name: "a" }, { headers: Headers.fromInput(headers) })
      return yield* Deferred.await(found)
    })

  const cases: ReadonlyArray<
    readonly [
      what: string,
      headers: Readonly<Record<string, string>>,
      remaining: number,
      attempt: number,
      options?: RpcServerBreaker.Options
    ]
  > = [
    ["comes from its headers", { [millis]: "1500", [attempt]: "2" }, 1_500, 2],
    ["is at most a minute", { [millis]: "999999999" }, 60_000, 1],
    ["is at most `max`", { [millis]: "5000" }, 1_000, 1, { deadline: { max: "1 second" } }],
    ["is absent without the headers", {}, Infinity, 1],
    ["ignores invalid values", { [millis]: "-5", [attempt]: "1e3" }, Infinity, 1],
    ["ignores values that are too long", { [millis]: "9".repeat(400), [attempt]: "0" }, Infinity, 1],
    ["is not read by default", { [millis]: "1500", [attempt]: "2" }, Infinity, 1, {}]
  ]
  for (const [what, headers, remaining, number, options = { deadline: true }] of cases) {
    scenario(what, quick, function* () {
      assert.deepStrictEqual(yield* seen(options, headers), [remaining, number])
    })
  }

  scenario("interrupts the handler, and the caller gets an answer", quick, function* () {
    const stopped = yield* Deferred.make<void>()
    const hanging: Handlers = {
      AddUser: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(stopped, undefined))
    }
    const client = yield* served(hanging, RpcServerBreaker.layer({ deadline: true }))
    const fiber = yield* Effect.forkChild(Effect.flip(client.AddUser({ name: "a" }, { headers: { [millis]: "2000" } })))
    yield* TestClock.adjust("2 seconds")
    const { reason, retryable, service } = yield* Fiber.join(fiber)
    assert.deepStrictEqual(
      { reason, retryable, service },
      { reason: "DeadlineExceeded", retryable: true, service: undefined }
    )
    yield* Deferred.await(stopped)
  })

  scenario("after a retry that gave up, the answer forbids retries", quick, function* () {
    const calls = Effect.fail("down").pipe(
      Resilience.retry({ times: 1 }),
      Effect.catch(() => Effect.die(open))
    )
    const client = yield* served({ AddUser: () => calls }, RpcServerBreaker.layer({ deadline: true }))
    const fiber = yield* Effect.forkChild(Effect.flip(client.AddUser({ name: "a" })))
    yield* TestClock.adjust("1 minute")
    assert.isFalse((yield* Fiber.join(fiber)).retryable)
  })

  scenario("after a retry that gave up, the answer at the deadline forbids retries", quick, function* () {
    const calls = Effect.fail("down").pipe(
      Resilience.retry({ times: 1 }),
      Effect.catch(() => Effect.never)
    )
    const client = yield* served({ AddUser: () => calls }, RpcServerBreaker.layer({ deadline: true }))
    const call = client.AddUser({ name: "a" }, { headers: { [millis]: "5000" } })
    const fiber = yield* Effect.forkChild(Effect.flip(call))
    yield* TestClock.adjust("1 minute")
    const { reason, retryable } = yield* Fiber.join(fiber)
    assert.deepStrictEqual({ reason, retryable }, { reason: "DeadlineExceeded", retryable: false })
  })

  for (const retryable of [true, false]) {
    const inner = new RpcServerBreaker.ServiceUnavailable({ reason: "BulkheadFull", service: "pool", retryable })
    const what = retryable ? "allows" : "forbids"
    const answer = (handler: (next: Effect.Effect<void, RpcServerBreaker.ServiceUnavailable>) => Effect.Effect<void>) =>
      Effect.gen(function* () {
        const next = yield* served(ending(Cause.die(inner)), RpcServerBreaker.layer()).pipe(
          RpcClientBreaker.protect(GuardedUsers, "next", { deadline: true })
        )
        const failed = Effect.catchTag(Effect.asVoid(next.GetUser({ id: 1 })), ["NotFound", "CircuitOpen"], Effect.die)
        const client = yield* served({ AddUser: () => handler(failed) }, RpcServerBreaker.layer({ deadline: true }))
        return (yield* Effect.flip(client.AddUser({ name: "a" }))).retryable
      })

    scenario(`an answer that ${what} retries is passed on`, quick, function* () {
      assert.strictEqual(yield* answer(RpcServerBreaker.orUnavailable), retryable)
    })

    scenario(`an answer that ${what} retries decides about another rejection of the handler`, quick, function* () {
      assert.strictEqual(yield* answer(Effect.catch(() => Effect.die(open))), retryable)
    })
  }

  scenario("over RPC, the deadline of the caller reaches the handler", quick, function* () {
    const found = yield* Deferred.make<number>()
    const handlers: Handlers = {
      AddUser: () =>
        Effect.asVoid(Effect.flatMap(Deadline.remaining, (left) => Deferred.succeed(found, Duration.toMillis(left))))
    }
    const client = yield* served(handlers, RpcServerBreaker.layer({ deadline: true })).pipe(
      RpcClientBreaker.protect(GuardedUsers, "api", { deadline: true })
    )
    yield* Deadline.within(client.AddUser({ name: "a" }), "3 seconds")
    assert.strictEqual(yield* Deferred.await(found), 3_000)
  })
})
