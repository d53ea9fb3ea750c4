import * as Duration from "effect/Duration"
import * as Outcome from "../core/Outcome.ts"
import { type HeadersLike, parseRetryAfter } from "../core/retryHints.ts"

export const failureOf = (status: number, headers: HeadersLike, now: number): Outcome.Outcome => {
  const detail = `HTTP ${status}`
  const millis = parseRetryAfter(headers, now, status)
  return Outcome.failure(millis === undefined ? { detail } : { detail, retryAfter: Duration.millis(millis) })
}
