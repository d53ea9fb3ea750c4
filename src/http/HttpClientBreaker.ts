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
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Option from "effect/Option"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import { keyOrFunction } from "../breaker/options.ts"
import { defaultLease, guard, guardBeyond, inlinePolicy, type Subject, toSubject } from "../breaker/protect.ts"
import {
  type Decoded,
  decodeArgument,
  decodeOptions,
  endlessMillis,
  type FieldsOf,
  flag,
  functionField,
  optional,
  orFalse,
  positiveMillis,
  textOrEmpty
} from "../core/fields.ts"
import type * as Outcome from "../core/Outcome.ts"
import type { Call } from "../engine/call.ts"
import { defaultOutcome, hintOf, isFailureStatus } from "../engine/classify.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import { type RetryOptions, timeout } from "../resilience/Resilience.ts"
import { type Retrying, retryField, retrying } from "../resilience/retry.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import { counted, hasBody } from "./countedBody.ts"

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
  const outcome = defaultOutcome(exit)
  if (outcome._tag !== "Failure") return outcome
  return Effect.map(Clock.currentTimeMillis, (now) => {
    const millis = hintOf(exit, now)
    return millis === undefined ? outcome : { ...outcome, retryAfter: Duration.millis(millis) }
  })
}

const originOf = (request: HttpClientRequest.HttpClientRequest): string | undefined => {
  const url = Option.getOrUndefined(HttpClientRequest.toUrl(request))
  return url === undefined || url.origin === "null" ? undefined : url.origin
}

type RequestEffect = Effect.Effect<HttpClientResponse.HttpClientResponse, unknown>

const circuitFields = {
  key: optional(keyOrFunction),
  policy: inlinePolicy,
  classify: optional(functionField)
}

/** Returns a function from a request to its circuit. */
const subjects = (
  operation: string,
  name: string,
  { classify, key, policy }: Decoded<typeof circuitFields>
): ((request: HttpClientRequest.HttpClientRequest) => Subject) => {
  const named = toSubject(operation, name, { policy, classify })
  const keyOf = typeof key === "function" ? key : key === undefined ? originOf : () => key
  return (request) => ({ ...named, key: decodeArgument(operation, "key", optional(textOrEmpty), keyOf(request)) })
}

const fields = {
  ...circuitFields,
  body: optional(flag),
  lease: optional(endlessMillis)
} satisfies FieldsOf<Options<never>>

const withBody = (response: HttpClientResponse.HttpClientResponse, permit: Call) =>
  hasBody(response) ? counted(response, (end, restore) => permit.settle(end, restore)) : undefined

/**
 * A client whose requests pass the circuits of a name. Its requests keep their errors and gain one, `CircuitOpen`.
 *
 * Throws a `RangeError` that names the option that is wrong.
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
    options?: Options<never, unknown>
    // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
  ): any => {
    const operation = "HttpClientBreaker.protect"
    const { body, lease = defaultLease, ...circuit } = decodeOptions(operation, fields, options)
    const subjectOf = subjects(operation, name, circuit)
    const guarded =
      body === true ? (effect: RequestEffect, of: Subject) => guardBeyond(effect, of, lease, withBody) : guard
    return HttpClient.transform(self, (effect, request) =>
      Effect.suspend(() => guarded(effect, subjectOf(request)) as typeof effect)
    )
  }
)

// ---- The standard client --------------------------------------------------------------------------------------------

/**
 * The parts of {@link standard}.
 *
 * @category options
 * @since 0.1.0
 */
export interface StandardOptions extends Pick<Options<never>, "key" | "policy" | "classify"> {
  /** Limits each attempt until the headers of its response arrive. Default 10 seconds. */
  readonly timeout?: Duration.Input | false | undefined
  /**
   * How failed requests are retried: the maximum number of retries, or the options of `Resilience.retry`. By default, a request is
   * retried twice, with a backoff, and only while the retry budget of its circuit lasts.
   *
   * `while` decides which errors are retried. By default these are a timeout, a failed connection, and the statuses 408, 429 and 5xx. A
   * response with another status is not an error. A request that may not be repeated is never retried.
   */
  readonly retry?: number | RetryOptions | false | undefined
}

/** Idempotent methods: repeating the request has no further effect (RFC 9110, section 9.2.2). */
const idempotent: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "QUERY", "TRACE", "PUT", "DELETE"])

/** Whether a body can be read only once: a stream of the platform or of Node, a generator, or another iterator. */
const isReadOnce = (body: unknown): boolean =>
  typeof body === "object" &&
  body !== null &&
  (body instanceof ReadableStream || Symbol.asyncIterator in body || "next" in body || "pipe" in body)

/** Whether a request may be repeated. A server that supports `Idempotency-Key` executes requests with the same key only once. */
const mayRepeat = ({ body, headers, method }: HttpClientRequest.HttpClientRequest): boolean =>
  (idempotent.has(method) || headers["idempotency-key"] !== undefined) &&
  body._tag !== "Stream" &&
  !(body._tag === "Raw" && isReadOnce(body.body))

const isTransient = (error: unknown): boolean => {
  if (!HttpClientError.isHttpClientError(error)) return Cause.isTimeoutError(error)
  const { reason } = error
  return (
    reason._tag === "TransportError" || (reason._tag === "StatusCodeError" && isFailureStatus(reason.response.status))
  )
}

/** Turns a response with a failure status into an error, so that it can be retried. */
const failed = (response: HttpClientResponse.HttpClientResponse): HttpClientError.HttpClientError =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.StatusCodeError({ request: response.request, response })
  })

const standardFields = {
  ...circuitFields,
  timeout: optional(orFalse(positiveMillis)),
  retry: optional(orFalse(retryField))
} satisfies FieldsOf<StandardOptions>

type TimeoutOf<O> = O extends { readonly timeout: false } ? never : Cause.TimeoutError

/**
 * Adds to a client a timeout for each attempt, one circuit for each origin, and retries of requests that may be repeated. A request
 * keeps its errors, and can also fail with `CircuitOpen` and `TimeoutError`.
 *
 * A request is retried after a status of 408, 429 or 5xx, after a timeout, and if there is no connection. It may be repeated only if
 * its method is idempotent (GET, HEAD, OPTIONS, QUERY, TRACE, PUT, DELETE) or it has an `Idempotency-Key`, and if its body is not a stream. A
 * retry waits at least as long as `Retry-After` says. If that is longer than `retry.maxRetryAfter` (10 seconds), there is no retry. The
 * client returns the last response, whatever its status. To get an error instead, put `HttpClient.filterStatusOk` after it in the pipe.
 *
 * ```ts
 * import { Effect, pipe } from "effect"
 * import { HttpClient, HttpClientResponse } from "effect/http"
 * import { BreakerStore } from "effect-fuse"
 * import { HttpClientBreaker } from "effect-fuse/http"
 *
 * const statuses = [503, 200]
 * const flaky = HttpClient.make((request) =>
 *   Effect.sync(() => HttpClientResponse.fromWeb(request, new Response(null, { status: statuses.shift() ?? 200 })))
 * )
 * const client = pipe(flaky, HttpClientBreaker.standard("http"))
 *
 * const program = Effect.map(client.get("https://example.com/items"), ({ status }) => status)
 * await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory)) // => 200
 * ```
 *
 * Throws a `RangeError` that names the invalid option.
 *
 * @category combinators
 * @since 0.1.0
 */
export const standard: {
  <E, R, const O extends StandardOptions = Record<never, never>>(
    self: HttpClient.HttpClient.With<E, R>,
    name: string,
    options?: O
  ): HttpClient.HttpClient.With<E | CircuitOpen | TimeoutOf<O>, R | BreakerStore>
  <const O extends StandardOptions = Record<never, never>>(
    name: string,
    options?: O
  ): <E, R>(
    self: HttpClient.HttpClient.With<E, R>
  ) => HttpClient.HttpClient.With<E | CircuitOpen | TimeoutOf<O>, R | BreakerStore>
} = dual(
  (args) => HttpClient.isHttpClient(args[0]),
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
  (self: HttpClient.HttpClient, name: string, options?: StandardOptions): any => {
    const operation = "HttpClientBreaker.standard"
    const { retry = {}, timeout: limit = 10_000, ...circuit } = decodeOptions(operation, standardFields, options)
    const subjectOf = subjects(operation, name, circuit)
    const timed = limit === false ? (effect: RequestEffect) => effect : timeout(limit)
    const again = retry === false ? undefined : retrying({ while: isTransient, ...retry })
    return HttpClient.transform(self, (effect, request) =>
      Effect.suspend(() => {
        const of = subjectOf(request)
        const guarded = guard(timed(effect), of) as RequestEffect
        return (again === undefined || !mayRepeat(request) ? guarded : repeated(guarded, again(of))) as typeof effect
      })
    )
  }
)

/** Retries responses with a failure status as if they were errors, and returns the last response. */
const repeated = (request: RequestEffect, again: ReturnType<Retrying>): Effect.Effect<unknown, unknown> => {
  let last: { readonly error: unknown; readonly response: HttpClientResponse.HttpClientResponse } | undefined
  const attempt = Effect.flatMap(request, (response): RequestEffect => {
    if (!isFailureStatus(response.status)) return Effect.succeed(response)
    const error = failed(response)
    last = { error, response }
    return Effect.fail(error)
  })
  return Effect.catch(again(attempt), (error) =>
    last !== undefined && last.error === error ? Effect.succeed(last.response) : Effect.fail(error)
  )
}
