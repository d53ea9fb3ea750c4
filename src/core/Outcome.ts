/**
 * What one call says of the health of the dependency it called.
 *
 * **When to use**
 *
 * Return an outcome from `classify` where the exit of a call alone does not tell: a `404` is an answer (a Success), a
 * `200` whose body says "try later" is a Failure, and a request that the user cancelled tells nothing (Ignored).
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import { decodeOptions, field, millisWhere, numberWhere, optional, textOrEmpty } from "./fields.ts"
import { expectedDuration } from "./millis.ts"

/**
 * The dependency answered in time. It resets the streak of failures and counts as a call in every window.
 *
 * @category models
 * @since 0.1.0
 */
export interface Success {
  readonly _tag: "Success"
}

/**
 * The dependency failed.
 *
 * - `weight` counts only in `Trip.weighted` and in custom trips; everywhere else a failure is one failure. Default 1.
 * - `retryAfter` is how long the dependency asked to be left alone. If the circuit opens, it stays open at least that
 *   long (never longer than the policy's `maxCooldown`). It opens nothing by itself.
 * - `detail` is what `inspect` shows of it; the error's own message if there is none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Failure {
  readonly _tag: "Failure"
  readonly weight: number
  readonly retryAfter: Duration.Duration | undefined
  readonly detail: string | undefined
}

/**
 * The call tells nothing of the dependency: it counts nowhere, and a probe that ends so gives its place back.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ignored {
  readonly _tag: "Ignored"
}

/**
 * @category models
 * @since 0.1.0
 */
export type Outcome = Success | Failure | Ignored

/**
 * @category constructors
 * @since 0.1.0
 */
export const success: Outcome = { _tag: "Success" }

/**
 * @category constructors
 * @since 0.1.0
 */
export const ignored: Outcome = { _tag: "Ignored" }

const plainFailure: Failure = { _tag: "Failure", weight: 1, retryAfter: undefined, detail: undefined }

/**
 * A failure, with a weight above 0 (default 1) and a hint of how long to stay away (default none).
 *
 * Throws a `RangeError` that names the option when `weight` is not a number above 0 and at most a million, or `retryAfter`
 * not a duration of 0 or more.
 *
 * ```ts
 * import { Outcome } from "effect-fuse"
 *
 * Outcome.failure()._tag // => "Failure"
 * Outcome.failure({ weight: 3, retryAfter: "1 minute" }).weight // => 3
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const failure = (options?: {
  readonly weight?: number | undefined
  readonly retryAfter?: Duration.Input | undefined
  readonly detail?: string | undefined
}): Failure => {
  if (options === undefined) return plainFailure
  const { detail, retryAfter, weight = 1 } = decodeOptions("Outcome.failure", failureFields, options)
  return {
    _tag: "Failure",
    weight,
    retryAfter: retryAfter === undefined ? undefined : Duration.millis(retryAfter),
    detail
  }
}

const failureFields = {
  weight: optional(
    field(
      "a number above 0 and at most 1,000,000",
      numberWhere((n) => n > 0 && n <= 1e6)
    )
  ),
  retryAfter: optional(
    field(
      expectedDuration.zeroOrMore,
      millisWhere((n) => n >= 0)
    )
  ),
  detail: optional(textOrEmpty)
}
