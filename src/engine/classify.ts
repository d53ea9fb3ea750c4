import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { identity } from "effect/Function"
import { isRecord } from "../core/fields.ts"
import { foreignText } from "../core/foreign.ts"
import { type Ending, isOverloadStatus } from "../core/limit.ts"
import { toMillis } from "../core/millis.ts"
import * as Outcome from "../core/Outcome.ts"
import { longest, parseRetryAfter } from "../core/retryHints.ts"
import { isRejection, safely } from "../shapes/rejections.ts"
import { aiHint, aiReason, ofAiReason } from "./aiErrors.ts"
import type { Time } from "./time.ts"

/** Returns the outcome of an exit, or an effect that determines it. */
export type Classify = (exit: Exit.Exit<unknown, unknown>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome>

/** Runs an effect with the interruptibility of the caller, inside an uninterruptible region. */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Runs a classifier with the interruptibility of the caller. If the caller is interrupted, the outcome is Ignored. */
export const asked = (
  classifier: Effect.Effect<Outcome.Outcome>,
  restore: Restore = identity
): Effect.Effect<Outcome.Outcome> =>
  Effect.catchCause(restore(classifier), (cause) =>
    // `restore` fails at once if the caller was interrupted. Otherwise the classifier has interrupted itself.
    Effect.matchCauseEffect(restore(Effect.void), {
      onFailure: () => Effect.succeed(Outcome.ignored),
      onSuccess: () => Effect.failCause(cause)
    })
  )

// ---- Responses of Effect's HttpClient -------------------------------------------------------------------------------

// Ids that identify responses and errors of `HttpClient` without an import.
const responseId = "~effect/http/HttpClientResponse"
const errorId = "~effect/http/HttpClientError"

interface ResponseLike {
  readonly status: number
  readonly headers: { readonly [name: string]: string | undefined }
}

/** Whether a status means that the server cannot answer now. All other statuses are answers. */
export const isFailureStatus = (status: number): boolean => status >= 500 || status === 429 || status === 408

const isResponse = (value: unknown): value is ResponseLike => isRecord(value) && value[responseId] !== undefined

const ofResponse = ({ status }: ResponseLike): Outcome.Outcome =>
  isFailureStatus(status) ? Outcome.failure({ detail: `HTTP ${status}` }) : Outcome.success

/** A `StatusCodeError` has the outcome of its response. A request that could not be encoded says nothing about the server. */
const ofHttpError = (error: object): Outcome.Outcome => {
  const { reason } = error as { readonly reason?: { readonly _tag?: unknown; readonly response?: unknown } }
  switch (reason?._tag) {
    case "StatusCodeError":
      return isResponse(reason.response) ? ofResponse(reason.response) : plainFailure
    case "EncodeError":
    case "InvalidUrlError":
      return Outcome.ignored
    default:
      return plainFailure
  }
}

// ---- The default outcome --------------------------------------------------------------------------------------------

/**
 * A defect or an error is a Failure, except for some errors of Effect's `HttpClient` and `effect/ai`. An interruption or the rejection of
 * another policy is Ignored.
 */
export const defaultFailure = (cause: Cause.Cause<unknown>): Outcome.Outcome => {
  let outcome: Outcome.Outcome | undefined
  for (const reason of cause.reasons) {
    if (reason._tag === "Die") return plainFailure
    if (reason._tag === "Interrupt" || isRejection(reason.error)) {
      outcome ??= Outcome.ignored
      continue
    }
    const { error } = reason
    const read = safely(() => ofError(error), plainFailure)
    if (read._tag === "Failure") return read
    if (outcome?._tag !== "Success") outcome = read
  }
  return outcome ?? plainFailure
}

const plainFailure = Outcome.failure()

const ofError = (error: unknown): Outcome.Outcome => {
  if (!isRecord(error)) return plainFailure
  if (errorId in error) return ofHttpError(error)
  const reason = aiReason(error)
  return reason === undefined ? plainFailure : ofAiReason(reason, error["module"])
}

export const defaultOutcome = (exit: Exit.Exit<unknown, unknown>): Outcome.Outcome => {
  if (exit._tag === "Failure") return defaultFailure(exit.cause)
  // Reading a property may throw, for example of a proxy. Such a value is not a response.
  try {
    return isResponse(exit.value) ? ofResponse(exit.value) : Outcome.success
  } catch {
    return Outcome.success
  }
}

const ignoringFailure = (outcome: Outcome.Outcome): Outcome.Outcome =>
  isOutcome(outcome) && outcome._tag === "Failure" ? Outcome.ignored : outcome

/** Turns the Failures of a classifier into Ignored. */
export const withoutFailure =
  (classify: Classify = defaultOutcome): Classify =>
  (exit) => {
    const outcome = classify(exit)
    return Effect.isEffect(outcome) ? Effect.map(outcome, ignoringFailure) : ignoringFailure(outcome)
  }

// ---- How long the dependency asks clients to wait -------------------------------------------------------------------

const larger = (one: number | undefined, other: number | undefined): number | undefined =>
  one === undefined || (other !== undefined && other > one) ? other : one

const hintIn = (error: { readonly [name: string]: unknown }, now: number): number | undefined => {
  const { retryAfter } = error
  const duration = toMillis(retryAfter)
  // A text that is not a duration may be the value of a `Retry-After` header: `120`, or a date.
  const given =
    duration ?? (typeof retryAfter === "string" ? parseRetryAfter({ "retry-after": retryAfter }, now) : undefined)
  const response = [error, error["response"], error["$response"]].find(
    (one) => isRecord(one) && isRecord(one["headers"])
  )
  const read = response === undefined ? undefined : hintOfResponse(response, now)
  return larger(read, given !== undefined && given >= 0 ? Math.min(longest, given) : undefined)
}

const hintOfResponse = (response: unknown, now: number): number | undefined => {
  const { headers, status } = response as { readonly headers: ResponseLike["headers"]; readonly status?: unknown }
  return parseRetryAfter(headers, now, typeof status === "number" ? status : undefined)
}

/**
 * An error may carry the answer of a server in itself, in its `cause` or `reason`, or in their causes and reasons, up to three levels. For
 * example, the reason of an `RpcClientError` has an error of `HttpClient` as its cause, and that error may have a timeout as its cause.
 */
const carriers = (error: unknown, depth = 3): ReadonlyArray<{ readonly [name: string]: unknown }> =>
  isRecord(error)
    ? [error, ...(depth === 0 ? [] : [error["cause"], error["reason"]].flatMap((one) => carriers(one, depth - 1)))]
    : []

/** Returns the first result that is not `undefined`. */
const firstOf = <A, B>(all: ReadonlyArray<A>, f: (one: A) => B | undefined): B | undefined => {
  for (const one of all) {
    const result = f(one)
    if (result !== undefined) return result
  }
  return undefined
}

/**
 * How long an error asks clients to wait, in milliseconds: the longer of its `retryAfter` (a duration, milliseconds, or the text of a
 * `Retry-After` header) and the wait in its response headers (`headers`, `response.headers`, `$response.headers`), as errors of HTTP
 * clients have them. If the error has no such wait, the first of its {@link carriers} with a wait decides. Without a wait, the result is
 * `undefined`.
 */
export const hintOfError = (error: unknown, now: number): number | undefined => {
  try {
    const reason = aiReason(error)
    if (reason !== undefined) {
      const millis = aiHint(reason, now)
      return millis === undefined ? undefined : Math.min(longest, millis)
    }
    return firstOf(carriers(error), (one) => hintIn(one, now))
  } catch {
    // A getter of the error may throw.
    return undefined
  }
}

/**
 * The response header by which a server says that the request must not be repeated. Envoy and the proxies built on it heed it, whatever its
 * value is.
 */
export const noRetryHeader = "x-envoy-overloaded"

const forbids = (value: unknown): boolean => {
  const headers = isRecord(value) ? value["headers"] : undefined
  if (!isRecord(headers)) return false
  const read = (name: string) => (headers instanceof Headers ? headers.get(name) : headers[name])
  return (read(noRetryHeader) ?? undefined) !== undefined || read("x-should-retry") === "false"
}

/** Whether the response of an error says that the request must not be repeated. */
export const forbidsRetry = (error: unknown): boolean =>
  safely(() => carriers(error).some((one) => [one, one["response"], one["$response"]].some(forbids)), false)

/** The first error of a failed call, except for rejections by other policies. */
const errorOf = (cause: Cause.Cause<unknown>): unknown => {
  const failed = cause.reasons.find((reason) => reason._tag === "Fail" && !isRejection(reason.error))
  return failed?._tag === "Fail" ? failed.error : undefined
}

export const hintOf = (exit: Exit.Exit<unknown, unknown>, now: number): number | undefined => {
  if (exit._tag === "Success") {
    const { value } = exit
    const refused = safely(() => isResponse(value) && isFailureStatus(value.status), false)
    return refused ? hintOfResponse(value, now) : undefined
  }
  return hintOfError(errorOf(exit.cause), now)
}

/** How long a failed dependency asks clients to wait, in milliseconds: from the outcome, or otherwise from the error or response. */
export const hintMillis = (
  { retryAfter }: Outcome.Failure,
  exit: Exit.Exit<unknown, unknown> | undefined,
  time: Time
): number => {
  if (retryAfter !== undefined) return toMillis(retryAfter) ?? 0
  return (exit === undefined ? undefined : hintOf(exit, time.wall())) ?? 0
}

// ---- Overload -------------------------------------------------------------------------------------------------------

const refuses = (value: unknown): boolean =>
  isRecord(value) && (isOverloadStatus(value["status"]) || isOverloadStatus(value["statusCode"]))

const isTimeout = (error: unknown): boolean =>
  isRecord(error) &&
  (error["_tag"] === "TimeoutError" || error["name"] === "TimeoutError" || error["code"] === "ETIMEDOUT")

const endingOfError = (error: unknown): Ending => {
  const all = carriers(error)
  if (all.some(isTimeout)) return "TimedOut"
  const refused = all.some((one) => [one, one["response"], one["$response"]].some(refuses))
  return refused ? "Refused" : "Neutral"
}

const endingOfExit = (exit: Exit.Exit<unknown, unknown>): Ending => {
  if (exit._tag === "Success") return refuses(exit.value) ? "Refused" : "Neutral"
  return endingOfError(errorOf(exit.cause))
}

/** The kind of a failure for the limit of its circuit: whether the caller stopped waiting, or the dependency is overloaded. */
export const endingOf = ({ overload }: Outcome.Failure, exit: Exit.Exit<unknown, unknown> | undefined): Ending => {
  if (overload === false) return "Neutral"
  // Reading a property may throw, for example of a proxy.
  const ending = exit === undefined ? "Neutral" : safely(() => endingOfExit(exit), "Neutral")
  return overload === true && ending === "Neutral" ? "Refused" : ending
}

export const isOutcome = (value: unknown): value is Outcome.Outcome =>
  typeof value === "object" &&
  value !== null &&
  "_tag" in value &&
  (value._tag === "Success" ||
    value._tag === "Ignored" ||
    (value._tag === "Failure" && "weight" in value && isSound(value)))

/** Whether the fields of a failure are valid. A classifier may return one that `Outcome.failure` did not make. */
const isSound = (failure: {
  readonly weight: unknown
  readonly retryAfter?: unknown
  readonly scope?: unknown
}): boolean =>
  typeof failure.weight === "number" &&
  failure.weight > 0 &&
  failure.weight <= 1e6 &&
  (failure.retryAfter === undefined || toMillis(failure.retryAfter) !== undefined) &&
  (failure.scope === undefined || failure.scope === "key" || failure.scope === "name")

/** The text of a failure. A detail from a classifier may quote the dependency, so it is treated as foreign text. */
export const failureText = (detail: unknown, exit: Exit.Exit<unknown, unknown> | undefined): string => {
  if (typeof detail === "string") return foreignText(detail)
  if (exit === undefined) return "reported as a failure"
  return exit._tag === "Success" ? "classified as a failure" : foreignText(exit.cause)
}
