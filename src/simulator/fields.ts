import { field, numberWhere, refused } from "../core/fields.ts"

export const callRate = field(
  "a number above 0 and at most 100,000",
  numberWhere((n) => n > 0 && n <= 100_000)
)

export const seedField = field("a whole number", numberWhere(Number.isSafeInteger))

const mostCalls = 10_000_000

/** Throws a `RangeError` for the field `path` if a run would have more than ten million calls. */
export const checkCallCount = (operation: string, path: string, rate: number, millis: number): void => {
  if ((rate * millis) / 1_000 <= mostCalls) return
  throw refused(operation, path, `expected at most ${mostCalls} calls in all, got ${rate} a second for ${millis} ms`)
}
