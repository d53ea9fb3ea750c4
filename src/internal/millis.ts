import * as Duration from "effect/Duration"

const durationFields = ["weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"]

const isNumber = (input: unknown): boolean => typeof input === "number" && !Number.isNaN(input)

/** Milliseconds of anything that is a duration, or nothing. `Duration.fromInput` takes any object and NaN for zero. */
export const toMillis = (input: unknown): number | undefined => {
  if (typeof input === "object" && input !== null && !Duration.isDuration(input)) {
    const fields = Object.entries(input)
    const sound = Array.isArray(input) || (fields.length > 0 && fields.every(([name]) => durationFields.includes(name)))
    if (!sound || !fields.every(([, value]) => isNumber(value))) return undefined
  }
  if (Number.isNaN(input)) return undefined
  const duration = Duration.fromInput(input as Duration.Input)
  return duration._tag === "None" ? undefined : Duration.toMillis(duration.value)
}
