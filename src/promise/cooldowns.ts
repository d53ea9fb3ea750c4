import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import {
  anyMillis,
  decodeArgument,
  type Field,
  field,
  flag,
  isRecord,
  listOf,
  millisWhere,
  optional,
  positiveMillis,
  struct
} from "../core/fields.ts"
import { expectedDuration } from "../core/millis.ts"

/** A schedule whose n-th delay is the cooldown of the n-th opening. */
const byOpening = (millisOf: (opening: number) => number): Schedule.Schedule<number, number> =>
  Schedule.modifyDelay(Schedule.forever, ({ attempt }) => Effect.sync(() => Duration.millis(millisOf(attempt))))

const linearFields = { linear: positiveMillis, step: optional(positiveMillis), jittered: optional(flag) }

const ofFunction = (cooldown: (opening: number) => unknown) =>
  byOpening((opening) => {
    const millis = cooldown(opening)
    return decodeArgument("cooldown", "the function", anyDuration, millis)
  })

const anyDuration = field(
  expectedDuration.zeroOrMore,
  millisWhere((n) => n >= 0)
)

/** Converts the forms of a cooldown that exist only in this module to a schedule. Other forms stay unchanged. */
export const cooldownField: Field<unknown> = {
  optional: false,
  decode: (cooldown, path, problems) => {
    if (typeof cooldown === "function") return ofFunction(cooldown as (opening: number) => unknown)
    if (Array.isArray(cooldown)) {
      const list = listOf(anyMillis, 1).decode(cooldown, path, problems)
      return byOpening((opening) => list[Math.min(opening, list.length) - 1] ?? 0)
    }
    if (!isRecord(cooldown) || !("linear" in cooldown)) return cooldown
    const { jittered, linear, step = linear } = struct(linearFields).decode(cooldown, path, problems)
    const growing = byOpening((opening) => linear + step * (opening - 1))
    return jittered === true ? Schedule.jittered(growing) : growing
  }
}
