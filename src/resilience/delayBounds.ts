import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { type Decoded, optional, positiveMillis, refused, shareOrZero } from "../core/fields.ts"

export const boundsFields = {
  minDelay: optional(positiveMillis),
  maxDelay: optional(positiveMillis),
  jitter: optional(shareOrZero)
}

export interface DelayBounds {
  readonly min: number
  /** Moves milliseconds into the bounds, and adds the random extension. */
  readonly apply: (millis: number) => Effect.Effect<number>
}

export const delayBounds = (
  operation: string,
  { jitter = 0.2, maxDelay, minDelay }: Decoded<typeof boundsFields>,
  defaultMax: number
): DelayBounds => {
  const max = maxDelay ?? defaultMax
  const min = minDelay ?? Math.min(1_000, max)
  if (max < min) throw refused(operation, "maxDelay", `expected at least minDelay (${min} ms), got ${max} ms`)
  return {
    min,
    apply: (millis) =>
      Effect.map(Random.next, (random) => Math.ceil(Math.min(max, Math.max(min, millis)) * (1 + jitter * random)))
  }
}
