import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Context, Duration, Effect, ExecutionPlan, Exit, Fiber, Layer, Result, Schema, Stream } from "effect"
import { AiError, EmbeddingModel, LanguageModel, Model, Tool, Toolkit } from "effect/ai"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { AiBreaker } from "effect-fuse/ai"
import {
  answer,
  begin,
  embeddings,
  errorEvent,
  type MessagesApi,
  messagesApi,
  messagesModel,
  partly,
  type Reply,
  refusal,
  streamed
} from "./support/messagesApi.ts"

const policies = Layer.orDie(BreakerPolicy.layer({ default: { trip: Trip.consecutive(3), cooldown: "20 seconds" } }))
const services = Layer.merge(BreakerStore.layerMemory, policies)

const prompt = "Hello"
const generate = LanguageModel.generateText({ prompt })
const text = Effect.map(generate, (response) => response.text)
const deltas = Stream.filterMap(LanguageModel.streamText({ prompt }), (part) =>
  part.type === "text-delta" ? Result.succeed(part.delta) : Result.fail(part)
)
const totals = (key = "large", name = "messages") =>
  Effect.map(CircuitBreaker.inspect(name, { key }), ({ state, totals }) => {
    const { failures, ignored, rejected, successes } = totals
    return { state, failures, ignored, rejected, successes }
  })
const counted = { state: "Closed", failures: 0, ignored: 0, rejected: 0, successes: 0 }

/** Waits until a condition that depends on sockets is true. */
const until = (fact: () => boolean) =>
  Effect.repeat(
    Effect.promise(() => new Promise<void>((done) => setTimeout(done, 1))),
    { until: fact }
  )

/** The error of a call after a condition is true and `millis` have passed. The time is virtual, so that a busy machine does not look like a stall. */
const failsAfter = <A, R>(self: Effect.Effect<A, unknown, R>, fact: () => boolean, millis: number) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(failureOf(self), { startImmediately: true })
    yield* until(fact)
    yield* TestClock.adjust(millis)
    return yield* Fiber.join(fiber)
  })

/** A test with a server and the model `large` under its circuit. */
const withServer = (
  what: string,
  body: (api: MessagesApi) => Effect.Effect<unknown, unknown, LanguageModel.LanguageModel | BreakerStore.BreakerStore>,
  options?: AiBreaker.Options
) =>
  it.effect(what, () =>
    Effect.gen(function* () {
      const api = yield* messagesApi
      yield* Effect.provide(body(api), AiBreaker.layer(messagesModel(api.origin, "large"), options))
    }).pipe(Effect.scoped, Effect.provide(services))
  )

const failureOf = <A, R>(self: Effect.Effect<A, unknown, R>) =>
  Effect.map(Effect.flip(self), (error) => (AiError.isAiError(error) ? error : assert.fail(`no AiError: ${error}`)))

describe("generateText over a socket", () => {
  withServer("a success counts for the circuit of the provider and the model", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* text, "hello")
      assert.deepStrictEqual(yield* totals(), { ...counted, successes: 1 })
    })
  )

  const replies: ReadonlyArray<readonly [what: string, reply: Reply, says: object]> = [
    ["a refusal of the model", answer("", { stop_reason: "refusal" }), { successes: 1 }],
    ["an invalid prompt, 400", refusal(400, "invalid_request_error"), { successes: 1 }],
    ["an unknown model, 404", refusal(404, "not_found_error"), { successes: 1 }],
    ["a prompt that is too long, 413", refusal(413, "request_too_large"), { successes: 1 }],
    ["500", refusal(500, "api_error"), { failures: 1 }],
    ["529", refusal(529, "overloaded_error"), { failures: 1 }],
    ["429 without a time", refusal(429, "rate_limit_error"), { failures: 1 }],
    ["429 with a time", refusal(429, "rate_limit_error", { "retry-after": "7200" }), { failures: 1, state: "Open" }],
    ["no JSON", { json: "<html>" }, { failures: 1 }]
  ]
  for (const [what, reply, says] of replies) {
    withServer(`${what}: ${JSON.stringify(says)}`, (api) =>
      Effect.gen(function* () {
        api.replies = [reply]
        yield* Effect.exit(text)
        assert.deepStrictEqual(yield* totals(), { ...counted, ...says })
      })
    )
  }

  withServer(
    "after a rate limit of two hours, a call does not reach the provider, and its error has the remaining time",
    (api) =>
      Effect.gen(function* () {
        api.replies = [refusal(429, "rate_limit_error", { "retry-after": "7200" }), answer("hello")]
        const first = yield* failureOf(text)
        assert.strictEqual(first.reason._tag, "RateLimitError")
        const second = yield* failureOf(text)
        assert.strictEqual(api.models.length, 1)
        const open = AiBreaker.circuitOpen(second)
        assert.deepStrictEqual([open?.circuit, open?.key, open?.reason], ["messages", "large", "Cooldown"])
        assert.isTrue(second.isRetryable)
        assert.strictEqual(Duration.toSeconds(second.retryAfter ?? 0), 7_200)
        assert.isUndefined(AiBreaker.circuitOpen(first))
        assert.include(second.message, "messages")
        assert.isTrue(AiBreaker.isUnavailable(second))
      })
  )

  withServer(
    "maxRetryAfter limits that time",
    (api) =>
      Effect.gen(function* () {
        api.replies = [refusal(429, "rate_limit_error", { "retry-after": "7200" })]
        yield* failureOf(text)
        const { retryAfter } = yield* failureOf(text)
        assert.strictEqual(Duration.toSeconds(retryAfter ?? 0), 600)
      }),
    { maxRetryAfter: "10 minutes" }
  )

  withServer("refused credentials stop all models of the provider", (api) =>
    Effect.gen(function* () {
      api.replies = [refusal(401, "authentication_error")]
      for (let i = 0; i < 3; i++) yield* failureOf(text)
      const small = yield* Effect.provide(failureOf(text), AiBreaker.layer(messagesModel(api.origin, "small")))
      assert.deepStrictEqual(api.models, ["large", "large", "large"])
      assert.strictEqual(AiBreaker.circuitOpen(small)?.circuit, "messages")
    })
  )

  withServer("a rate limit stops one model only", (api) =>
    Effect.gen(function* () {
      api.replies = [refusal(429, "rate_limit_error", { "retry-after": "60" }), answer("small talk")]
      yield* failureOf(text)
      const small = yield* Effect.provide(text, AiBreaker.layer(messagesModel(api.origin, "small")))
      assert.strictEqual(small, "small talk")
    })
  )

  withServer(
    "a server that does not answer is a Failure after the timeout",
    (api) =>
      Effect.gen(function* () {
        api.replies = [partly([], "hang")]
        const error = yield* failsAfter(text, () => api.models.length === 1, 50)
        assert.include(error.message, "no answer arrived within 50ms")
        assert.deepStrictEqual(yield* totals(), { ...counted, failures: 1 })
      }),
    { timeout: "50 millis" }
  )

  it.effect("a server that refuses connections is a Failure", () =>
    Effect.gen(function* () {
      const { origin } = yield* Effect.scoped(messagesApi)
      const error = yield* Effect.provide(failureOf(text), AiBreaker.layer(messagesModel(origin, "large")))
      assert.strictEqual(error.reason._tag, "NetworkError")
      assert.deepStrictEqual(yield* totals(), { ...counted, failures: 1 })
    }).pipe(Effect.provide(services))
  )

  withServer("an object that does not match its schema is a Success", (api) =>
    Effect.gen(function* () {
      api.replies = [answer('{"age":"old"}'), answer('{"age":7}')]
      const object = LanguageModel.generateObject({ prompt, schema: Schema.Struct({ age: Schema.Number }) })
      assert.strictEqual((yield* failureOf(object)).reason._tag, "StructuredOutputError")
      assert.deepStrictEqual((yield* object).value, { age: 7 })
      assert.deepStrictEqual(yield* totals(), { ...counted, successes: 2 })
    })
  )
})

describe("streamText over a socket", () => {
  const collected = Stream.runCollect(deltas)

  withServer("a complete stream is a Success", (api) =>
    Effect.gen(function* () {
      api.replies = [streamed(["a", "b"])]
      assert.deepStrictEqual(yield* collected, ["a", "b"])
      assert.deepStrictEqual(yield* totals(), { ...counted, successes: 1 })
    })
  )

  const replies: ReadonlyArray<readonly [what: string, reply: Reply, says: object]> = [
    ["a refusal of the model", streamed(["no"], "refusal"), { successes: 1 }],
    ["529 before the stream", refusal(529, "overloaded_error"), { failures: 1 }],
    [
      "a rate limit before the stream",
      refusal(429, "rate_limit_error", { "retry-after": "9" }),
      { failures: 1, state: "Open" }
    ],
    ["an invalid prompt", refusal(400, "invalid_request_error"), { successes: 1 }],
    ["a stream that is cut before its first token", { events: [begin], after: "cut" }, { failures: 1 }],
    ["a stream that is cut after some tokens", partly(["a", "b"], "cut"), { failures: 1 }],
    ["a stream that ends without its finish part", partly(["a", "b"], "end"), { failures: 1 }],
    ["overload in the middle of a stream", partly(["a"], "end", [errorEvent("overloaded_error")]), { failures: 1 }],
    ["an error in the middle of a stream", partly(["a"], "end", [errorEvent("api_error")]), { failures: 1 }],
    [
      "an invalid prompt that the stream reports",
      partly([], "end", [errorEvent("invalid_request_error")]),
      { successes: 1 }
    ]
  ]
  for (const [what, reply, says] of replies) {
    withServer(`${what}: ${JSON.stringify(says)}`, (api) =>
      Effect.gen(function* () {
        api.replies = [reply]
        yield* Effect.exit(collected)
        assert.deepStrictEqual(yield* totals(), { ...counted, ...says })
      })
    )
  }

  withServer(
    "a stream that hangs before its first token is a Failure",
    (api) =>
      Effect.gen(function* () {
        api.replies = [{ events: [begin], after: "hang" }]
        const error = yield* failsAfter(collected, () => api.models.length === 1, 50)
        assert.include(error.message, "no token arrived within 50ms")
        assert.deepStrictEqual(yield* totals(), { ...counted, failures: 1 })
      }),
    { firstToken: "50 millis" }
  )

  withServer(
    "a stream that hangs after some tokens is a Failure, and these tokens have arrived",
    (api) =>
      Effect.gen(function* () {
        api.replies = [partly(["a", "b"], "hang")]
        const seen: Array<string> = []
        const reading = Stream.runForEach(deltas, (delta) => Effect.sync(() => seen.push(delta)))
        const error = yield* failsAfter(reading, () => seen.length === 2, 50)
        assert.include(error.message, "no further token arrived within 50ms")
        assert.deepStrictEqual(seen, ["a", "b"])
        assert.deepStrictEqual(yield* totals(), { ...counted, failures: 1 })
      }),
    { betweenTokens: "50 millis" }
  )

  withServer("a consumer that stops after a token is a Success", (api) =>
    Effect.gen(function* () {
      api.replies = [partly(["a", "b"], "hang")]
      assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(deltas, 1)), ["a"])
      assert.deepStrictEqual(yield* totals(), { ...counted, successes: 1 })
    })
  )

  withServer("a consumer that stops before the first token is Ignored", (api) =>
    Effect.gen(function* () {
      api.replies = [{ events: [begin], after: "hang" }]
      yield* Stream.runDrain(Stream.take(LanguageModel.streamText({ prompt }), 1))
      assert.deepStrictEqual(yield* totals(), { ...counted, ignored: 1 })
    })
  )

  withServer("a consumer that is interrupted is Ignored", (api) =>
    Effect.gen(function* () {
      api.replies = [partly(["a"], "hang")]
      let seen = 0
      const reading = Stream.runForEach(deltas, () => Effect.sync(() => seen++))
      const fiber = yield* Effect.forkChild(reading)
      yield* until(() => seen === 1)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* totals(), { ...counted, ignored: 1 })
    })
  )

  withServer("a consumer that fails is Ignored", (api) =>
    Effect.gen(function* () {
      api.replies = [partly(["a"], "hang")]
      const exit = yield* Effect.exit(Stream.runForEach(deltas, () => Effect.fail("full")))
      assert.deepStrictEqual(exit, Exit.fail("full"))
      assert.deepStrictEqual(yield* totals(), { ...counted, ignored: 1 })
    })
  )

  withServer("an open circuit rejects a stream with an AiError, without a request", (api) =>
    Effect.gen(function* () {
      api.replies = [refusal(429, "rate_limit_error", { "retry-after": "9" })]
      yield* failureOf(text)
      assert.strictEqual(AiBreaker.circuitOpen(yield* failureOf(collected))?.reason, "Cooldown")
      assert.strictEqual(api.models.length, 1)
    })
  )
})

describe("an ExecutionPlan over providers", () => {
  const over = <A, R>(
    self: Effect.Effect<A, AiError.AiError, R | LanguageModel.LanguageModel>,
    { origin }: MessagesApi,
    other: MessagesApi
  ) =>
    Effect.withExecutionPlan(
      self,
      ExecutionPlan.make(
        { provide: AiBreaker.layer(messagesModel(origin, "large")) },
        { provide: AiBreaker.layer(messagesModel(other.origin, "other", "others")), while: AiBreaker.isUnavailable }
      )
    )

  it.effect("skips a provider with a rate limit without a request, and returns to it after a reset", () =>
    Effect.gen(function* () {
      const [api, other] = [yield* messagesApi, yield* messagesApi]
      api.replies = [refusal(429, "rate_limit_error", { "retry-after": "7200" }), answer("from the first")]
      other.replies = [answer("from the second")]
      for (let i = 0; i < 5; i++) assert.strictEqual(yield* over(text, api, other), "from the second")
      assert.deepStrictEqual([api.models.length, other.models.length], [1, 5])
      yield* CircuitBreaker.reset("messages", { key: "large" })
      assert.strictEqual(yield* over(text, api, other), "from the first")
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.effect("does not send a refused prompt to the next provider", () =>
    Effect.gen(function* () {
      const [api, other] = [yield* messagesApi, yield* messagesApi]
      api.replies = [refusal(400, "invalid_request_error")]
      yield* Effect.flip(over(text, api, other))
      assert.deepStrictEqual([api.models.length, other.models.length], [1, 0])
    }).pipe(Effect.scoped, Effect.provide(services))
  )
})

describe("tools that run inside a call", () => {
  const Weather = Tool.make("weather", { success: Schema.String, failure: Schema.String })
  const tools = Toolkit.make(Weather)
  const calling = LanguageModel.make({
    generateText: () =>
      Effect.succeed([{ type: "tool-call", id: "1", name: "weather", params: {} }, finish] as Array<never>),
    streamText: () =>
      Stream.fromArray([{ type: "tool-call", id: "1", name: "weather", params: {} }, finish] as Array<never>)
  })
  const finish = { type: "finish", reason: "tool-calls", usage: { inputTokens: {}, outputTokens: {} } }
  const model = AiBreaker.layer(Model.make("messages", "large", Layer.effect(LanguageModel.LanguageModel, calling)), {
    betweenTokens: "20 millis"
  })

  it.effect.each([
    ["fails", Effect.fail("no weather")],
    ["dies", Effect.die("bug")]
  ] as const)("a tool that %s does not count for the provider", ([, handler]) =>
    Effect.gen(function* () {
      const toolkit = yield* Effect.provide(
        tools,
        tools.toLayer({ weather: () => handler as Effect.Effect<string, string> })
      )
      yield* Effect.exit(LanguageModel.generateText({ prompt, toolkit }))
      yield* Effect.exit(Stream.runDrain(LanguageModel.streamText({ prompt, toolkit })))
      const { failures, state } = yield* totals()
      assert.deepStrictEqual([failures, state], [0, "Closed"])
    }).pipe(Effect.provide(model), Effect.provide(services))
  )

  it.effect("the time of a tool does not count as a pause between tokens", () =>
    Effect.gen(function* () {
      const slow = Effect.delay(Effect.succeed("sun"), "10 seconds")
      const toolkit = yield* Effect.provide(tools, tools.toLayer({ weather: () => slow }))
      const reading = Stream.runDrain(LanguageModel.streamText({ prompt, toolkit }))
      const fiber = yield* Effect.forkChild(reading, { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* totals(), { ...counted, successes: 1 })
    }).pipe(Effect.provide(model), Effect.provide(services))
  )
})

describe("an EmbeddingModel", () => {
  const failing = AiError.make({
    module: "Provider",
    method: "embed",
    reason: new AiError.RateLimitError({ retryAfter: Duration.hours(1) })
  })
  const under = (requests: Array<number>, fails = false) =>
    AiBreaker.layer(
      embeddings((inputs) => {
        requests.push(inputs.length)
        return fails ? Effect.fail(failing) : Effect.succeed(inputs.map(() => [1]))
      }),
      { name: "messages", key: "embed" }
    )
  const embed = (n: number) =>
    EmbeddingModel.EmbeddingModel.use((model) =>
      Effect.forEach(Array.from({ length: n }), (_, i) => model.embed(`text ${i}`), { concurrency: "unbounded" })
    )

  it.effect("counts one call for each request of a batch", () =>
    Effect.gen(function* () {
      const requests: Array<number> = []
      yield* Effect.provide(embed(10), under(requests))
      assert.deepStrictEqual(requests, [10])
      // The callers resume before the request has ended.
      const after = Effect.repeat(Effect.andThen(Effect.yieldNow, totals("embed")), {
        until: (one) => one.successes > 0
      })
      assert.deepStrictEqual(yield* after, { ...counted, successes: 1 })
    }).pipe(Effect.provide(services))
  )

  it.effect("rejects embed and embedMany with an AiError after it has opened", () =>
    Effect.gen(function* () {
      const requests: Array<number> = []
      const layer = under(requests, true)
      yield* Effect.flip(Effect.provide(embed(3), layer))
      const many = EmbeddingModel.EmbeddingModel.use((model) => model.embedMany(["a", "b"]))
      for (const self of [embed(1), many] as const) {
        const error = yield* failureOf(Effect.provide(self as typeof many, layer))
        assert.strictEqual(AiBreaker.circuitOpen(error)?.key, "embed")
      }
      assert.deepStrictEqual(requests, [3])
    }).pipe(Effect.provide(services))
  )
})

it("AiBreaker.layer keeps the services, the error and the requirements of a layer, and adds BreakerStore", () => {
  class Client extends Context.Service<Client, string>()("test/Client") {}
  class Broken {
    readonly _tag = "Broken"
  }
  type Given = Layer.Layer<LanguageModel.LanguageModel, Broken, Client>
  type Expected = Layer.Layer<LanguageModel.LanguageModel, Broken, Client | BreakerStore.BreakerStore>
  const first = (given: Given) => AiBreaker.layer(given, { name: "acme" })
  const last = (given: Given) => given.pipe(AiBreaker.layer({ name: "acme" }))
  const bare = (given: Given) => given.pipe(AiBreaker.layer())
  expectTypeOf(first).returns.toEqualTypeOf<Expected>()
  expectTypeOf(last).returns.toEqualTypeOf<Expected>()
  expectTypeOf(bare).returns.toEqualTypeOf<Expected>()
  type OfModel = LanguageModel.LanguageModel | Model.ProviderName | Model.ModelName
  expectTypeOf(AiBreaker.layer(messagesModel("http://a.test", "large"))).toEqualTypeOf<
    Layer.Layer<OfModel, never, BreakerStore.BreakerStore>
  >()
  // @ts-expect-error: there is no such option
  assert.throws(() => Layer.empty.pipe(AiBreaker.layer({ firstTokens: "1 minute" })), RangeError)
})

describe("AiBreaker.layer", () => {
  const plain = Layer.effect(
    LanguageModel.LanguageModel,
    LanguageModel.make({ generateText: () => Effect.succeed([]), streamText: () => Stream.empty })
  )
  const built = <A>(layer: Layer.Layer<A, never, BreakerStore.BreakerStore>) =>
    Effect.exit(Effect.scoped(Effect.provide(Layer.build(layer), services)))

  it.effect("needs a name if the layer is not a Model", () =>
    Effect.gen(function* () {
      assert.include(String(yield* built(AiBreaker.layer(plain))), "AiBreaker.layer: name: expected the name")
      assert.isTrue(Exit.isSuccess(yield* built(AiBreaker.layer(plain, { name: "mine" }))))
      assert.include(
        String(yield* built(AiBreaker.layer(Layer.empty, { name: "a" }))),
        "a LanguageModel or of an Embed"
      )
    })
  )

  it.each([
    [{ name: "" }, "name"],
    [{ key: 1 }, "key"],
    [{ timeout: 0 }, "timeout"],
    [{ firstToken: "soon" }, "firstToken"],
    [{ betweenTokens: -1 }, "betweenTokens"],
    [{ maxRetryAfter: Infinity }, "maxRetryAfter"],
    [{ firstTokn: 1 }, "firstTokn"],
    [{ policy: { cooldown: "soon" } }, "policy.cooldown"]
  ])("rejects %o, and names the field", (options, field) => {
    assert.throws(() => AiBreaker.layer(plain, options as never), RangeError, `AiBreaker.layer: ${field}:`)
  })

  it.effect("in a pipe, uses the store and the policies of its layer, or those of the caller", () =>
    Effect.gen(function* () {
      const api = yield* messagesApi
      api.replies = [refusal(500, "api_error")]
      const model = messagesModel(api.origin, "large").pipe(AiBreaker.layer({ key: "mine" }), Layer.provide(services))
      yield* Effect.gen(function* () {
        for (let i = 0; i < 3; i++) yield* Effect.exit(text)
        assert.strictEqual(AiBreaker.circuitOpen(yield* failureOf(text))?.key, "mine")
      }).pipe(Effect.provide(model))
      const once = BreakerPolicy.layer({ default: { trip: Trip.consecutive(1) } })
      yield* Effect.gen(function* () {
        yield* Effect.exit(text)
        assert.strictEqual(
          AiBreaker.circuitOpen(yield* failureOf(text))?.reason,
          "Cooldown",
          "the policy of the caller"
        )
      }).pipe(Effect.provide(model), Effect.provide(Layer.merge(BreakerStore.layerMemory, once)))
    }).pipe(Effect.scoped)
  )
})
