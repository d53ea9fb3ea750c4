import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import { at, type Decoded, type FieldsOf, functionField, optional, refused } from "../core/fields.ts"
import * as Outcome from "../core/Outcome.ts"
import { type Classify, defaultFailure, defaultOutcome } from "../engine/classify.ts"
import { isRejection } from "../shapes/rejections.ts"

/**
 * Options that classify an exit. The public types tie them to the protected effect. The services of a classifier that is an effect are part
 * of the protected effect's requirements, so the fiber has them.
 */
export interface ReadingOptions {
  readonly classify?:
    | ((exit: Exit.Exit<never, never>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome, never, unknown>)
    | undefined
  readonly isFailure?: ((error: never) => boolean) | undefined
  readonly isIgnored?: ((error: never) => boolean) | undefined
}

export const readingFields = {
  classify: optional(functionField),
  isFailure: optional(functionField),
  isIgnored: optional(functionField)
} satisfies FieldsOf<ReadingOptions>

/** One classifier for these options; `undefined` if none is set. `path` is the position of the options inside larger ones. */
export const toClassify = (
  operation: string,
  { classify, isFailure, isIgnored }: Decoded<typeof readingFields>,
  path = ""
): Classify | undefined => {
  if (isFailure === undefined && isIgnored === undefined) return classify
  if (classify !== undefined) {
    const other = isFailure === undefined ? "isIgnored" : "isFailure"
    throw refused(operation, at(path, other), "expected nothing, as classify reads the whole exit, got a function")
  }
  return (exit) => {
    if (exit._tag === "Success") return defaultOutcome(exit)
    const error = Cause.findErrorOption(exit.cause)
    if (error._tag === "None" || Cause.hasDies(exit.cause)) return defaultFailure(exit.cause)
    if (isRejection(error.value)) return Outcome.ignored
    if (isIgnored?.(error.value) === true) return Outcome.ignored
    if (isFailure === undefined) return defaultFailure(exit.cause)
    return isFailure(error.value) ? Outcome.failure() : Outcome.success
  }
}
