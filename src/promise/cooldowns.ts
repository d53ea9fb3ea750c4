import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { anyMillis, decodeOptions, flag, isRecord, listOf, optional, positiveMillis } from "../core/fields.ts"
import { expectedDuration, toMillis } from "../core/millis.ts"
import { show } from "../core/printable.ts"

/** A schedule whose n-th delay is that of the n-th opening. */
const byOpening = (millisOf: (opening: number) => number): Schedule.Schedule<number, number> =>
  Schedule.modifyDelay(Schedule.forever, ({ attempt }) => Effect.sync(() => Duration.millis(millisOf(attempt))))

const linearFields = { linear: positiveMillis, step: optional(positiveMillis), jittered: optional(flag) }
const listFields = { cooldown: listOf(anyMillis, 1) }

const ofFunction = (operation: string, cooldown: (opening: number) => unknown) =>
  byOpening((opening) => {
    const answer = cooldown(opening)
    const millis = toMillis(answer)
    if (millis !== undefined && millis >= 0) return millis
    throw new RangeError(`${operation}: cooldown: expected ${expectedDuration.zeroOrMore}, got ${show(answer)}`)
  })

/** Turns the forms of a cooldown that only the promise face has into a schedule. Returns all others unchanged. */
export const toCooldown = (operation: string, cooldown: unknown): unknown => {
  if (typeof cooldown === "function") return ofFunction(operation, cooldown as (opening: number) => unknown)
  if (Array.isArray(cooldown)) {
    const { cooldown: list } = decodeOptions(operation, listFields, { cooldown })
    return byOpening((opening) => list[Math.min(opening, list.length) - 1] ?? 0)
  }
  if (!isRecord(cooldown) || !("linear" in cooldown)) return cooldown
  const { jittered, linear, step = linear } = decodeOptions(`${operation}: cooldown`, linearFields, cooldown)
  const growing = byOpening((opening) => linear + step * (opening - 1))
  return jittered === true ? Schedule.jittered(growing) : growing
}
