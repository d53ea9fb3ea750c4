import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { count, decodeArgument, decodeOptions, field, optional, positiveMillis, text, word } from "../core/fields.ts"
import { asQueue } from "../engine/nesting.ts"
import type { AnyEffect } from "../engine/timeout.ts"

interface Consumer {
  readonly consume: (options: object) => Effect.Effect<{ readonly delay: Duration.Duration }, unknown>
}

const limiterField = field("a RateLimiter, or its service", (input) =>
  Effect.isEffect(input) || typeof (input as Consumer | null | undefined)?.consume === "function"
    ? (input as Consumer | Effect.Effect<Consumer>)
    : undefined
)

const rateLimitFields = {
  key: text,
  limit: count,
  window: positiveMillis,
  tokens: optional(count),
  algorithm: optional(word("fixed-window", "token-bucket")),
  onExceeded: optional(word("delay", "fail"))
}

/** Delays a call for as long as the limiter says, or fails with the limiter's error. */
export const limiting = (operation: string, limiter: unknown, options: object): ((self: AnyEffect) => AnyEffect) => {
  const given = decodeArgument(operation, "limiter", limiterField, limiter)
  const checked = decodeOptions(operation, rateLimitFields, options)
  const found = Effect.isEffect(given) ? given : Effect.succeed(given)
  const admitted = Effect.flatMap(found, (limiter) =>
    Effect.flatMap(limiter.consume(checked), ({ delay }) =>
      Duration.isZero(delay) ? Effect.void : Effect.sleep(delay)
    )
  )
  const waited = asQueue(admitted)
  return (self) => Effect.andThen(waited, self)
}
