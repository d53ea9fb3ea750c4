import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Outcome from "../../Outcome.ts"
import { foreignText } from "../foreign.ts"
import { toMillis } from "../millis.ts"
import { isRejection } from "../rejections.ts"

/** What one exit says, or an effect that finds out. */
export type Classify = (exit: Exit.Exit<unknown, unknown>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome>

/** A defect or an error is a failure; an interruption, or that another policy rejected the call, says nothing of what it calls. */
export const defaultFailure = (cause: Cause.Cause<unknown>): Outcome.Outcome => {
  let silent = false
  for (const reason of cause.reasons) {
    if (reason._tag === "Die") return plainFailure
    if (reason._tag === "Fail") {
      if (!isRejection(reason.error)) return plainFailure
    }
    silent = true
  }
  return silent ? Outcome.ignored : plainFailure
}

const plainFailure = Outcome.failure()

/** What an exit says where nothing else is said. */
export const defaultOutcome = (exit: Exit.Exit<unknown, unknown>): Outcome.Outcome =>
  exit._tag === "Success" ? Outcome.success : defaultFailure(exit.cause)

export const isOutcome = (value: unknown): value is Outcome.Outcome =>
  typeof value === "object" &&
  value !== null &&
  "_tag" in value &&
  (value._tag === "Success" ||
    value._tag === "Ignored" ||
    (value._tag === "Failure" && "weight" in value && isSound(value)))

/** Whether a failure that may be of any making is as `Outcome.failure` makes it, as far as it is counted with. */
const isSound = (failure: { readonly weight: unknown; readonly retryAfter?: unknown }): boolean =>
  typeof failure.weight === "number" &&
  failure.weight > 0 &&
  failure.weight <= 1e6 &&
  (failure.retryAfter === undefined || toMillis(failure.retryAfter) !== undefined)

/** The text of a failure. The detail that a classifier gives may quote the dependency, so it is foreign text too. */
export const failureText = (detail: unknown, exit: Exit.Exit<unknown, unknown> | undefined): string => {
  if (typeof detail === "string") return foreignText(detail)
  if (exit === undefined) return "reported as a failure"
  return exit._tag === "Success" ? "classified as a failure" : foreignText(exit.cause)
}
