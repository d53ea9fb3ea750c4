import * as Result from "effect/Result"
import { foreignText } from "../core/foreign.ts"
import { show } from "../core/printable.ts"
import { isFailureStatus } from "../engine/classify.ts"

/** A call that a caller wants to make, and how it ends if it reaches the dependency. */
export interface TracedCall {
  /** Milliseconds from the start. */
  readonly at: number
  readonly outcome: "success" | "failure"
  /** The duration in milliseconds. `Infinity` if the call never ends. */
  readonly duration: number
}

/** A period in which the dependency is down, in milliseconds from the start. */
export interface TracedOutage {
  readonly from: number
  readonly until: number
}

// ---- Generated loads ------------------------------------------------------------------------------------------------

/** The decoded load, in milliseconds and calls per second. */
export interface Described {
  readonly rate: number
  readonly millis: number
  readonly duration: number
  readonly errors: number
  readonly outages: ReadonlyArray<TracedOutage & { readonly errors: number; readonly duration: number }>
  readonly seed: number
}

/** Reproducible random numbers from 0 to 1 (mulberry32). */
export const chances = (seed: number) => {
  let state = seed >>> 0
  return (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Calls at random times with the mean `rate`. Each takes between 0.5 and 1.5 times the `duration`. */
export const generate = ({ duration, errors, millis, outages, rate, seed }: Described): ReadonlyArray<TracedCall> => {
  const chance = chances(seed)
  const calls: Array<TracedCall> = []
  for (let at = 0; ; ) {
    at += (-Math.log(1 - chance()) * 1_000) / rate
    if (at >= millis) return calls
    const now = outages.find(({ from, until }) => at >= from && at < until) ?? { errors, duration }
    const fails = chance() < now.errors
    calls.push({ at, outcome: fails ? "failure" : "success", duration: now.duration * (0.5 + chance()) })
  }
}

// ---- Recorded traces ------------------------------------------------------------------------------------------------

const outcomes: ReadonlyMap<string, TracedCall["outcome"]> = new Map([
  ["success", "success"],
  ["ok", "success"],
  ["failure", "failure"],
  ["error", "failure"],
  ["timeout", "failure"]
])

/** Reads a word or an HTTP status. A status has the outcome that a circuit gives it by default. */
const toOutcome = (text: string): TracedCall["outcome"] | undefined => {
  if (!/^[1-5]\d\d$/.test(text)) return outcomes.get(text.toLowerCase())
  return isFailureStatus(Number(text)) ? "failure" : "success"
}

/** The largest time that `Date` supports. */
const lastMillis = 8.64e15

/** `Date.parse` accepts many texts that are not dates, so the text must begin as ISO 8601 does. */
const date = /^[+-]?\d{4,6}-\d{2}(-\d{2}([T ].*)?)?$/

const toTime = (text: string): number | undefined => {
  const millis = /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : date.test(text) ? Date.parse(text) : Number.NaN
  return Math.abs(millis) <= lastMillis ? millis : undefined
}

const toDuration = (text: string): number | undefined => {
  if (text.toLowerCase() === "hang") return Infinity
  const millis = text === "" ? Number.NaN : Number(text)
  return millis >= 0 && millis < Infinity ? millis : undefined
}

const columns = ["time", "outcome", "duration"] as const

type TraceFields = Readonly<Record<(typeof columns)[number], unknown>>

const fieldOf = (value: unknown): string =>
  typeof value === "string" ? value.trim() : typeof value === "number" ? String(value) : ""

const toCall = (fields: TraceFields, where: string): Result.Result<TracedCall, string> => {
  const at = toTime(fieldOf(fields.time))
  const outcome = toOutcome(fieldOf(fields.outcome))
  const duration = toDuration(fieldOf(fields.duration))
  const wrong = (field: keyof TraceFields, expected: string) =>
    Result.fail(`${where}: ${field} must be ${expected}, got ${show(fields[field])}`)
  if (at === undefined) return wrong("time", "milliseconds or a time such as 2026-11-21T10:00:00Z")
  if (outcome === undefined) return wrong("outcome", "success, failure or an HTTP status")
  if (duration === undefined) return wrong("duration", "milliseconds of 0 or more, or hang")
  return Result.succeed({ at, outcome, duration })
}

/** Sorts the calls by time, and makes the first time 0. */
const inOrder = (calls: ReadonlyArray<TracedCall>): ReadonlyArray<TracedCall> => {
  const sorted = [...calls].sort((a, b) => a.at - b.at)
  const first = sorted[0]?.at ?? 0
  return sorted.map((call) => ({ ...call, at: call.at - first }))
}

const fromRows = (
  rows: ReadonlyArray<readonly [where: string, fields: TraceFields]>
): Result.Result<ReadonlyArray<TracedCall>, string> => {
  const calls: Array<TracedCall> = []
  for (const [where, fields] of rows) {
    const call = toCall(fields, where)
    if (Result.isFailure(call)) return Result.fail(call.failure)
    calls.push(call.success)
  }
  return calls.length === 0 ? Result.fail("the trace has no calls") : Result.succeed(inOrder(calls))
}

/** The cells of a line of CSV. In quotes, a comma is text, and a doubled quote is a quote. */
const cellsOf = (line: string): ReadonlyArray<string> =>
  Array.from(line.matchAll(/(?<=^|,)(?:"(?:[^"]|"")*"|[^,])*/g), ([cell]) =>
    cell
      .trim()
      .replace(/^"(.*)"$/, "$1")
      .replaceAll('""', '"')
  )

const fromCsv = (text: string): Result.Result<ReadonlyArray<TracedCall>, string> => {
  const [head = "", ...lines] = text.split(/\r?\n/)
  const names = cellsOf(head).map((name) => name.toLowerCase())
  const missing = columns.filter((column) => !names.includes(column))
  if (missing.length > 0) {
    return Result.fail(`line 1: expected the columns ${columns.join(", ")}, got ${show(head)}`)
  }
  const rows = lines.flatMap((line, i): ReadonlyArray<readonly [string, TraceFields]> => {
    if (line.trim() === "") return []
    const cells = cellsOf(line)
    const cell = (column: string) => cells[names.indexOf(column)]
    return [[`line ${i + 2}`, { time: cell("time"), outcome: cell("outcome"), duration: cell("duration") }]]
  })
  return fromRows(rows)
}

const fromJson = (text: string): Result.Result<ReadonlyArray<TracedCall>, string> => {
  const parsed = Result.try({
    try: (): unknown => JSON.parse(text),
    catch: (error) => `invalid JSON: ${foreignText(error)}`
  })
  return Result.flatMap(parsed, (value) =>
    Array.isArray(value)
      ? fromRows(
          value.map((one, i) => [`call ${i + 1}`, (typeof one === "object" && one !== null ? one : {}) as TraceFields])
        )
      : Result.fail(`expected a list of { time, outcome, duration }, got ${show(value)}`)
  )
}

/** Reads JSON if the text starts with a bracket, otherwise CSV. A failure says what is wrong and where. */
export const parse = (text: string): Result.Result<ReadonlyArray<TracedCall>, string> =>
  /^\s*[[{]/.test(text) ? fromJson(text) : fromCsv(text)

const secondMillis = 1_000

/** The periods in which most calls fail, in steps of a second. Seconds without calls do not end an outage. */
export const outagesOf = (calls: ReadonlyArray<TracedCall>): ReadonlyArray<TracedOutage> => {
  const seconds = new Map<number, Array<TracedCall>>()
  for (const call of calls) {
    const second = Math.floor(call.at / secondMillis)
    const some = seconds.get(second)
    if (some === undefined) seconds.set(second, [call])
    else some.push(call)
  }
  const found: Array<TracedOutage> = []
  let inOutage = false
  for (const [, some] of [...seconds].sort(([a], [b]) => a - b)) {
    const failures = some.filter(({ outcome }) => outcome === "failure")
    const [first, last] = [failures[0], failures.at(-1)]
    const before = inOutage ? found.pop() : undefined
    inOutage = failures.length * 2 > some.length
    if (inOutage && first !== undefined && last !== undefined) {
      found.push({ from: before?.from ?? first.at, until: last.at })
    } else if (before !== undefined) found.push(before)
  }
  return found
}
