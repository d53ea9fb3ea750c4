import { assert, describe, it } from "@effect/vitest"
import { Cause, DateTime, Duration, Effect, Exit } from "effect"
import { AiError } from "effect/ai"
import { HttpClientError, HttpClientRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { CircuitBreaker, Outcome, Trip } from "effect-fuse"
import { AiBreaker } from "effect-fuse/ai"
import { inspect, quick, reject, scenario } from "./support/verbs.ts"

const make = (reason: AiError.AiErrorReason) => AiError.make({ module: "Provider", method: "generateText", reason })
const http = (status: number, headers: Record<string, string> = {}) => ({ response: { status, headers } })
const description = "no"
const unsent = HttpClientRequest.get("http://a.test/v1?key=secret")

type Says = "Success" | "Ignored" | Partial<Omit<Outcome.Failure, "_tag">>

const reasons: ReadonlyArray<readonly [what: string, reason: AiError.AiErrorReason, says: Says]> = [
  ["a refusal of the content", new AiError.ContentPolicyError({ description }), "Success"],
  ["an invalid request", new AiError.InvalidRequestError({ description, http: http(400) }), "Success"],
  ["an invalid request that was not sent", new AiError.InvalidRequestError({ description }), "Success"],
  ["an unknown model", new AiError.InvalidRequestError({ description, http: http(404) }), "Success"],
  [
    "an object that does not match its schema",
    new AiError.StructuredOutputError({ description, responseText: "{" }),
    "Success"
  ],
  ["a call of an unknown tool", new AiError.ToolNotFoundError({ toolName: "a", availableTools: [] }), "Success"],
  ["invalid parameters of a tool", new AiError.ToolParameterValidationError({ toolName: "a", description }), "Success"],
  [
    "a response that cannot be decoded",
    new AiError.InvalidResponseError({ description }),
    { detail: "InvalidResponseError" }
  ],
  [
    "a response that cannot be decoded, with status 200",
    new AiError.InvalidResponseError({ description, http: http(200) }),
    { detail: "InvalidResponseError (HTTP 200)" }
  ],
  ["an unsupported schema", new AiError.UnsupportedSchemaError({ description }), "Ignored"],
  ["an invalid result of a tool", new AiError.InvalidToolResultError({ toolName: "a", description }), "Ignored"],
  [
    "a result of a tool that cannot be encoded",
    new AiError.ToolResultEncodingError({ toolName: "a", toolResult: 1, description }),
    "Ignored"
  ],
  ["a wrong tool", new AiError.ToolConfigurationError({ toolName: "a", description }), "Ignored"],
  ["a missing toolkit", new AiError.ToolkitRequiredError({ pendingApprovals: [] }), "Ignored"],
  ["invalid input of the user", new AiError.InvalidUserInputError({ description }), "Ignored"],
  [
    "a rate limit",
    new AiError.RateLimitError({ http: http(429) }),
    { overload: true, opens: true, detail: "RateLimitError (HTTP 429)" }
  ],
  [
    "an exhausted quota",
    new AiError.QuotaExhaustedError({}),
    { scope: "name", opens: true, detail: "QuotaExhaustedError" }
  ],
  [
    "a refused key",
    new AiError.AuthenticationError({ kind: "InvalidKey", http: http(401) }),
    { scope: "name", detail: "AuthenticationError (HTTP 401)" }
  ],
  [
    "a missing permission",
    new AiError.AuthenticationError({ kind: "InsufficientPermissions" }),
    { scope: "key", detail: "AuthenticationError" }
  ],
  [
    "an error of the provider",
    new AiError.InternalProviderError({ description, http: http(500) }),
    { detail: "InternalProviderError (HTTP 500)" }
  ],
  [
    "an error of the provider with another status",
    new AiError.InternalProviderError({ description, http: http(404) }),
    { detail: "InternalProviderError (HTTP 404)" }
  ],
  [
    "overload, 529",
    new AiError.InternalProviderError({ description, http: http(529) }),
    { overload: true, detail: "InternalProviderError (HTTP 529)" }
  ],
  [
    "overload, 503",
    new AiError.InternalProviderError({ description, http: http(503) }),
    { overload: true, detail: "InternalProviderError (HTTP 503)" }
  ],
  [
    "no connection",
    AiError.NetworkError.fromRequestError(new HttpClientError.TransportError({ request: unsent })),
    { detail: "NetworkError" }
  ],
  [
    "a body that cannot be encoded",
    AiError.NetworkError.fromRequestError(new HttpClientError.EncodeError({ request: unsent })),
    "Ignored"
  ],
  [
    "an invalid URL",
    AiError.NetworkError.fromRequestError(new HttpClientError.InvalidUrlError({ request: unsent })),
    "Ignored"
  ],
  ["an unknown error", new AiError.UnknownError({}), { detail: "UnknownError" }],
  [
    "an unknown error with status 402",
    new AiError.UnknownError({ http: http(402) }),
    { scope: "name", detail: "UnknownError (HTTP 402)" }
  ],
  [
    "an unknown error with status 408",
    new AiError.UnknownError({ http: http(408) }),
    { detail: "UnknownError (HTTP 408)" }
  ],
  [
    "an unknown error with status 401",
    new AiError.UnknownError({ http: http(401) }),
    { scope: "name", detail: "UnknownError (HTTP 401)" }
  ],
  [
    "an unknown error with status 429",
    new AiError.UnknownError({ http: http(429) }),
    { overload: true, detail: "UnknownError (HTTP 429)" }
  ],
  [
    "an unknown error with status 500",
    new AiError.UnknownError({ http: http(500) }),
    { detail: "UnknownError (HTTP 500)" }
  ],
  [
    "an unknown error with status 529",
    new AiError.UnknownError({ http: http(529) }),
    { overload: true, detail: "UnknownError (HTTP 529)" }
  ],
  ["an unknown error with status 413", new AiError.UnknownError({ http: http(413) }), "Success"]
]

const expected = (says: Says): Outcome.Outcome =>
  typeof says === "string" ? (says === "Success" ? Outcome.success : Outcome.ignored) : Outcome.failure(says)

describe("the outcome of an error of effect/ai", () => {
  it.each(reasons)("%s", (_, reason, says) => {
    assert.deepStrictEqual(AiBreaker.classify(Exit.fail(make(reason))), expected(says))
    assert.deepStrictEqual(AiBreaker.classify(Exit.fail(reason)), expected(says), "the reason alone")
  })

  it.each([
    ["LanguageModel", Outcome.success],
    ["AnthropicLanguageModel", Outcome.success],
    ["OpenAiEmbeddingModel", Outcome.success],
    ["AnthropicClient", Outcome.failure({ detail: "InvalidOutputError" })]
  ])("invalid output, by %s", (module, outcome) => {
    const reason = new AiError.InvalidOutputError({ description })
    const error = AiError.make({ module, method: "generateText", reason })
    assert.deepStrictEqual(AiBreaker.classify(Exit.fail(error)), outcome)
    assert.deepStrictEqual(AiBreaker.classify(Exit.fail(reason)), Outcome.ignored, "the reason alone")
  })

  it("the table has every kind of error", () => {
    const kinds = new Set(AiError.AiErrorReason.members.map((member) => member.fields._tag.schema.literal))
    assert.deepStrictEqual(new Set([...reasons.map(([, { _tag }]) => _tag), "InvalidOutputError"]), kinds)
  })

  it("an answer is a Success, a defect a Failure, an interruption is Ignored", () => {
    assert.deepStrictEqual(AiBreaker.classify(Exit.succeed("text")), Outcome.success)
    assert.strictEqual(AiBreaker.classify(Exit.die("bug"))._tag, "Failure")
    assert.deepStrictEqual(AiBreaker.classify(Exit.failCause(Cause.interrupt())), Outcome.ignored)
  })

  scenario("inspect shows the kind of the error, but no URL", quick, function* () {
    const refused = new HttpClientError.TransportError({ request: unsent })
    yield* Effect.exit(CircuitBreaker.protect(Effect.fail(make(AiError.NetworkError.fromRequestError(refused))), "api"))
    const { lastFailures } = yield* inspect()
    assert.deepStrictEqual(
      lastFailures.map(({ error }) => error),
      ["NetworkError"]
    )
  })
})

describe("CircuitBreaker.protect around a call of a model", () => {
  const five = { trip: Trip.consecutive(5), cooldown: "30 seconds" } as const
  const failing = (reason: AiError.AiErrorReason) =>
    Effect.exit(CircuitBreaker.protect(Effect.fail(make(reason)), "api"))

  scenario("stays closed after refusals", five, function* () {
    for (let i = 0; i < 20; i++) yield* failing(new AiError.ContentPolicyError({ description }))
    const { state, totals } = yield* inspect()
    assert.deepStrictEqual([state, totals.successes], ["Closed", 20])
  })

  const hints: ReadonlyArray<readonly [what: string, reason: AiError.AiErrorReason, seconds: number]> = [
    ["shorter than the cooldown", new AiError.RateLimitError({ retryAfter: Duration.seconds(2) }), 2],
    ["of hours, longer than maxCooldown", new AiError.RateLimitError({ retryAfter: Duration.hours(3) }), 10_800],
    ["of more than a day, which is one day", new AiError.RateLimitError({ retryAfter: Duration.days(9) }), 86_400],
    ["that is only in a header", new AiError.RateLimitError({ http: http(429, { "retry-after": "90" }) }), 90],
    ["that is a time", new AiError.QuotaExhaustedError({ resetAt: DateTime.makeUnsafe(7_200_000) }), 7_200]
  ]
  for (const [what, reason, seconds] of hints) {
    scenario(`opens at once for exactly the time that the provider asks for: a time ${what}`, five, function* () {
      yield* failing(reason)
      const { retryAfter } = yield* reject()
      assert.strictEqual(Duration.toSeconds(retryAfter), seconds)
    })
  }

  scenario("counts a rate limit without a time as one failure", five, function* () {
    for (let i = 0; i < 4; i++) yield* failing(new AiError.RateLimitError({}))
    assert.strictEqual((yield* inspect()).state, "Closed")
    yield* failing(new AiError.RateLimitError({}))
    assert.strictEqual(Duration.toSeconds((yield* reject()).retryAfter), 30)
  })

  scenario("opens again for the time of a refused probe, and closes when a probe is answered", five, function* () {
    yield* failing(new AiError.RateLimitError({ retryAfter: Duration.seconds(2) }))
    yield* TestClock.adjust("2 seconds")
    yield* failing(new AiError.RateLimitError({ retryAfter: Duration.hours(1) }))
    assert.strictEqual(Duration.toSeconds((yield* reject()).retryAfter), 3_600)
    yield* TestClock.adjust("1 hour")
    yield* failing(new AiError.ContentPolicyError({ description }))
    assert.strictEqual((yield* inspect()).state, "Closed")
  })

  scenario(
    "with a limit, a rate limit with a time opens the circuit although other calls succeed",
    { limit: true },
    function* () {
      yield* CircuitBreaker.protect(Effect.void, "api")
      yield* failing(new AiError.RateLimitError({ retryAfter: Duration.minutes(1) }))
      assert.strictEqual(Duration.toSeconds((yield* reject()).retryAfter), 60)
    }
  )

  scenario(
    "an exhausted quota with a time opens the circuit of the name, for the calls of all keys",
    five,
    function* () {
      const quota = make(new AiError.QuotaExhaustedError({ resetAt: DateTime.makeUnsafe(3_600_000) }))
      yield* Effect.exit(CircuitBreaker.protect(Effect.fail(quota), "api", { key: "large" }))
      const { circuit, key, retryAfter } = yield* reject({ key: "small" })
      assert.deepStrictEqual([circuit, key, Duration.toSeconds(retryAfter)], ["api", undefined, 3_600])
    }
  )

  scenario("refused credentials open the circuit of the name when its trip is reached", five, function* () {
    const refused = make(new AiError.AuthenticationError({ kind: "InvalidKey" }))
    for (let i = 0; i < 5; i++)
      yield* Effect.exit(CircuitBreaker.protect(Effect.fail(refused), "api", { key: `m${i % 2}` }))
    assert.strictEqual((yield* inspect()).state, "Open")
    assert.strictEqual((yield* inspect({ key: "m0" })).totals.failures, 3)
  })
})

describe("Outcome.failure({ opens: true })", () => {
  const opens = (retryAfter?: Duration.Input) => () => Outcome.failure({ opens: true, retryAfter })
  const refused = (classify: () => Outcome.Outcome) =>
    Effect.exit(CircuitBreaker.protect(Effect.fail("no"), "api", { classify }))

  scenario("opens for its retryAfter, at most 31 days", { trip: Trip.consecutive(5) }, function* () {
    yield* refused(opens("2 hours"))
    assert.strictEqual(Duration.toHours((yield* reject()).retryAfter), 2)
    yield* CircuitBreaker.reset("api")
    yield* refused(opens(Duration.infinity))
    assert.strictEqual(Duration.toDays((yield* reject()).retryAfter), 31)
  })

  scenario(
    "without a retryAfter counts as any other failure",
    { trip: Trip.consecutive(2), cooldown: "9 seconds" },
    function* () {
      yield* refused(opens())
      assert.strictEqual((yield* inspect()).state, "Closed")
      yield* refused(opens())
      assert.strictEqual(Duration.toSeconds((yield* reject()).retryAfter), 9)
    }
  )

  scenario("does not extend a later opening", { trip: Trip.consecutive(1), cooldown: "9 seconds" }, function* () {
    yield* refused(opens("1 minute"))
    yield* CircuitBreaker.reset("api")
    yield* Effect.exit(CircuitBreaker.protect(Effect.fail("no"), "api"))
    assert.strictEqual(Duration.toSeconds((yield* reject()).retryAfter), 9)
  })
})

it("AiBreaker.isUnavailable accepts failures, but not refusals or mistakes of the caller", () => {
  for (const [what, reason, says] of reasons) {
    assert.strictEqual(AiBreaker.isUnavailable(make(reason)), typeof says === "object", what)
  }
})
