/**
 * Reads when a server may be called again. It reads `Retry-After` in the forms of RFC 9110 and in other common forms, and several
 * kinds of rate limit headers. No function here throws for any headers, and every result is from 0 to {@link longest}.
 */

/**
 * Headers: a record whose names may be in any case, or an object with a `get` method, such as the `Headers` of `fetch`.
 *
 * @category models
 */
export type HeadersLike = { readonly [name: string]: unknown } | { readonly get: (name: string) => unknown }

/** The longest wait that is reported: one day. If a server asks for more, it is called again after one day. */
export const longest = 86_400_000

const maxLength = 256

/** From this number on, a value is a time in seconds since 1970, because as a delay it would be more than 31 years. */
const earliestSeconds = 1e9
/** From this number on, a value is a time in milliseconds since 1970. */
const earliestMillis = 1e11

const number = /^\d{1,20}(?:\.\d{1,20})?$/
/** Durations in the format of Go: `1.5s`, `250ms`, `6m0s`. */
const duration = /^(?:\d{1,15}(?:\.\d{1,15})?(?:ms|[smhd]))+$/i
const durationPart = /([\d.]+)(ms|[smhd])/gi
const unitMillis: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** The accepted forms of a date, each with the time zone to add if the form has no time zone. */
const dates: ReadonlyArray<readonly [form: RegExp, zone: string]> = [
  [/^[a-z]{3}, \d{1,2} [a-z]{3} \d{4} \d{1,2}:\d{2}:\d{2} (?:GMT|UTC|[+-]\d{4})$/i, ""],
  [/^[a-z]{6,9}, \d{1,2}-[a-z]{3}-\d{2} \d{1,2}:\d{2}:\d{2} (?:GMT|UTC)$/i, ""],
  // The asctime form has no time zone and means GMT.
  [/^[a-z]{3} [a-z]{3} [ \d]?\d \d{1,2}:\d{2}:\d{2} \d{4}$/i, " GMT"],
  [/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/i, ""]
]

/** A comma separates two values, unless it follows the name of a day, as in an HTTP date. */
const separator = /(?<!\b(?:mon|tue|wed|thu|fri|sat|sun)|day),/i

/** Milliseconds since 1970. */
const parseDate = (value: string): number | undefined => {
  const known = dates.find(([form]) => form.test(value))
  const millis = known === undefined ? Number.NaN : Date.parse(`${value}${known[1]}`)
  return Number.isNaN(millis) ? undefined : millis
}

/** Milliseconds from `now`. The result is not limited to a range. */
const parseOne = (value: string, now: number): number | undefined => {
  if (number.test(value)) {
    const amount = Number(value)
    if (amount < earliestSeconds) return amount * 1_000
    return (amount < earliestMillis ? amount * 1_000 : amount) - now
  }
  if (duration.test(value)) {
    let sum = 0
    for (const [, amount, unit = ""] of value.matchAll(durationPart)) {
      sum += Number(amount) * (unitMillis[unit.toLowerCase()] ?? 0)
    }
    return sum
  }
  const until = parseDate(value)
  return until === undefined ? undefined : until - now
}

const bounded = (millis: number): number => Math.min(longest, Math.max(0, millis))

/** The longest wait in a header. A header that was sent twice is a list. */
const parseAll = (value: string | undefined, now: number): number | undefined => {
  let most: number | undefined
  for (const one of value?.split(separator) ?? []) {
    const millis = parseOne(one.trim(), now)
    if (millis !== undefined && !Number.isNaN(millis)) most = Math.max(most ?? 0, bounded(millis))
  }
  return most
}

const parseMillis = (value: string | undefined): number | undefined =>
  value !== undefined && number.test(value) ? bounded(Number(value)) : undefined

type Read = (name: string) => string | undefined

/** A record whose names are in lower case. Some clients keep them as the server has sent them. */
const inLowerCase = (headers: { readonly [name: string]: unknown }): { readonly [name: string]: unknown } => {
  const names = Object.keys(headers)
  return names.every((name) => name === name.toLowerCase())
    ? headers
    : Object.fromEntries(names.map((name) => [name.toLowerCase(), headers[name]]))
}

const reader = (headers: HeadersLike): Read => {
  const { get } = headers as { readonly get?: unknown }
  const record = typeof get === "function" ? {} : inLowerCase(headers as { readonly [name: string]: unknown })
  return (name) => {
    const value: unknown = typeof get === "function" ? get.call(headers, name) : record[name]
    const one = typeof value === "number" ? String(value) : Array.isArray(value) ? value.join(", ") : value
    return typeof one === "string" && one.length <= maxLength ? one.trim() : undefined
  }
}

// ---- Rate limits ----------------------------------------------------------------------------------------------------

/** Pairs of headers: the remaining quota, and when the quota is reset. */
const limits: ReadonlyArray<readonly [remaining: string, reset: string]> = [
  ["ratelimit-remaining", "ratelimit-reset"],
  ["x-ratelimit-remaining", "x-ratelimit-reset-after"],
  ["x-ratelimit-remaining", "x-ratelimit-reset"],
  ["x-rate-limit-remaining", "x-rate-limit-reset"],
  ["x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
  ["x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
  ["anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"],
  ["anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"]
]

/** Reads `limit=100, remaining=0, reset=50`, or one or more items like `"default";r=0;t=50`, separated by commas. */
const parseLimit = (value: string, spent: (remaining: string | undefined) => boolean): number | undefined => {
  const at = (text: string, name: RegExp): string | undefined => name.exec(text)?.[1]
  const waits = (/\breset\s*=/i.test(value) ? [value] : value.split(",")).flatMap((one) => {
    const reset = at(one, /\b(?:reset|t)\s*=\s*(\d{1,9}(?:\.\d{1,9})?)/i)
    return reset !== undefined && spent(at(one, /\b(?:remaining|r)\s*=\s*(\d{1,15})/i)) ? [Number(reset) * 1_000] : []
  })
  return waits.length === 0 ? undefined : bounded(Math.max(...waits))
}

/**
 * Many servers send these headers with every response. They say how long to wait only if the remaining quota is 0. If no header
 * gives the remaining quota, they are used only if the status is 429 or not known.
 */
const ofLimits = (read: Read, now: number, status: number | undefined): number | undefined => {
  const refused = status === undefined || status === 429
  const spent = (remaining: string | undefined) =>
    remaining === undefined ? refused : number.test(remaining) && Number(remaining) === 0
  const combined = read("ratelimit")
  let most = combined === undefined ? undefined : parseLimit(combined, spent)
  const seen = new Set<string>()
  for (const [remaining, reset] of limits) {
    // If a limit has several reset headers, the first readable one is used.
    if (seen.has(remaining) || !spent(read(remaining))) continue
    const millis = parseAll(read(reset), now)
    if (millis === undefined) continue
    seen.add(remaining)
    most = Math.max(most ?? 0, millis)
  }
  return most
}

/**
 * Milliseconds until the server may be called again; `undefined` if the headers do not say when. Dates are compared with the `Date`
 * header of the response, or with `now` if the response has none.
 */
export const parseRetryAfter = (headers: HeadersLike, now: number, status?: number): number | undefined => {
  try {
    const read = reader(headers)
    const exact = parseMillis(read("retry-after-ms")) ?? parseMillis(read("x-ms-retry-after-ms"))
    if (exact !== undefined) return exact
    const server = parseDate(read("date") ?? "") ?? now
    return parseAll(read("retry-after"), server) ?? ofLimits(read, server, status)
  } catch {
    return undefined
  }
}
