import * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as CircuitOpen from "../shapes/CircuitOpen.ts"
import { Rejection } from "../shapes/rejections.ts"

/** An `AiError` of this library. `circuitOpen` and the circuit's limit read the cause of its reason. */
const failing = (method: string, description: string, cause: unknown): AiError.AiError => {
  const reason = new AiError.InternalProviderError({ description })
  Object.defineProperty(reason, "cause", { value: cause })
  return AiError.make({ module: "AiBreaker", method, reason })
}

/** The `AiError` for a call that the circuit rejected, with the same `retryAfter`. */
export const rejectedBy = (method: string, open: CircuitOpen.CircuitOpen): AiError.AiError => {
  const error = failing(method, open.message, open)
  Object.defineProperty(error.reason, "retryAfter", { value: open.retryAfter })
  return Object.defineProperty(error, Rejection, { value: true })
}

/** The `AiError` for a call that took too long. */
export const tookTooLong = (method: string, what: string, millis: number): AiError.AiError => {
  const description = `${what} within ${Duration.format(Duration.millis(millis))}`
  return failing(method, description, new Cause.TimeoutError(description))
}

/** Returns the `CircuitOpen` that an error is or contains, if any. */
export const rejectionIn = (error: unknown): CircuitOpen.CircuitOpen | undefined => {
  if (CircuitOpen.isCircuitOpen(error)) return error
  const cause = AiError.isAiError(error) ? (error.reason as { readonly cause?: unknown }).cause : undefined
  return CircuitOpen.isCircuitOpen(cause) ? cause : undefined
}
