/**
 * Delays between attempts, as an Effect `Schedule`: for `Resilience.retry`, for `Effect.retry`, or for the `cooldown` of a policy.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Backoff } from "effect-fuse"
 *
 * let attempts = 0
 * const flaky = Effect.suspend(() => (++attempts < 3 ? Effect.fail("busy") : Effect.succeed(attempts)))
 *
 * const program = Effect.retry(flaky, Backoff.exponential({ min: "10 millis", max: "1 second", jitter: 0.5 }))
 * await Effect.runPromise(program) // => 3
 * ```
 *
 * The schedules never end. To limit the attempts, use `times` or `Schedule.upTo`.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { decodeOptions, factor, optional, positiveMillis, refused, shareOrZero } from "../core/fields.ts"

/**
 * The bounds and the jitter of the delays.
 *
 * @category options
 */
export interface Bounds {
  /** The first and shortest delay. Default: 100 milliseconds, or `max` if that is shorter. */
  readonly min?: Duration.Input | undefined
  /** The longest delay. Default: 30 seconds, or `min` if that is longer. */
  readonly max?: Duration.Input | undefined
  /**
   * The relative random variation of each delay: 0.5 means 50 % to 150 % of it, within `min` and `max`. From 0 to 1. Default: 0, no
   * variation. With jitter, callers that failed together do not retry together.
   */
  readonly jitter?: number | undefined
}

/**
 * Exponential delays: each delay is the previous delay times `factor` (default 2, at least 1), from `min` up to `max`. Throws a `RangeError` that
 * names the invalid option.
 *
 * @category constructors
 */
export const exponential = (options?: Bounds & { readonly factor?: number | undefined }): Schedule.Schedule<number> => {
  const { factor, ...bounds } = decodeOptions("Backoff.exponential", exponentialFields, options)
  return backoff("Backoff.exponential", bounds, (min, attempt) => min * (factor ?? 2) ** (attempt - 1))
}

/**
 * Linear delays: each delay is the previous delay plus `step` (default: `min`), from `min` up to `max`. Throws a `RangeError` that names the
 * invalid option.
 *
 * @category constructors
 */
export const linear = (
  options?: Bounds & { readonly step?: Duration.Input | undefined }
): Schedule.Schedule<number> => {
  const { step, ...bounds } = decodeOptions("Backoff.linear", linearFields, options)
  return backoff("Backoff.linear", bounds, (min, attempt) => min + (step ?? min) * (attempt - 1))
}

const boundFields = {
  min: optional(positiveMillis),
  max: optional(positiveMillis),
  jitter: optional(shareOrZero)
}
const exponentialFields = { ...boundFields, factor: optional(factor) }
const linearFields = { ...boundFields, step: optional(positiveMillis) }

interface DecodedBounds {
  readonly min?: number | undefined
  readonly max?: number | undefined
  readonly jitter?: number | undefined
}

const backoff = (
  operation: string,
  { jitter = 0, max: longest, min: shortest }: DecodedBounds,
  delay: (min: number, attempt: number) => number
): Schedule.Schedule<number> => {
  const max = longest ?? Math.max(30_000, shortest ?? 0)
  const min = shortest ?? Math.min(100, max)
  if (max < min) throw refused(operation, "max", `expected at least min (${min} ms), got ${max} ms`)
  const delayOf = (attempt: number): Effect.Effect<number> => {
    const plain = Math.min(max, delay(min, attempt))
    if (jitter === 0) return Effect.succeed(plain)
    // The random range is limited first: limiting the random delay instead would give many callers exactly `min` or `max`.
    const low = Math.max(min, plain * (1 - jitter))
    const high = Math.min(max, plain * (1 + jitter))
    return Effect.map(Random.next, (random) => low + random * (high - low))
  }
  return Schedule.modifyDelay(Schedule.forever, ({ attempt }) => Effect.map(delayOf(attempt), Duration.millis))
}
