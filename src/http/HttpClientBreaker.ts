/**
 * Circuits around Effect's `HttpClient`: one for each origin, or for whatever else you say.
 *
 * ```ts
 * import { Effect, pipe } from "effect"
 * import { HttpClient, HttpClientResponse } from "effect/http"
 * import { BreakerStore } from "effect-fuse"
 * import { HttpClientBreaker } from "effect-fuse/http"
 *
 * const down = HttpClient.make((request) =>
 *   Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, { status: 503, headers: { "retry-after": "120" } })))
 * )
 * const client = pipe(down, HttpClientBreaker.protect("http"))
 *
 * const program = Effect.gen(function* () {
 *   for (let i = 0; i < 5; i++) yield* client.get("https://example.com/items")
 *   return yield* Effect.flip(client.get("https://example.com/others"))
 * })
 * const open = await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory))
 * open._tag === "CircuitOpen" && open.key // => "https://example.com"
 * ```
 *
 * Put it on the client before what retries (`HttpClient.retryTransient` after it in the pipe), so that each attempt is counted and
 * an open circuit ends the attempts. It sees the response's headers; with `body: true` also a body that breaks off later.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import type * as BreakerPolicy from "../BreakerPolicy.ts"
import type { BreakerStore } from "../BreakerStore.ts"
import type { CircuitOpen } from "../CircuitOpen.ts"
import type { Call } from "../internal/engine/call.ts"
import { defaultOutcome } from "../internal/engine/reading.ts"
import { onlyFields } from "../internal/fields.ts"
import { counted, hasBody } from "../internal/http/countedBody.ts"
import { failureOf } from "../internal/http/failureOf.ts"
import { optionalFlag, optionalFunction, optionalText } from "../internal/service/options.ts"
import { guard, guardBeyond, leaseOf, type Subject, subject } from "../internal/service/protect.ts"
import * as Outcome from "../Outcome.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options<in E, out R = never> {
  /**
   * Which circuit of the name: a text for all requests, or a function of the request. Default its origin. Requests for which
   * there is none share the circuit of the name alone. Keys that come from outside are bounded by the store.
   */
  readonly key?: string | ((request: HttpClientRequest.HttpClientRequest) => string | undefined) | undefined
  /** What differs from the policy that `BreakerPolicy` has for this name. */
  readonly policy?: BreakerPolicy.Input | undefined
  /** Reads the end of a request, or of its body where that counts. Default {@link classify}, to which it may leave the rest. */
  readonly classify?:
    | ((
        exit: Exit.Exit<HttpClientResponse.HttpClientResponse, E | HttpClientError.HttpClientError>
      ) => Outcome.Outcome | Effect.Effect<Outcome.Outcome, never, R>)
    | undefined
  /**
   * Whether the call goes on until its body has been read, so that a stream that dies after its headers is a Failure. For
   * clients whose callers read the bodies of all responses of status 2xx: a call whose body nobody reads is in flight until
   * its `lease` is over, and then Ignored. One that stalls, and is given up by its reader, is Ignored as well: put a timeout
   * on each pull of the stream if silence is a failure. Default `false`.
   */
  readonly body?: boolean | undefined
  /**
   * How long a call may take whose body counts, until it is Ignored. Default 10 minutes. A probe has its policy's
   * `probeTimeout` for headers and body: let that be as long as bodies take.
   */
  readonly lease?: Duration.Input | undefined
}

/** Too many requests and a timeout are the server's word that it cannot; all other 4xx are answers. */
const isFailure = (status: number): boolean => status >= 500 || status === 429 || status === 408

const ofResponse = ({
  headers,
  status
}: HttpClientResponse.HttpClientResponse): Outcome.Outcome | Effect.Effect<Outcome.Outcome> =>
  isFailure(status) ? failureOf(status, headers) : Outcome.success

/**
 * What the end of a request says of the server:
 *
 * - Failure: status 5xx, 408 and 429, with what `Retry-After` says; no connection; a timeout; any other error or defect.
 * - Success: every other status, as an answer or as a `StatusCodeError`.
 * - Ignored: a request that could not be sent, because its URL or its body is wrong; an interruption; what another policy
 *   rejected.
 *
 * @category classifiers
 * @since 0.1.0
 */
export const classify = (
  exit: Exit.Exit<HttpClientResponse.HttpClientResponse, unknown>
): Outcome.Outcome | Effect.Effect<Outcome.Outcome> => {
  if (exit._tag === "Success") return ofResponse(exit.value)
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  if (!HttpClientError.isHttpClientError(error) || Cause.hasDies(exit.cause)) return defaultOutcome(exit)
  switch (error.reason._tag) {
    case "StatusCodeError":
      return ofResponse(error.reason.response)
    case "EncodeError":
    case "InvalidUrlError":
      return Outcome.ignored
    default:
      return Outcome.failure()
  }
}

const originOf = (request: HttpClientRequest.HttpClientRequest): string | undefined => {
  const url = Option.getOrUndefined(HttpClientRequest.toUrl(request))
  return url === undefined || url.origin === "null" ? undefined : url.origin
}

type Request = Effect.Effect<HttpClientResponse.HttpClientResponse, unknown>

const withBody = (response: HttpClientResponse.HttpClientResponse, permit: Call) =>
  hasBody(response) ? counted(response, (end) => permit.settle(end)) : undefined

/**
 * A client whose requests pass the circuits of a name. Its requests keep their errors and gain one, `CircuitOpen`.
 *
 * Throws a `RangeError` or a `PolicyError` that names the option that is wrong.
 *
 * @category combinators
 * @since 0.1.0
 */
export const protect: {
  <E, R, R2 = never>(
    self: HttpClient.HttpClient.With<E, R>,
    name: string,
    options?: Options<E, R2>
  ): HttpClient.HttpClient.With<E | CircuitOpen, R | R2 | BreakerStore>
  (
    name: string,
    options?: Options<never> & { readonly classify?: undefined }
  ): <E, R>(self: HttpClient.HttpClient.With<E, R>) => HttpClient.HttpClient.With<E | CircuitOpen, R | BreakerStore>
  <E0, R2 = never>(
    name: string,
    options: Options<E0, R2>
  ): <E extends E0, R>(
    self: HttpClient.HttpClient.With<E, R>
  ) => HttpClient.HttpClient.With<E | CircuitOpen, R | R2 | BreakerStore>
} = dual(
  (args) => HttpClient.isHttpClient(args[0]),
  (
    self: HttpClient.HttpClient,
    name: string,
    options: Options<never, unknown> = {}
    // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
  ): any => {
    const operation = "HttpClientBreaker.protect"
    const { key, policy } = onlyFields(operation, ["key", "policy", "classify", "body", "lease"], options)
    const read = optionalFunction(operation, "classify", options.classify) ?? classify
    const named = subject(operation, name, { policy, classify: read })
    const text = typeof key === "function" ? undefined : optionalText(operation, "key", key)
    const keyOf = typeof key === "function" ? key : text === undefined ? originOf : () => text
    const lease = leaseOf(operation, options.lease)
    const guarded = optionalFlag(operation, "body", options.body)
      ? (effect: Request, of: Subject) => guardBeyond(effect, of, lease, withBody)
      : guard
    return HttpClient.transform(self, (effect, request) =>
      Effect.suspend(
        () => guarded(effect, { ...named, key: optionalText(operation, "key", keyOf(request)) }) as typeof effect
      )
    )
  }
)
