import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Outcome from "../core/Outcome.ts"
import { aiHint, aiReason } from "../engine/aiErrors.ts"
import { type Classify, defaultOutcome } from "../engine/classify.ts"

const reasonIn = (cause: Cause.Cause<unknown>) => aiReason(Option.getOrUndefined(Cause.findErrorOption(cause)))

/** Whether a tool may have raised the error. Tools run after the model has answered, so the provider did not cause the error. */
const isOfTools = (exit: Exit.Exit<unknown, unknown>): boolean =>
  exit._tag === "Failure" && (Cause.hasDies(exit.cause) || reasonIn(exit.cause) === undefined)

/** Limits the wait that a provider asks for, because the circuit stays open for exactly this time. */
const limited = (
  outcome: Outcome.Outcome,
  exit: Exit.Exit<unknown, unknown>,
  maxMillis: number
): Outcome.Outcome | Effect.Effect<Outcome.Outcome> => {
  if (outcome._tag !== "Failure" || !outcome.opens || exit._tag !== "Failure") return outcome
  const reason = reasonIn(exit.cause)
  if (reason === undefined) return outcome
  return Effect.map(Clock.currentTimeMillis, (now) => {
    const millis = aiHint(reason, now)
    return millis === undefined ? outcome : { ...outcome, retryAfter: Duration.millis(Math.min(maxMillis, millis)) }
  })
}

/** Classifies the end of a call. `runsTools` says whether tools run inside the call. */
export const reading =
  (maxMillis: number, runsTools: boolean): Classify =>
  (exit) =>
    runsTools && isOfTools(exit) ? Outcome.ignored : limited(defaultOutcome(exit), exit, maxMillis)

// ---- Error parts of a stream ----------------------------------------------------------------------------------------

const account: ReadonlySet<unknown> = new Set([
  "authentication_error",
  "billing_error",
  "insufficient_quota",
  "invalid_api_key"
])
const overloaded: ReadonlySet<unknown> = new Set(["overloaded_error", "rate_limit_error", "rate_limit_exceeded"])
const ofPrompts: ReadonlySet<unknown> = new Set([
  "content_policy_violation",
  "invalid_prompt",
  "invalid_request_error",
  "not_found_error",
  "request_too_large"
])

/** Classifies the error of an `error` part: an `AiError`, or the provider's own object with a `type` or a `code`. */
export const ofErrorPart = (error: unknown): Outcome.Outcome => {
  if (aiReason(error) !== undefined) return defaultOutcome(Exit.fail(error))
  const { code, type } = (typeof error === "object" && error !== null ? error : {}) as {
    readonly code?: unknown
    readonly type?: unknown
  }
  const has = (kinds: ReadonlySet<unknown>) => kinds.has(type) || kinds.has(code)
  if (has(account)) return Outcome.failure({ detail: "an error in the stream", scope: "name" })
  if (has(overloaded)) return Outcome.failure({ detail: "an error in the stream: overload", overload: true })
  return has(ofPrompts) ? Outcome.success : Outcome.failure({ detail: "an error in the stream" })
}
