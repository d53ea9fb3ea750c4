import type * as Circuit from "../core/Circuit.ts"
import { states } from "../shapes/states.ts"
import { ascii } from "./codec.ts"
import { limits } from "./SharedStore.ts"

/** What a process has counted for one name in a period. */
export interface DigestCounts {
  readonly calls: number
  readonly successes: number
  readonly failures: number
  readonly rejected: number
  readonly slow: number
  readonly passed: number
}

/** A key whose circuit is not Closed or has failed recently. */
export interface WorstKey {
  readonly key: string
  readonly state: Circuit.State
  /** The recent failures of the circuit, in the window of its trip. */
  readonly failures: number
}

/** What a digest says about one name. */
export interface NameDigest extends DigestCounts {
  readonly name: string
  readonly inFlight: number
  readonly keys: number
  /** How many circuits of the name are not Closed in this process. */
  readonly notClosed: number
  /** The sum of the adaptive limits of the circuits that are limited now; `undefined` if none is. */
  readonly limit: number | undefined
  /** Durations of the calls of the period, in milliseconds; `undefined` if they are not measured. */
  readonly p50: number | undefined
  readonly p95: number | undefined
  readonly worst: ReadonlyArray<WorstKey>
  /** Only for a name that is not Closed or has failed in the period, and only if there is room. */
  readonly about?: NameDetails | undefined
}

/** The reason and the settings of a failing name. */
export interface NameDetails {
  /** The latest failure, without secrets: at most {@link longestFailure} characters. */
  readonly lastFailure: string | undefined
  /** The fields of the policy that differ from the default, with their values. */
  readonly policy: ReadonlyArray<readonly [name: string, value: string]>
}

export const longestFailure = 120

/** The summary that a process sends with its heartbeat. */
export interface Digest {
  /** The length of the period, in milliseconds. */
  readonly millis: number
  readonly names: ReadonlyArray<NameDigest>
  /** The digest has no room for the counts of these names. */
  readonly others: ReadonlyArray<string>
  /** How many more names there are. */
  readonly leftOut: number
}

/** The most keys that a digest shows of one name. */
export const mostKeys = 5

/** A name or a key whose JSON is longer than this is left out. */
const longestName = 1_000
const longestKey = 200

/** The room for names with counts, if not all names have room, and for keys. The rest is for names alone. */
const roomForCounts = limits.digest * 0.75
const roomForKeys = limits.digest * 0.5

/** No more names than these have room: an entry has at least 20 characters. */
const mostEntries = Math.ceil(limits.digest / 20)

const json = (value: unknown): string => ascii(JSON.stringify(value))

const traffic = ({ calls, passed, rejected }: DigestCounts): number => calls + rejected + passed

/** Names with a circuit that is not Closed come first, and then those with most calls. */
const byImportance = (a: NameDigest, b: NameDigest): number =>
  Math.min(b.notClosed, 1) - Math.min(a.notClosed, 1) || traffic(b) - traffic(a) || (a.name < b.name ? -1 : 1)

/** The most important names, in order. It never sorts more than twice as many as it returns. */
const mostImportant = (names: ReadonlyArray<NameDigest>): ReadonlyArray<NameDigest> => {
  let some: Array<NameDigest> = []
  let last: NameDigest | undefined
  for (const one of names) {
    if (last !== undefined && byImportance(one, last) > 0) continue
    some.push(one)
    if (some.length < 2 * mostEntries) continue
    some = some.sort(byImportance).slice(0, mostEntries)
    last = some.at(-1)
  }
  return some.sort(byImportance).slice(0, mostEntries)
}

/** Three significant digits are enough for a duration. */
const rounded = (millis: number | undefined): number | null =>
  millis === undefined || !Number.isFinite(millis) ? null : Number(millis.toPrecision(3))

const keysOf = (worst: ReadonlyArray<WorstKey>): ReadonlyArray<unknown> =>
  worst
    .slice(0, mostKeys)
    .flatMap(({ failures, key, state }) =>
      json(key).length <= longestKey ? [key, states.indexOf(state), failures] : []
    )

const detailsOf = (about: NameDetails | undefined): ReadonlyArray<unknown> | null =>
  about === undefined ? null : [about.lastFailure?.slice(0, longestFailure) ?? null, about.policy.flat()]

/** The values of an entry in their order. Counts of 0 and missing values at the end are dropped. */
const entry = (one: NameDigest, withKeys: boolean, about: NameDetails | undefined): string => {
  const { calls, failures, inFlight, keys, limit, name, notClosed, p50, p95, passed, rejected, slow, successes } = one
  const worst = withKeys ? keysOf(one.worst) : []
  const counts = [calls, successes, failures, rejected, slow, passed, inFlight, keys, notClosed]
  const values = [
    ...counts,
    rounded(limit),
    rounded(p50),
    rounded(p95),
    worst.length === 0 ? null : worst,
    detailsOf(about)
  ]
  while (values.at(-1) === null) values.pop()
  while (values.length <= counts.length && values.at(-1) === 0) values.pop()
  return json([name, ...values])
}

/**
 * The text of a digest: at most `limits.digest` printable ASCII characters. If there is not enough room, only the most important names have
 * counts, and further names have no counts. The digest leaves out the remaining names, and contains only their number.
 */
export const encode = (millis: number, names: ReadonlyArray<NameDigest>): string => {
  const rest = new Set(names)
  let leftOut = 0
  const around = `{"v":1,"p":,"c":[],"n":[],"l":}`.length + 2 * String(Number.MAX_SAFE_INTEGER).length
  const most = limits.digest - around
  const counted: Array<{ text: string; readonly of: NameDigest; readonly withKeys: boolean }> = []
  let length = 0
  for (const one of mostImportant(names)) {
    if (json(one.name).length > longestName) {
      rest.delete(one)
      leftOut++
      continue
    }
    const withKeys = length < roomForKeys
    const text = entry(one, withKeys, undefined)
    if (length + text.length + 1 > most) break
    counted.push({ text, of: one, withKeys })
    length += text.length + 1
    rest.delete(one)
  }
  // Names alone need the room more than the last counts do.
  while (rest.size > 0 && length > roomForCounts) {
    const last = counted.pop()
    if (last === undefined) break
    length -= last.text.length + 1
    rest.add(last.of)
  }
  const shown: Array<string> = []
  for (const { name } of rest) {
    const room = Math.min(longestName, most - length - 1)
    // The JSON of a name is longer than the name.
    const text = name.length < room ? json(name) : undefined
    if (text === undefined || text.length > room) {
      leftOut++
      continue
    }
    shown.push(text)
    length += text.length + 1
  }
  // Details come last, and use the remaining room.
  for (const one of counted) {
    if (one.of.about === undefined) continue
    const text = entry(one.of, one.withKeys, one.of.about)
    const longer = length + text.length - one.text.length
    if (longer > most) continue
    length = longer
    one.text = text
  }
  const counts = counted.map(({ text }) => text).join(",")
  return `{"v":1,"p":${Math.round(millis)},"c":[${counts}],"n":[${shown.join(",")}],"l":${leftOut}}`
}

const isCount = (value: unknown): value is number => typeof value === "number" && value >= 0 && value < 2 ** 53

const isName = (value: unknown): value is string => typeof value === "string" && value !== ""

const isCountOrNone = (value: unknown): boolean => value === null || value === undefined || isCount(value)

const decodeKeys = (value: unknown): ReadonlyArray<WorstKey> | undefined => {
  if (value === null || value === undefined) return []
  if (!Array.isArray(value)) return undefined
  const keys: Array<WorstKey> = []
  for (let i = 0; i < value.length && keys.length < mostKeys; i += 3) {
    const [key, index, failures] = value.slice(i, i + 3)
    const state = typeof index === "number" ? states[index] : undefined
    if (typeof key !== "string" || state === undefined || !isCount(failures)) return undefined
    keys.push({ key, state, failures })
  }
  return keys
}

const isText = (value: unknown): value is string => typeof value === "string"

/** Returns `undefined` for missing or invalid details. The counts of the entry stay valid. */
const decodeDetails = (value: unknown): NameDetails | undefined => {
  if (!Array.isArray(value)) return undefined
  const [lastFailure, policy] = value
  const texts: ReadonlyArray<string> = Array.isArray(policy) && policy.every(isText) ? policy : []
  return {
    lastFailure: typeof lastFailure === "string" ? lastFailure.slice(0, longestFailure) : undefined,
    policy: Array.from(
      { length: Math.floor(texts.length / 2) },
      (_, i) => [texts[2 * i] ?? "", texts[2 * i + 1] ?? ""] as const
    )
  }
}

/** A newer version may add values at the end. */
const decodeEntry = (value: unknown): NameDigest | undefined => {
  if (!Array.isArray(value) || !isName(value[0]) || !value.slice(1, 13).every(isCountOrNone)) return undefined
  const worst = decodeKeys(value[13])
  if (worst === undefined) return undefined
  const count = (index: number): number => value[index] ?? 0
  const optional = (index: number): number | undefined => value[index] ?? undefined
  const about = decodeDetails(value[14])
  return {
    name: value[0],
    calls: count(1),
    successes: count(2),
    failures: count(3),
    rejected: count(4),
    slow: count(5),
    passed: count(6),
    inFlight: count(7),
    keys: count(8),
    notClosed: count(9),
    limit: optional(10),
    p50: optional(11),
    p95: optional(12),
    worst,
    ...(about === undefined ? {} : { about })
  }
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Decodes a digest. `undefined` if the text is not a digest, or one of a version that this one cannot read. It never throws. */
export const decode = (text: unknown): Digest | undefined => {
  if (typeof text !== "string" || text.length > limits.digest) return undefined
  const found = parsed(text)
  if (typeof found !== "object" || found === null) return undefined
  const { c: counts, l: leftOut, n: others, p: millis, v: version } = found as Readonly<Record<string, unknown>>
  if (version !== 1 || !isCount(millis) || !isCount(leftOut) || !Array.isArray(counts) || !Array.isArray(others)) {
    return undefined
  }
  const names = counts.map(decodeEntry)
  if (!names.every((one) => one !== undefined) || !others.every(isName)) return undefined
  return { millis, names, others, leftOut }
}
