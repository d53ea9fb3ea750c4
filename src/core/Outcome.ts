/**
 * What one call says about the health of the dependency.
 *
 * **When to use**
 *
 * Return an outcome from `classify` if the exit of a call does not show whether the dependency is healthy. A `404` is an answer
 * (Success). A `200` with the body "try later" is a Failure. A request that the user cancelled says nothing (Ignored).
 */
import * as Duration from "effect/Duration"
import { decodeOptions, field, flag, millisWhere, numberWhere, optional, textOrEmpty, word } from "./fields.ts"
import { expectedDuration } from "./millis.ts"

/**
 * The dependency answered. A success resets the streak of failures, and it counts as a call in every window.
 *
 * @category models
 */
export interface Success {
  readonly _tag: "Success"
}

/**
 * The dependency failed.
 *
 * - `weight`: used only by `Trip.weighted` and custom trips. All other trips count one failure. Default: 1.
 * - `retryAfter`: how long the dependency asks clients to wait. If the circuit opens, it stays open at least this long, but at most the
 *   `maxCooldown` of the policy. It does not open the circuit by itself, unless `opens` is set.
 * - `overload`: whether the dependency is overloaded, which lowers the `limit` of a policy. Default: whether the error is a timeout, or has
 *   status 429, 503 or 529.
 * - `detail`: the text that `inspect` shows. Default: the message of the error.
 * - `scope`: `key` if the failure is about the key of the call, `name` if it concerns all keys of the name alike: the credentials were refused,
 *   or the quota of the account is used up. A failure of a call with a key and with the scope `name` counts for the circuit without a key, and
 *   not for that of the key. While the circuit without a key is open for this reason, it rejects the calls of all keys. Default: `key`.
 * - `opens`: whether the circuit opens at once if the dependency asks clients to wait, as rate limits do, whatever the trip is. It then stays
 *   open for exactly the `retryAfter` of the outcome or of the error, at most 31 days, instead of the `cooldown`. `maxCooldown` does not limit
 *   it, except for an opening on which a fleet agrees. A probe that fails like this opens the circuit again for its `retryAfter`. Without a
 *   `retryAfter`, `opens` changes nothing. Default: `false`.
 *
 * @category models
 */
export interface Failure {
  readonly _tag: "Failure"
  readonly weight: number
  readonly retryAfter: Duration.Duration | undefined
  readonly overload: boolean | undefined
  readonly detail: string | undefined
  readonly scope: "key" | "name"
  readonly opens: boolean
}

/**
 * The call says nothing about the dependency. It counts in no window. A probe that ends like this returns its lease.
 *
 * @category models
 */
export interface Ignored {
  readonly _tag: "Ignored"
}

/**
 * What one call says about the dependency.
 *
 * @category models
 */
export type Outcome = Success | Failure | Ignored

/**
 * The outcome of a call that the dependency answered.
 *
 * @category constructors
 */
export const success: Outcome = { _tag: "Success" }

/**
 * The outcome of a call that says nothing about the dependency.
 *
 * @category constructors
 */
export const ignored: Outcome = { _tag: "Ignored" }

const plainFailure: Failure = {
  _tag: "Failure",
  weight: 1,
  retryAfter: undefined,
  overload: undefined,
  detail: undefined,
  scope: "key",
  opens: false
}

/**
 * Makes a failure. Defaults: `weight` 1, no `retryAfter`, no `overload`, no `detail`, the scope `key`, does not open the circuit by itself.
 *
 * Throws a `RangeError` if `weight` is not a number above 0 and at most 1,000,000, if `retryAfter` is not a duration of 0 or more, or if
 * `scope` is neither `key` nor `name`.
 *
 * ```ts
 * import { Outcome } from "effect-fuse"
 *
 * Outcome.failure()._tag // => "Failure"
 * Outcome.failure({ weight: 3, retryAfter: "1 minute" }).weight // => 3
 * ```
 *
 * @category constructors
 */
export const failure = (options?: {
  readonly weight?: number | undefined
  readonly retryAfter?: Duration.Input | undefined
  readonly overload?: boolean | undefined
  readonly detail?: string | undefined
  readonly scope?: "key" | "name" | undefined
  readonly opens?: boolean | undefined
}): Failure => {
  if (options === undefined) return plainFailure
  const {
    detail,
    opens = false,
    overload,
    retryAfter,
    scope = "key",
    weight = 1
  } = decodeOptions("Outcome.failure", failureFields, options)
  return {
    _tag: "Failure",
    weight,
    retryAfter: retryAfter === undefined ? undefined : Duration.millis(retryAfter),
    overload,
    detail,
    scope,
    opens
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
  overload: optional(flag),
  detail: optional(textOrEmpty),
  scope: optional(word("key", "name")),
  opens: optional(flag)
}
