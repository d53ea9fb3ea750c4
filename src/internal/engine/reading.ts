import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as CircuitOpen from "../../CircuitOpen.ts"
import * as Outcome from "../../Outcome.ts"
import { printable, show } from "../printable.ts"

/** What one exit says, or an effect that finds out. */
export type Classify = (exit: Exit.Exit<unknown, unknown>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome>

const maxErrorLength = 300

/** A defect or an error is a failure; the rejection of another circuit says nothing of what this one calls. */
export const defaultFailure = (cause: Cause.Cause<unknown>): Outcome.Outcome => {
  let rejected = false
  for (const reason of cause.reasons) {
    if (reason._tag === "Die") return plainFailure
    if (reason._tag === "Fail") {
      if (!CircuitOpen.isCircuitOpen(reason.error)) return plainFailure
      rejected = true
    }
  }
  return rejected ? Outcome.ignored : plainFailure
}

const plainFailure = Outcome.failure()

export const isOutcome = (value: unknown): value is Outcome.Outcome =>
  typeof value === "object" &&
  value !== null &&
  "_tag" in value &&
  (value._tag === "Success" || value._tag === "Failure" || value._tag === "Ignored")

/** An error in a few words, whatever it is. */
export const failureText = (exit: Exit.Exit<unknown, unknown> | undefined): string => {
  if (exit === undefined) return "reported as a failure"
  if (exit._tag === "Success") return "classified as a failure"
  const error = Cause.squash(exit.cause)
  try {
    const text =
      error instanceof Error ? `${error.name}: ${error.message}` : typeof error === "string" ? error : show(error)
    return printable(text.slice(0, maxErrorLength))
  } catch {
    return "an error that cannot be printed"
  }
}
