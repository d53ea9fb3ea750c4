import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { printable, printableJson, printableLines } from "../printable.ts"

/**
 * What ends a command that could not do what it was asked, and with which code: 1 it was asked wrongly, 2 the store or the
 * database could not be reached or failed, 3 the answer is no.
 */
export class Failure extends Data.TaggedError("Failure")<{
  readonly code: 1 | 2 | 3
  readonly message: string
  /** What to do now. */
  readonly advice?: string | undefined
}> {
  override readonly [Runtime.errorExitCode] = this.code
  override readonly [Runtime.errorReported] = false
}

/** A text without the passwords of the URLs in it. */
export const withoutSecrets = (text: string): string =>
  text.replaceAll(/(\w:\/\/)[^\s"]*@/g, "$1***@").replaceAll(/(password=)[^&\s"]*/gi, "$1***")

/** Says why a command failed, where that is not mixed up with its answer. What it is about may come from outside. */
export const report = ({ advice, code, message }: Failure, json: boolean): Effect.Effect<void> =>
  Console.error(
    json
      ? toJson({ error: { code, message, advice: advice ?? null } })
      : printableLines([message, ...(advice ? [advice] : [])].join("\n"))
  )

// ---- Answers --------------------------------------------------------------------------------------------------------

/** What has no value is `null`: a script can rely on its being there. */
export const toJson = (value: unknown, space?: number): string =>
  printableJson(JSON.stringify(value, (_, one) => (one === undefined ? null : one), space))

/** The answer of a command: for people, or for programs. */
export const answer = (json: boolean, value: unknown, text: string): Effect.Effect<void> =>
  Console.log(json ? toJson(value, 2) : printableLines(text))

/** Rows under their heads, in columns; a column that is empty everywhere is left out. No cell leaves its line. */
export const table = (heads: ReadonlyArray<string>, cells: ReadonlyArray<ReadonlyArray<string>>): string => {
  const rows = cells.map((row) => row.map(printable))
  const used = heads.map((_, column) => rows.some((row) => row[column] !== ""))
  const widths = heads.map((head, column) => Math.max(head.length, ...rows.map((row) => (row[column] ?? "").length)))
  return [heads, ...rows]
    .map((row) =>
      row
        .flatMap((cell, column) => (used[column] ? [cell.padEnd(widths[column] ?? 0)] : []))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** The last moment that a date can be. */
const lastMillis = 8.64e15

/** A moment; what no date can be, as a store may have it, is as good as none. */
export const iso = (millis: number | undefined): string | null =>
  millis === undefined || !(Math.abs(millis) <= lastMillis) ? null : new Date(millis).toISOString()

/** A duration in its two largest units: `2h 10m`. */
export const lasting = (millis: number): string => {
  if (millis === Infinity) return "for ever"
  const rounded = millis < 1_000 ? Math.max(0, Math.round(millis)) : Math.round(millis / 1_000) * 1_000
  const [first = "0ms", second] = Duration.format(Duration.millis(rounded)).split(" ")
  return second === undefined ? first : `${first} ${second}`
}

export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`
