import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { printableJson, printableLines } from "../core/printable.ts"

/**
 * Ends a command that failed, with its exit code: 1 for a usage error, 2 if the store or the database cannot be reached or failed, 3
 * if the answer of the command is negative.
 */
export class CommandFailure extends Data.TaggedError("Failure")<{
  readonly code: 1 | 2 | 3
  readonly message: string
  /** How to solve the problem. */
  readonly advice?: string | undefined
}> {
  override readonly [Runtime.errorExitCode] = this.code
  override readonly [Runtime.errorReported] = false
}

/** Prints to the error output why a command failed. Parts of the message may come from outside, so they are escaped. */
export const report = ({ advice, code, message }: CommandFailure, json: boolean): Effect.Effect<void> =>
  Console.error(
    json
      ? toJson({ error: { code, message, advice: advice ?? null } })
      : printableLines([message, ...(advice ? [advice] : [])].join("\n"))
  )

// ---- Answers --------------------------------------------------------------------------------------------------------

/** A text with colors. Every part that came from outside is escaped already. */
export class Painted {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** A missing value is `null`, so that every field is always there. */
export const toJson = (value: unknown, space?: number): string =>
  printableJson(JSON.stringify(value, (_, one) => (one === undefined ? null : one), space))

/** Prints the answer of a command: as JSON for programs, or as a text. */
export const answer = (json: boolean, value: unknown, text: string | Painted): Effect.Effect<void> =>
  Console.log(json ? toJson(value, 2) : typeof text === "string" ? printableLines(text) : text.text)

/** The latest time of a `Date`. */
const lastMillis = 8.64e15

/** A time in ISO 8601. `null` if there is none or if the number is not a date, because a store may contain any number. */
export const iso = (millis: number | undefined): string | null =>
  millis === undefined || !(Math.abs(millis) <= lastMillis) ? null : new Date(millis).toISOString()

/** A duration in its two largest units: `2h 10m`. */
export const lasting = (millis: number): string => {
  if (millis === Infinity) return "for ever"
  const rounded = millis < 1_000 ? Math.max(0, Math.round(millis)) : Math.round(millis / 1_000) * 1_000
  const [first = "0ms", second] = Duration.format(Duration.millis(rounded)).split(" ")
  return second === undefined ? first : `${first} ${second}`
}
