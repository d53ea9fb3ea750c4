/**
 * How long to wait from one attempt to the next, as an Effect `Schedule`: for `Resilience.retry`, for `Effect.retry`, for
 * the `cooldown` of a policy.
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
 * They go on for ever: say how often with `times`, or `Schedule.upTo`.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { decodeOptions, factor, optional, positiveMillis, refused, shareOrZero } from "../core/fields.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Bounds {
  /** The first delay, and the shortest. Default 100 milliseconds, or `max` if that is shorter. */
  readonly min?: Duration.Input | undefined
  /** The longest. Default 30 seconds, or `min` if that is longer. */
  readonly max?: Duration.Input | undefined
  /**
   * By which share a delay may be shorter or longer, from 0 (default: always the same) to 1 (from nothing to twice as long), but
   * never out of the bounds. Those who failed together then do not come back together.
   */
  readonly jitter?: number | undefined
}

/**
 * Each delay is the one before it times `factor` (default 2, at least 1), from `min` up to `max`.
 *
 * Throws a `RangeError` that names the option that is wrong.
 *
 * @category constructors
 * @since 0.1.0
 */
export const exponential = (options?: Bounds & { readonly factor?: number | undefined }): Schedule.Schedule<number> => {
  const { factor, ...bounds } = decodeOptions("Backoff.exponential", exponentialFields, options)
  return backoff("Backoff.exponential", bounds, (min, attempt) => min * (factor ?? 2) ** (attempt - 1))
}

/**
 * Each delay is longer than the one before it by `step` (default: as much as `min`), from `min` up to `max`.
 *
 * Throws a `RangeError` that names the option that is wrong.
 *
 * @category constructors
 * @since 0.1.0
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
    // Spread over what is within the bounds: cut off at them, many would wait exactly as long as one another.
    const low = Math.max(min, plain * (1 - jitter))
    const high = Math.min(max, plain * (1 + jitter))
    return Effect.map(Random.next, (random) => low + random * (high - low))
  }
  return Schedule.modifyDelay(Schedule.forever, ({ attempt }) => Effect.map(delayOf(attempt), Duration.millis))
}
