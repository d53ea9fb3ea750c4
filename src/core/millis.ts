import * as Duration from "effect/Duration"

const durationFields = ["weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"]

const isNumber = (input: unknown): boolean => typeof input === "number" && !Number.isNaN(input)

const shortUnits: Readonly<Record<string, string>> = {
  ms: "millis",
  s: "seconds",
  m: "minutes",
  h: "hours",
  d: "days",
  w: "weeks"
}

const shortPart = /(\d+(?:\.\d+)?)\s*(ms|[smhdw])(?![a-z])\s*/gy

const millisOf = (input: Duration.Input): number | undefined => {
  const duration = Duration.fromInput(input)
  return duration._tag === "None" ? undefined : Duration.toMillis(duration.value)
}

/** Milliseconds of a text: `30s`, `1h30m`, `1h 30m`, or a form that Effect accepts, also without a space: `30seconds`. */
const millisOfText = (text: string): number | undefined => {
  const trimmed = text.trim()
  const parts = [...trimmed.matchAll(shortPart)]
  if (parts.length > 0 && parts.map(([part]) => part).join("") === trimmed) {
    return parts.reduce(
      (sum, [, n, unit = ""]) => sum + Duration.toMillis(`${n} ${shortUnits[unit]}` as Duration.Input),
      0
    )
  }
  return millisOf(trimmed.replace(/^(-?[\d.]+)(?=[a-z])/, "$1 ") as Duration.Input)
}

/** The milliseconds of a duration, or `undefined` if it is none. `Duration.fromInput` would read NaN and any object as zero. */
export const toMillis = (input: unknown): number | undefined => {
  if (typeof input === "object" && input !== null && !Duration.isDuration(input)) {
    const fields = Object.entries(input)
    const sound = Array.isArray(input) || (fields.length > 0 && fields.every(([name]) => durationFields.includes(name)))
    if (!sound || !fields.every(([, value]) => isNumber(value))) return undefined
  }
  if (Number.isNaN(input)) return undefined
  return typeof input === "string" ? millisOfText(input) : millisOf(input as Duration.Input)
}

export const expectedDuration = {
  any: `a duration such as "30s" or "30 seconds"`,
  aboveZero: `a duration above 0 such as "30s" or "30 seconds"`,
  zeroOrMore: `a duration of 0 or more such as "30s" or "30 seconds"`
} as const
