import { isRecord } from "../core/fields.ts"
import { isOverloadStatus } from "../core/limit.ts"
import { toMillis } from "../core/millis.ts"
import * as Outcome from "../core/Outcome.ts"
import { parseRetryAfter } from "../core/retryHints.ts"
import { isRejection } from "../shapes/rejections.ts"

/*
 * The errors of Effect's `effect/ai` (Effect 4.1), identified by their type ids, so that the engine does not import that module.
 */

const errorId = "~effect/ai/AiError"
const reasonId = "~effect/ai/AiError/Reason"

interface Reason {
  readonly [name: string]: unknown
  readonly _tag: string
}

/** The reason of an `AiError`, or a reason that is the error itself. A getter of the error may throw. */
export const aiReason = (error: unknown): Reason | undefined => {
  if (!isRecord(error)) return undefined
  const reason = errorId in error ? error["reason"] : reasonId in error ? error : undefined
  return isRecord(reason) && typeof reason["_tag"] === "string" ? (reason as Reason) : undefined
}

const responseOf = ({ http }: Reason): { readonly [name: string]: unknown } | undefined => {
  const response = isRecord(http) ? http["response"] : undefined
  return isRecord(response) ? response : undefined
}

const statusOf = (reason: Reason): number | undefined => {
  const status = responseOf(reason)?.["status"]
  return typeof status === "number" ? status : undefined
}

const failing = (reason: Reason, options?: Parameters<typeof Outcome.failure>[0]): Outcome.Outcome => {
  const status = statusOf(reason)
  const detail = status === undefined ? reason._tag : `${reason._tag} (HTTP ${status})`
  return Outcome.failure({ detail, ...options })
}

/** The outcome of an error of an unknown kind: by its status, if the provider answered. */
const byStatus = (reason: Reason): Outcome.Outcome => {
  const status = statusOf(reason)
  if (status === 401 || status === 402) return failing(reason, { scope: "name" })
  if (status === undefined || status >= 500 || status === 408 || status === 429) {
    return failing(reason, isOverloadStatus(status) ? { overload: true } : undefined)
  }
  return Outcome.success
}

/** Whether the module of an error is a model, such as `LanguageModel` or `AnthropicLanguageModel`, and not the client of a provider. */
const isOfModel = (module: unknown): boolean => typeof module === "string" && module.endsWith("Model")

/** What an error of `effect/ai` says about the health of its provider. `module` is where the error was made, if that is known. */
export const ofAiReason = (reason: Reason, module?: unknown): Outcome.Outcome => {
  switch (reason._tag) {
    case "RateLimitError":
      return failing(reason, { overload: true, opens: true })
    case "QuotaExhaustedError":
      return failing(reason, { scope: "name", opens: true })
    case "AuthenticationError":
      // A key may lack the permission for one model only.
      return failing(reason, { scope: reason["kind"] === "InsufficientPermissions" ? "key" : "name" })
    case "InternalProviderError":
      return isRejection(reason["cause"])
        ? Outcome.ignored
        : failing(reason, isOverloadStatus(statusOf(reason)) ? { overload: true } : undefined)
    case "NetworkError":
      return reason["reason"] === "TransportError" ? failing(reason) : Outcome.ignored
    // The provider answered: it refused the prompt, or the caller cannot use the answer.
    case "ContentPolicyError":
    case "InvalidRequestError":
    case "StructuredOutputError":
    case "ToolNotFoundError":
    case "ToolParameterValidationError":
      return Outcome.success
    case "InvalidOutputError":
      if (module === undefined) return Outcome.ignored
      // The client of a provider uses this error for a truncated response and for invalid JSON.
      return isOfModel(module) ? Outcome.success : failing(reason)
    case "InvalidResponseError":
      return failing(reason)
    // The provider was not asked, or its answer does not matter.
    case "UnsupportedSchemaError":
    case "InvalidToolResultError":
    case "ToolResultEncodingError":
    case "ToolConfigurationError":
    case "ToolkitRequiredError":
    case "InvalidUserInputError":
      return Outcome.ignored
    default:
      return byStatus(reason)
  }
}

/** How long the provider asks clients to wait, in milliseconds, without an upper bound for its own fields; `undefined` if it does not say. */
export const aiHint = (reason: Reason, now: number): number | undefined => {
  const { resetAt, retryAfter } = reason
  const given = toMillis(retryAfter)
  if (given !== undefined && given >= 0) return given
  const reset = isRecord(resetAt) ? resetAt["epochMilliseconds"] : undefined
  if (typeof reset === "number") return Math.max(0, reset - now)
  const headers = responseOf(reason)?.["headers"]
  return isRecord(headers) ? parseRetryAfter(headers, now, statusOf(reason)) : undefined
}
