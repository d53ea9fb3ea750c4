/**
 * When a server says that it may be called again: `Retry-After` as RFC 9110 has it and as servers write it, and the headers of
 * rate limits in their dialects. Nothing here throws, whatever the headers are, and every answer is from 0 to {@link longest}.
 */

/** Headers as a record with names in lower case, or anything with a `get`, such as the `Headers` of `fetch`. */
export type HeadersLike = { readonly [name: string]: unknown } | { readonly get: (name: string) => unknown }

/** The longest wait that is reported: a day. A server that asks for more is asked again after a day. */
export const longest = 86_400_000

/** No header value is read beyond this. */
const maxLength = 256

/** A number above this is a date in seconds since 1970 and not a delay of more than 31 years. */
const earliestSeconds = 1e9
/** A number above this is a date in milliseconds since 1970. */
const earliestMillis = 1e11

const number = /^\d{1,20}(?:\.\d{1,20})?$/
/** `1.5s`, `250ms`, `6m0s`: durations as Go writes them. */
const duration = /^(?:\d{1,15}(?:\.\d{1,15})?(?:ms|[smhd]))+$/i
const durationPart = /([\d.]+)(ms|[smhd])/gi
const unitMillis: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** The forms of a date that are accepted, and the time zone to add if the form names none. */
const dates: ReadonlyArray<readonly [form: RegExp, zone: string]> = [
  [/^[a-z]{3}, \d{1,2} [a-z]{3} \d{4} \d{1,2}:\d{2}:\d{2} (?:GMT|UTC|[+-]\d{4})$/i, ""],
  [/^[a-z]{6,9}, \d{1,2}-[a-z]{3}-\d{2} \d{1,2}:\d{2}:\d{2} (?:GMT|UTC)$/i, ""],
  // The asctime form names no zone and means GMT.
  [/^[a-z]{3} [a-z]{3} [ \d]?\d \d{1,2}:\d{2}:\d{2} \d{4}$/i, " GMT"],
  [/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:\d{2})$/i, ""]
]

/** A comma separates two values, unless the name of a day stands before it. */
const separator = /(?<!\b(?:mon|tue|wed|thu|fri|sat|sun)|day),/i

/** Milliseconds since 1970. */
const parseDate = (value: string): number | undefined => {
  const known = dates.find(([form]) => form.test(value))
  const millis = known === undefined ? Number.NaN : Date.parse(`${value}${known[1]}`)
  return Number.isNaN(millis) ? undefined : millis
}

/** Milliseconds from `now`, not bounded yet. */
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

/** The longest wait that a header names, as a header that was sent twice is a list. */
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

const reader = (headers: HeadersLike): Read => {
  const { get } = headers as { readonly get?: unknown }
  return (name) => {
    const value: unknown =
      typeof get === "function" ? get.call(headers, name) : (headers as { readonly [name: string]: unknown })[name]
    const one = typeof value === "number" ? String(value) : value
    return typeof one === "string" && one.length <= maxLength ? one.trim() : undefined
  }
}

// ---- Rate limits ----------------------------------------------------------------------------------------------------

/** The names of one dialect: what is left of the limit, and when there is more. */
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

/** `limit=100, remaining=0, reset=50`, or `"default";r=0;t=50`, of which there may be several with a comma between. */
const parseLimit = (value: string, spent: (remaining: string | undefined) => boolean): number | undefined => {
  const at = (text: string, name: RegExp): string | undefined => name.exec(text)?.[1]
  const waits = (/\breset\s*=/i.test(value) ? [value] : value.split(",")).flatMap((one) => {
    const reset = at(one, /\b(?:reset|t)\s*=\s*(\d{1,9}(?:\.\d{1,9})?)/i)
    return reset !== undefined && spent(at(one, /\b(?:remaining|r)\s*=\s*(\d{1,15})/i)) ? [Number(reset) * 1_000] : []
  })
  return waits.length === 0 ? undefined : bounded(Math.max(...waits))
}

/**
 * Servers send these with every response. They say how long to wait only if nothing is left of the limit; if the header with
 * what is left is missing, the status has to be 429, or not to be known.
 */
const ofLimits = (read: Read, now: number, status: number | undefined): number | undefined => {
  const refused = status === undefined || status === 429
  const spent = (remaining: string | undefined) =>
    remaining === undefined ? refused : number.test(remaining) && Number(remaining) === 0
  const combined = read("ratelimit")
  let most = combined === undefined ? undefined : parseLimit(combined, spent)
  const seen = new Set<string>()
  for (const [remaining, reset] of limits) {
    // One limit in two spellings: the first one that can be read is taken.
    if (seen.has(remaining) || !spent(read(remaining))) continue
    const millis = parseAll(read(reset), now)
    if (millis === undefined) continue
    seen.add(remaining)
    most = Math.max(most ?? 0, millis)
  }
  return most
}

/**
 * Milliseconds until the server may be called again, or nothing if the headers do not say so. Dates are compared with the
 * response's own `Date`, or else with `now`.
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
