import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Outcome from "../core/Outcome.ts"
import { type Classify, defaultFailure, defaultOutcome } from "../engine/classify.ts"
import { isRejection } from "../shapes/rejections.ts"
import { optionalFunction } from "./options.ts"

/**
 * Options that say how an exit is read. Their types are those of the effect that is protected, whatever they are; what a
 * classifier needs is among the services of the fiber, by the types of who protects.
 */
export interface ReadingOptions {
  readonly classify?:
    | ((exit: Exit.Exit<never, never>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome, never, unknown>)
    | undefined
  readonly isFailure?: ((error: never) => boolean) | undefined
  readonly isIgnored?: ((error: never) => boolean) | undefined
}

/** The fields of {@link ReadingOptions}. */
export const readingFields: ReadonlyArray<string> = ["classify", "isFailure", "isIgnored"]

/** One function from these options, or nothing where they say nothing. */
export const toClassify = (operation: string, options: ReadingOptions): Classify | undefined => {
  const classify = optionalFunction(operation, "classify", options.classify) as Classify | undefined
  const isFailure = optionalFunction(operation, "isFailure", options.isFailure) as
    | ((error: unknown) => boolean)
    | undefined
  const isIgnored = optionalFunction(operation, "isIgnored", options.isIgnored) as
    | ((error: unknown) => boolean)
    | undefined
  if (isFailure === undefined && isIgnored === undefined) return classify
  if (classify !== undefined) {
    throw new RangeError(`${operation}: classify reads the whole exit; isFailure and isIgnored cannot be given with it`)
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
