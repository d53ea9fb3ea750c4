import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Outcome from "../../Outcome.ts"
import { parseRetryAfter } from "../retryAfter.ts"

/** The failure that a response of this status is, with what its headers say about when to come back. */
export const failureOf = (
  status: number,
  headers: { readonly [name: string]: string | undefined }
): Effect.Effect<Outcome.Outcome> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const detail = `HTTP ${status}`
    const millis = parseRetryAfter(headers, now, status)
    return Outcome.failure(millis === undefined ? { detail } : { detail, retryAfter: Duration.millis(millis) })
  })
