import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Exit } from "effect"
import { AiError } from "effect/ai"
import { HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import { CircuitOpen } from "effect-fuse"
import { Outcome } from "effect-fuse/core"
import {
  defaultOutcome,
  endingOf,
  failureText,
  forbidsRetry,
  hintMillis,
  hintOf,
  hintOfError,
  isOutcome
} from "../src/engine/classify.ts"

const request = HttpClientRequest.get("http://a.test/")
const response = (status: number, headers: Record<string, string> = {}) =>
  HttpClientResponse.fromWeb(request, new Response(null, { status, headers }))
const http = (reason: HttpClientError.HttpClientErrorReason) => new HttpClientError.HttpClientError({ reason })
const status = (code: number, headers?: Record<string, string>) =>
  http(new HttpClientError.StatusCodeError({ request, response: response(code, headers) }))

const rejection = CircuitOpen.make({
  circuit: "other",
  state: "Open",
  reason: "Cooldown",
  retryAfter: Duration.hours(1),
  openings: 1
})

/** Throws when a property is read. */
const hostile = new Proxy(
  {},
  {
    get: () => {
      throw new Error("no")
    },
    has: () => {
      throw new Error("no")
    }
  }
)

const failing = (...reasons: ReadonlyArray<Cause.Cause<unknown>>) =>
  Exit.failCause(reasons.reduce((one, other) => Cause.combine(one, other)))

/** Makes an error with an id of `effect`, but without the other fields. */
const bare = (id: string, fields = {}) => ({ [id]: id, ...fields })
const httpId = "~effect/http/HttpClientError"
const aiId = "~effect/ai/AiError"

describe("the default outcome of a call", () => {
  const answer = status(413)
  const unsent = http(new HttpClientError.EncodeError({ request }))
  const plain = Outcome.failure()
  const cases: ReadonlyArray<readonly [what: string, exit: Exit.Exit<unknown, unknown>, outcome: Outcome.Outcome]> = [
    ["a response with status 500 is a Failure", Exit.succeed(response(500)), Outcome.failure({ detail: "HTTP 500" })],
    ["a response with status 413 is a Success", Exit.succeed(response(413)), Outcome.success],
    ["a value with a status, but of another kind, is a Success", Exit.succeed({ status: 500 }), Outcome.success],
    ["a value that cannot be read is a Success", Exit.succeed(hostile), Outcome.success],
    ["an error that cannot be read is a Failure", Exit.fail(hostile), plain],
    ["a text is a Failure", Exit.fail("no"), plain],
    ["an undefined error is a Failure", Exit.fail(undefined), plain],
    ["an error of HttpClient without a reason is a Failure", Exit.fail(bare(httpId)), plain],
    [
      "a StatusCodeError without a response is a Failure",
      Exit.fail(bare(httpId, { reason: { _tag: "StatusCodeError", response: { status: 413 } } })),
      plain
    ],
    ["an error of effect/ai without a reason is a Failure", Exit.fail(bare(aiId)), plain],
    ["an error of effect/ai with a text as its reason is a Failure", Exit.fail(bare(aiId, { reason: "no" })), plain],
    ["an error of effect/ai with a reason without a tag is a Failure", Exit.fail(bare(aiId, { reason: {} })), plain],
    [
      "a status of effect/ai that is a text is not used",
      Exit.fail(bare(aiId, { reason: { _tag: "UnknownError", http: { response: { status: "413" } } } })),
      Outcome.failure({ detail: "UnknownError" })
    ],
    [
      "invalid output of a module without a name is a Failure",
      Exit.fail(bare(aiId, { module: 7, reason: { _tag: "InvalidOutputError" } })),
      Outcome.failure({ detail: "InvalidOutputError" })
    ],
    [
      "a rejection that a provider wrapped is Ignored",
      Exit.fail(bare(aiId, { reason: { _tag: "InternalProviderError", cause: rejection } })),
      Outcome.ignored
    ],
    ["a defect is a Failure, even beside an answer", failing(Cause.fail(answer), Cause.die("bug")), plain],
    ["an error beside an answer is a Failure", failing(Cause.fail(answer), Cause.fail("no")), plain],
    ["an answer beside an error is a Failure", failing(Cause.fail("no"), Cause.fail(answer)), plain],
    [
      "an answer beside an unsent request is a Success",
      failing(Cause.fail(answer), Cause.fail(unsent)),
      Outcome.success
    ],
    [
      "an unsent request beside an answer is a Success",
      failing(Cause.fail(unsent), Cause.fail(answer)),
      Outcome.success
    ],
    ["an error beside a rejection is a Failure", failing(Cause.fail(rejection), Cause.fail("no")), plain],
    [
      "a rejection beside an interruption is Ignored",
      failing(Cause.interrupt(1), Cause.fail(rejection)),
      Outcome.ignored
    ]
  ]
  it.each(cases)("%s", (_, exit, outcome) => {
    assert.deepStrictEqual(defaultOutcome(exit), outcome)
  })
})

const limited = (fields: object) => bare(aiId, { reason: { _tag: "RateLimitError", ...fields } })

describe("the wait of an error is", () => {
  const headers = { "retry-after": "7" }
  const cases: ReadonlyArray<readonly [what: string, error: unknown, millis: number | undefined]> = [
    ["its retryAfter as a duration", { retryAfter: Duration.seconds(3) }, 3_000],
    ["its retryAfter as milliseconds", { retryAfter: 3_000 }, 3_000],
    ["its retryAfter as the text of a duration", { retryAfter: "3 seconds" }, 3_000],
    ["its retryAfter as the text of a header", { retryAfter: "3" }, 3_000],
    ["its retryAfter as a date", { retryAfter: "Thu, 01 Jan 1970 00:00:08 GMT" }, 3_000],
    ["its retryAfter, even if it is 0", { retryAfter: 0 }, 0],
    ["undefined if its retryAfter is negative", { retryAfter: -3_000 }, undefined],
    ["undefined if its retryAfter is an array", { retryAfter: ["3"] }, undefined],
    ["at most a day", { retryAfter: "9 days" }, 86_400_000],
    ["the wait of its response", { response: { headers } }, 7_000],
    [
      "its retryAfter if the wait of its response is shorter",
      { retryAfter: "9 seconds", response: { headers } },
      9_000
    ],
    [
      "the wait of its response if its retryAfter is shorter",
      { retryAfter: "3 seconds", response: { headers } },
      7_000
    ],
    ["its own retryAfter, not the wait of its cause", { retryAfter: "1 second", cause: { headers } }, 1_000],
    ["the wait of a cause three levels below", { cause: { reason: { cause: { headers } } } }, 7_000],
    [
      "undefined if only a cause four levels below has a wait",
      { cause: { cause: { cause: { cause: { headers } } } } },
      undefined
    ],
    ["the reset of a quota if the status is 429", { status: 429, headers: { "x-ratelimit-reset": "4" } }, 4_000],
    [
      "undefined for the reset of a quota if the status is 500",
      { status: 500, headers: { "x-ratelimit-reset": "4" } },
      undefined
    ],
    ["the reset of a quota if the status is a text", { status: "no", headers: { "x-ratelimit-reset": "4" } }, 4_000],
    ["undefined for a text", "no", undefined],
    ["undefined for undefined", undefined, undefined],
    ["undefined if the error cannot be read", hostile, undefined],
    ["the retryAfter of effect/ai, even if it is 0", limited({ retryAfter: 0, http: { response: { headers } } }), 0],
    [
      "the wait of the response of effect/ai if its retryAfter is negative",
      limited({ retryAfter: -1, http: { response: { headers } } }),
      7_000
    ],
    ["undefined for an error of effect/ai without a wait", limited({}), undefined],
    ["at most a day for an error of effect/ai", limited({ retryAfter: Duration.days(9) }), 86_400_000]
  ]
  it.each(cases)("%s", (_, error, millis) => {
    assert.strictEqual(hintOfError(error, 5_000), millis)
  })
})

describe("the wait of a call is", () => {
  const headers = { "retry-after": "7" }
  const cases: ReadonlyArray<readonly [what: string, exit: Exit.Exit<unknown, unknown>, millis: number | undefined]> = [
    ["the wait of its response, if the response is a Failure", Exit.succeed(response(503, headers)), 7_000],
    ["undefined if its response is a Success", Exit.succeed(response(404, headers)), undefined],
    ["undefined for a value that is not a response", Exit.succeed({ status: 503, headers }), undefined],
    ["undefined for a value that cannot be read", Exit.succeed(hostile), undefined],
    ["undefined for a rejection by another circuit", Exit.fail(rejection), undefined],
    ["the wait of the error beside a rejection", failing(Cause.fail(rejection), Cause.fail({ headers })), 7_000],
    ["the wait of the error beside a defect", failing(Cause.die({ retryAfter: 1 }), Cause.fail({ headers })), 7_000],
    ["undefined for a defect", Exit.die({ headers }), undefined]
  ]
  it.each(cases)("%s", (_, exit, millis) => {
    assert.strictEqual(hintOf(exit, 0), millis)
  })

  const time = { wall: () => 0 } as Parameters<typeof hintMillis>[2]
  it.each([
    ["the wait of its outcome", Outcome.failure({ retryAfter: "2 seconds" }), 2_000],
    ["the wait of its error if the outcome has no wait", Outcome.failure(), 7_000]
  ] as const)("%s", (_, outcome, millis) => {
    assert.strictEqual(hintMillis(outcome, Exit.fail({ headers }), time), millis)
  })
  it("0 if neither the outcome nor the error has a wait", () => {
    assert.strictEqual(hintMillis(Outcome.failure(), Exit.fail("no"), time), 0)
    assert.strictEqual(hintMillis(Outcome.failure(), undefined, time), 0)
  })
})

it.each([
  [{ headers: { "x-envoy-overloaded": "true" } }, true],
  [{ headers: { "x-envoy-overloaded": "" } }, true],
  [{ headers: new Headers({ "x-envoy-overloaded": "true" }) }, true],
  [{ headers: { "x-should-retry": "false" } }, true],
  [{ headers: new Headers({ "x-should-retry": "false" }) }, true],
  [{ headers: { "x-should-retry": "true" } }, false],
  [{ headers: new Headers() }, false],
  [{ headers: {} }, false],
  [{ cause: { cause: { cause: { headers: { "x-should-retry": "false" } } } } }, true],
  [{ cause: { cause: { cause: { cause: { headers: { "x-should-retry": "false" } } } } } }, false],
  ["no", false],
  [undefined, false]
] as const)("%o forbids a retry: %s", (error, forbids) => {
  assert.strictEqual(forbidsRetry(error), forbids)
})

it("an error that cannot be read does not forbid a retry", () => {
  assert.isFalse(forbidsRetry(hostile))
})

describe("for the limit, a failure is", () => {
  const refused = { status: 503 }
  const timedOut = { code: "ETIMEDOUT" }
  const cases: ReadonlyArray<
    readonly [kind: ReturnType<typeof endingOf>, what: string, exit: Exit.Exit<unknown, unknown>, overload?: boolean]
  > = [
    ["TimedOut", "if its error is a timeout", Exit.fail(timedOut)],
    ["TimedOut", "if its error is a timeout, and the outcome says overload", Exit.fail(timedOut), true],
    ["Neutral", "if its error is a timeout, but the outcome denies overload", Exit.fail(timedOut), false],
    ["Refused", "if the outcome says overload", Exit.fail("no"), true],
    ["Refused", "if its status means overload", Exit.fail(refused)],
    ["Refused", "if its statusCode means overload", Exit.fail({ statusCode: 503 })],
    ["Neutral", "if its status means overload, but the outcome denies it", Exit.fail(refused), false],
    ["Refused", "if the error beside a rejection means overload", failing(Cause.fail(rejection), Cause.fail(refused))],
    ["Refused", "if the error beside a defect means overload", failing(Cause.die("bug"), Cause.fail(refused))],
    ["Neutral", "if its defect looks like overload", Exit.die(refused)],
    ["Neutral", "if its error is a text", Exit.fail("no")],
    ["Neutral", "if its error cannot be read", Exit.fail(hostile)],
    ["Neutral", "if its value cannot be read", Exit.succeed(hostile)]
  ]
  for (const [kind, what, exit, overload] of cases) {
    it(`${kind} ${what}`, () => {
      assert.strictEqual(endingOf(Outcome.failure({ overload }), exit), kind)
    })
  }
  it("Neutral without an exit, unless the outcome says overload", () => {
    assert.strictEqual(endingOf(Outcome.failure(), undefined), "Neutral")
    assert.strictEqual(endingOf(Outcome.failure({ overload: true }), undefined), "Refused")
  })
})

const failure = { _tag: "Failure", weight: 1 }
it.each([
  [Outcome.success, true],
  [Outcome.ignored, true],
  [Outcome.failure(), true],
  [failure, true],
  [{ ...failure, weight: 1e6 }, true],
  [{ ...failure, weight: 1e6 + 1 }, false],
  [{ ...failure, weight: 0 }, false],
  [{ ...failure, weight: -1 }, false],
  [{ ...failure, weight: NaN }, false],
  [{ ...failure, weight: "1" }, false],
  [{ _tag: "Failure" }, false],
  [{ ...failure, retryAfter: "1 second" }, true],
  [{ ...failure, retryAfter: "soon" }, false],
  [{ ...failure, scope: "key" }, true],
  [{ ...failure, scope: "name" }, true],
  [{ ...failure, scope: "all" }, false],
  [{ _tag: "Other", weight: 1 }, false],
  [{}, false],
  ["Success", false],
  [null, false],
  [undefined, false]
] as const)("%o is an outcome: %s", (value, expected) => {
  assert.strictEqual(isOutcome(value), expected)
})

describe("the text of a failure is", () => {
  it.each([
    ["the detail of the classifier, without secrets", "password=a\nb", Exit.fail("no"), "password=*** b"],
    ["the text of its error", undefined, Exit.fail(new Error("refused")), "Error: refused"],
    ["the text of its error if the detail is not a text", 7, Exit.fail(new Error("refused")), "Error: refused"],
    ["a note about the classifier, for a success", undefined, Exit.succeed("secret"), "classified as a failure"],
    ["a note about the report, if the call has no exit", undefined, undefined, "reported as a failure"]
  ] as const)("%s", (_, detail, exit, text) => {
    assert.strictEqual(failureText(detail, exit), text)
  })
})

it("the wait of an error of effect/ai counts from now", () => {
  const reason = new AiError.QuotaExhaustedError({})
  const error = bare(aiId, { reason: { _tag: reason._tag, resetAt: { epochMilliseconds: 9_000 } } })
  assert.strictEqual(hintOfError(error, 5_000), 4_000)
  assert.strictEqual(hintOfError(error, 10_000), 0)
})
