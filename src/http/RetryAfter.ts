/**
 * Reads how long a server asks clients to wait: from `Retry-After` (RFC 9110, section 10.2.3), also in common forms that the RFC does
 * not allow, and from the headers of rate limits.
 *
 * @since 0.1.0
 */
import { type HeadersLike, parseRetryAfter } from "../core/retryHints.ts"

export type { HeadersLike }

/**
 * How long to wait in milliseconds, from 0 to one day. `undefined` if no header says so in a readable form. It never throws.
 *
 * The first of these that can be read is used:
 *
 * 1. `retry-after-ms`, `x-ms-retry-after-ms`: milliseconds.
 * 2. `retry-after`: seconds, also with a fraction; an HTTP date or an ISO date. In a list (`120, 60`) the longest wait is used.
 * 3. `RateLimit` with `reset` or `t`, `RateLimit-Reset`, `X-RateLimit-Reset` and similar: seconds, a date, seconds or milliseconds
 *    since 1970, or a duration such as `6m0s`. They are read if the remaining quota is 0. If no header gives the remaining quota, they
 *    are read only if `status` is 429 or not given.
 *
 * A date is compared with the `Date` header of the response, so that the two clocks need not agree. If there is none, it is compared
 * with `now`, in milliseconds since 1970.
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
