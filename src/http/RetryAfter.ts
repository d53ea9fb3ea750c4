/**
 * Reads how long a server asks clients to wait: from `Retry-After` (RFC 9110, section 10.2.3), including common forms that the RFC does not
 * allow, and from rate limit headers.
 */
import { type HeadersLike, parseRetryAfter } from "../core/retryHints.ts"

export type { HeadersLike }

/**
 * The wait in milliseconds, from 0 to one day. `undefined` if no header has a readable wait. It never throws.
 *
 * It uses the first of these headers that it can read:
 *
 * 1. `retry-after-ms`, `x-ms-retry-after-ms`: milliseconds.
 * 2. `retry-after`: seconds, including fractions; an HTTP date or an ISO date. In a list (`120, 60`), the longest wait.
 * 3. `RateLimit` with `reset` or `t`, `RateLimit-Reset`, `X-RateLimit-Reset` and similar: seconds, a date, seconds or milliseconds since
 *    1970, or a duration such as `6m0s`. Used only if the remaining quota is 0, or, if no header has the quota, only if `status` is 429 or
 *    not given.
 *
 * A date is compared with the response's `Date` header, so that the two clocks need not agree. Without that header, it is compared with
 * `now`, in milliseconds since 1970.
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
 */
export const parse = (headers: HeadersLike, now: number, status?: number): number | undefined =>
  parseRetryAfter(headers, now, status)
