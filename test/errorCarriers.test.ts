import { assert, describe, it } from "@effect/vitest"
import { Exit } from "effect"
import { HttpClientError, HttpClientRequest, HttpClientResponse } from "effect/http"
import { RpcClientError } from "effect/rpc"
import { Outcome } from "effect-fuse/core"
import { endingOf, forbidsRetry, hintOfError } from "../src/engine/classify.ts"

const headers = { "retry-after": "7", "x-should-retry": "false" }
const response = { status: 503, headers }

const request = HttpClientRequest.get("http://localhost/")
const ofHttp = new HttpClientError.HttpClientError({
  reason: new HttpClientError.StatusCodeError({
    request,
    response: HttpClientResponse.fromWeb(request, new Response(null, response))
  })
})
const ofRpc = new RpcClientError.RpcClientError({
  reason: HttpClientError.HttpClientErrorSchema.fromHttpClientError(ofHttp)
})

const errors: ReadonlyArray<readonly [what: string, error: unknown]> = [
  ["is a response itself", response],
  ["has a response", { response }],
  ["has a response of an AWS client", { $response: response }],
  ["has a cause with a response", { cause: { response } }],
  ["is of Effect's HttpClient", ofHttp],
  ["is of Effect's RpcClient, over HTTP", ofRpc]
]

describe.each(errors)("An error that %s", (_, error) => {
  it("has the wait of its response, forbids a retry, and counts as overload", () => {
    assert.strictEqual(hintOfError(error, 0), 7_000)
    assert.isTrue(forbidsRetry(error))
    assert.strictEqual(endingOf(Outcome.failure(), Exit.fail(error)), "Refused")
  })
})

it.each([
  [429, "Refused"],
  [503, "Refused"],
  [529, "Refused"],
  [408, "Neutral"],
  [500, "Neutral"],
  [502, "Neutral"],
  ["529", "Neutral"]
] as const)("A failure with the status %j is %s for the limit, in an error and in a response", (status, ending) => {
  assert.strictEqual(endingOf(Outcome.failure(), Exit.fail({ status })), ending)
  assert.strictEqual(endingOf(Outcome.failure(), Exit.succeed({ status })), ending)
})

const timeout = { _tag: "TimeoutError" }

const circular: { cause?: unknown; reason?: unknown } = {}
circular.cause = circular
circular.reason = circular

it("An error with itself as its cause has no wait, permits a retry, and does not count as overload", () => {
  assert.isUndefined(hintOfError(circular, 0))
  assert.isFalse(forbidsRetry(circular))
  assert.strictEqual(endingOf(Outcome.failure(), Exit.fail(circular)), "Neutral")
})

describe.each([
  ["is a timeout", timeout],
  ["has a timeout as its cause", { cause: timeout }],
  ["has a reason with a timeout as its cause", { reason: { cause: timeout } }],
  ["is of Effect's RpcClient, and its transport timed out", { reason: { cause: { cause: timeout } } }]
] as const)("An error that %s", (_, error) => {
  it("counts as a timeout for the limit, has no wait, and permits a retry", () => {
    assert.strictEqual(endingOf(Outcome.failure(), Exit.fail(error)), "TimedOut")
    assert.isUndefined(hintOfError(error, 0))
    assert.isFalse(forbidsRetry(error))
  })
})
