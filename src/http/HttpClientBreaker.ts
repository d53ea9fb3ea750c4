/**
 * Circuits around Effect's `HttpClient`. By default, each origin has its own circuit.
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
 * In a pipe, put the breaker before retries such as `HttpClient.retryTransient`. The breaker then counts each attempt, and an open circuit
 * ends the attempts. The breaker classifies a response by its status and headers. With `body: true`, the breaker also counts a Failure if
 * the body breaks off later.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { dual, identity } from "effect/Function"
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
import type { AnyEffect } from "../engine/timeout.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import { type RetryOptions, timeout } from "../resilience/Resilience.ts"
import { type Retrying, retryField, retrying } from "../resilience/retry.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import { counted, hasBody } from "./countedBody.ts"
import { counting, sending } from "./deadlineHeaders.ts"

/**
 * Configures the circuits of a client, and how they classify requests.
 *
 * @category options
 */
export interface Options<in E, out R = never> {
  /**
   * The key of the circuit: a string for all requests, or a function of the request. Default: the origin of the request. Requests for which
   * the function returns `undefined` use the circuit of the name without a key.
   */
  readonly key?: string | ((request: HttpClientRequest.HttpClientRequest) => string | undefined) | undefined
  /** Overrides fields of the policy that `BreakerPolicy` has for this name. */
  readonly policy?: BreakerPolicy.Input | undefined
  /**
   * Classifies the end of a request, or of its body with `body: true`. Default: {@link classify}, which a custom function may call for the
   * remaining cases.
   */
  readonly classify?:
    | ((
        exit: Exit.Exit<HttpClientResponse.HttpClientResponse, E | HttpClientError.HttpClientError>
      ) => Outcome.Outcome | Effect.Effect<Outcome.Outcome, never, R>)
    | undefined
  /**
   * Whether the call lasts until its body has been read, so that a stream that breaks off after its headers is a Failure. Default: `false`.
   *
   * Use it only if callers read the bodies of all 2xx responses. If nothing reads the body, the call stays in flight until its `lease`
   * ends, and is then Ignored. A body that stalls and that its reader gives up is Ignored too: to count it as a Failure, put a timeout on
   * each pull of the stream.
   */
  readonly body?: boolean | undefined
  /**
   * With `body: true`, how long a call may last before it is Ignored. Default: 10 minutes. For a probe, the policy's `probeTimeout` limits
   * headers and body together, so make it as long as bodies take.
   */
  readonly lease?: Duration.Input | undefined
  /**
   * Whether to send headers with requests inside `Deadline.within`: the remaining time in milliseconds (`x-envoy-expected-rq-timeout-ms`) and
   * the attempt (`x-envoy-attempt-count`). Default: `false`, so that external servers do not receive them.
   */
  readonly deadline?: boolean | undefined
}

/**
 * Classifies the end of a request:
 *
 * - Failure: status 5xx, 408 and 429, with the wait that `Retry-After` asks for; no connection; a timeout; any other error or defect.
 * - Success: every other status, as a response or as a `StatusCodeError`.
 * - Ignored: a request that could not be sent, as its URL or body is invalid; an interruption; a rejection by another policy.
 *
 * @category classifiers
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
  lease: optional(endlessMillis),
  deadline: optional(flag)
} satisfies FieldsOf<Options<never>>

const withBody = (response: HttpClientResponse.HttpClientResponse, permit: Call) =>
  hasBody(response) ? counted(response, (end, restore) => permit.settle(end, restore)) : undefined

/**
 * Protects the requests of a client with circuits. Requests keep their errors, and can also fail with `CircuitOpen`. Throws a `RangeError`
 * that names the invalid option.
 *
 * @category combinators
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
    const { body, deadline, lease = defaultLease, ...circuit } = decodeOptions(operation, fields, options)
    const subjectOf = subjects(operation, name, circuit)
    const guarded =
      body === true ? (effect: RequestEffect, of: Subject) => guardBeyond(effect, of, lease, withBody) : guard
    return HttpClient.transform(deadline === true ? sending(self) : self, (effect, request) =>
      Effect.suspend(() => guarded(effect, subjectOf(request)) as typeof effect)
    )
  }
)

// ---- The standard client --------------------------------------------------------------------------------------------

/**
 * Configures the circuits, the timeout and the retries of {@link standard}.
 *
 * @category options
 */
export interface StandardOptions extends Pick<Options<never>, "key" | "policy" | "classify"> {
  /** The timeout of each attempt, until the headers of its response arrive. `false` disables it. Default: 10 seconds. */
  readonly timeout?: Duration.Input | false | undefined
  /**
   * The maximum number of retries, or the options of `Resilience.retry`. `false` disables retries. Default: 2 retries with a backoff,
   * within the retry budget of the circuit.
   *
   * `while` decides which errors are retried. Default: timeouts, failed connections, and the statuses 408, 429 and 5xx. Responses with
   * another status are not errors. A request that may not be repeated is never retried.
   */
  readonly retry?: number | RetryOptions | false | undefined
  /**
   * Whether to send headers with requests: the attempt (`x-envoy-attempt-count`) and, inside `Deadline.within`, the remaining time in
   * milliseconds (`x-envoy-expected-rq-timeout-ms`). Default: `false`, so that external servers do not receive them.
   */
  readonly deadline?: boolean | undefined
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
  retry: optional(orFalse(retryField)),
  deadline: optional(flag)
} satisfies FieldsOf<StandardOptions>

type TimeoutOf<O> = O extends { readonly timeout: false } ? never : Cause.TimeoutError

/**
 * Adds a timeout for each attempt, a circuit for each origin, and retries to a client. Requests keep their errors, and can also fail with
 * `CircuitOpen` and `TimeoutError`.
 *
 * A request is retried after a status of 408, 429 or 5xx, after a timeout, and if there is no connection. It may be repeated only if its
 * method is idempotent (GET, HEAD, OPTIONS, QUERY, TRACE, PUT, DELETE) or it has an `Idempotency-Key`, and if its body is not a stream. A
 * retry waits at least as long as `Retry-After` asks. If that is longer than `retry.maxRetryAfter` (10 seconds), there is no retry. A response
 * with `x-envoy-overloaded`, or with `x-should-retry: false`, is not retried.
 *
 * The client returns the last response, whatever its status. To get an error instead, put `HttpClient.filterStatusOk` after it in the pipe.
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
    const {
      deadline,
      retry = {},
      timeout: limit = 10_000,
      ...circuit
    } = decodeOptions(operation, standardFields, options)
    const subjectOf = subjects(operation, name, circuit)
    const timed = limit === false ? (effect: RequestEffect) => effect : timeout(limit)
    const again = retry === false ? undefined : retrying({ while: isTransient, ...retry })
    const all = deadline === true ? counting : identity<AnyEffect>
    return HttpClient.transform(deadline === true ? sending(self) : self, (effect, request) =>
      Effect.suspend(() => {
        const of = subjectOf(request)
        const guarded = guard(timed(effect), of) as RequestEffect
        return all(again === undefined || !mayRepeat(request) ? guarded : repeated(guarded, again(of))) as typeof effect
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
