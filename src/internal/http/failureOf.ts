import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as RetryAfter from "../../http/RetryAfter.ts"
import * as Outcome from "../../Outcome.ts"

/** The failure that a response of this status is, with what its `Retry-After` says. */
export const failureOf = (
  status: number,
  headers: { readonly [name: string]: string | undefined }
): Outcome.Outcome | Effect.Effect<Outcome.Outcome> => {
  const detail = `HTTP ${status}`
  if (headers["retry-after"] === undefined) return Outcome.failure({ detail })
  return Effect.map(Clock.currentTimeMillis, (now) => {
    const millis = RetryAfter.parse(headers, now)
    return Outcome.failure({ detail, ...(millis === undefined ? {} : { retryAfter: Duration.millis(millis) }) })
  })
}
