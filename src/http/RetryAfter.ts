/**
 * How long a server asks to be left alone: `Retry-After` (RFC 9110, section 10.2.3) as servers write it, and the headers of rate
 * limits.
 *
 * @since 0.1.0
 */
import { type HeadersLike, parseRetryAfter } from "../internal/retryAfter.ts"

/**
 * How many milliseconds to wait, from 0 to one day. `undefined` if no header says so in a form that can be read. It never throws.
 *
 * In this order:
 *
 * 1. `retry-after-ms`, `x-ms-retry-after-ms`: milliseconds.
 * 2. `retry-after`: seconds, also with a fraction; a date of HTTP or an ISO date; of a list (`120, 60`) the longest.
 * 3. `RateLimit` with `reset` or `t`, `RateLimit-Reset`, `X-RateLimit-Reset` and similar: seconds, a date, seconds or milliseconds
 *    since 1970, or a duration such as `6m0s`. They are read if nothing remains of the limit, or if the header with what remains is
 *    missing and `status` is 429 or not given.
 *
 * A date is compared with the response's own `Date` if it has one, so that clocks need not agree, or else with `now`,
 * in milliseconds since 1970. `headers` is a record with names in lower case, or has a `get`, as the `Headers` of `fetch`.
 *
 * ```ts
 * import { RetryAfter } from "effect-fuse/http"
 *
 * RetryAfter.parse({ "retry-after": "120" }, 0) // => 120_000
 * RetryAfter.parse({ "retry-after": "Fri, 31 Dec 1999 23:59:59 GMT", date: "Fri, 31 Dec 1999 23:59:49 GMT" }, 0) // => 10_000
 * RetryAfter.parse({ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "30" }, 0) // => 30_000
 * RetryAfter.parse({ "retry-after": "soon" }, 0) // => undefined
 * ```
 *
 * @category parsing
 * @since 0.1.0
 */
export const parse = (headers: HeadersLike, now: number, status?: number): number | undefined =>
  parseRetryAfter(headers, now, status)
