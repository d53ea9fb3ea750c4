/**
 * What a `Retry-After` header says (RFC 9110, section 10.2.3): seconds, or a date in one of the three forms of HTTP.
 *
 * @since 0.1.0
 */

const seconds = /^\d{1,15}$/
const dates: ReadonlyArray<readonly [form: RegExp, zone: string]> = [
  [/^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/, ""],
  [/^[A-Z][a-z]{5,8}, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT$/, ""],
  // The oldest form says no zone, and means this one.
  [/^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/, " GMT"]
]

/** Milliseconds since 1970 of a date of HTTP. */
const parseDate = (value: string): number | undefined => {
  const known = dates.find(([form]) => form.test(value))
  const millis = known === undefined ? Number.NaN : Date.parse(`${value}${known[1]}`)
  return Number.isNaN(millis) ? undefined : millis
}

/**
 * How many milliseconds to wait, at least 0; nothing where the header is missing or says nothing that can be read.
 *
 * A date is compared with the response's own `Date` where it has one, so that clocks need not agree, or else with `now`,
 * in milliseconds since 1970.
 *
 * ```ts
 * import { RetryAfter } from "effect-fuse/http"
 *
 * RetryAfter.parse({ "retry-after": "120" }, 0) // => 120_000
 * RetryAfter.parse({ "retry-after": "Fri, 31 Dec 1999 23:59:59 GMT", date: "Fri, 31 Dec 1999 23:59:49 GMT" }, 0) // => 10_000
 * RetryAfter.parse({ "retry-after": "soon" }, 0) // => undefined
 * ```
 *
 * @category parsing
 * @since 0.1.0
 */
export const parse = (headers: { readonly [name: string]: string | undefined }, now: number): number | undefined => {
  const value = headers["retry-after"]?.trim()
  if (value === undefined) return undefined
  if (seconds.test(value)) return Number(value) * 1000
  const until = parseDate(value)
  if (until === undefined) return undefined
  return Math.max(0, until - (parseDate(headers["date"]?.trim() ?? "") ?? now))
}
