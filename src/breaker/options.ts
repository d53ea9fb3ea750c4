import { expectedDuration, toMillis } from "../core/millis.ts"
import type { Given } from "../core/operatorActions.ts"
import { show } from "../core/printable.ts"
import { maxKeyLength } from "../engine/registry.ts"
import type { ByHand, Target } from "../shapes/byHand.ts"
import { onlyFields } from "../shapes/fields.ts"

/** The name of a circuit, or a `RangeError` that says what was given. */
export const circuitName = (operation: string, name: unknown): string => {
  if (typeof name === "string" && name !== "") return name
  throw new RangeError(`${operation}: name must be a text that is not empty, got ${show(name)}`)
}

/** The key of a circuit for an operator action. A longer key would mean the circuit that many keys share. */
export const keyByHand = (operation: string, value: unknown): string | undefined => {
  const key = optionalText(operation, "key", value)
  if (key === undefined || key.length <= maxKeyLength) return key
  throw new RangeError(`${operation}: key must have at most ${maxKeyLength} characters, got ${key.length}`)
}

export const optionalText = (operation: string, field: string, value: unknown): string | undefined => {
  if (value === undefined || typeof value === "string") return value
  throw new RangeError(`${operation}: ${field} must be a text, got ${show(value)}`)
}

/** Whether an option is on: it is off, unless something else is said. */
export const optionalFlag = (operation: string, field: string, value: unknown): boolean => {
  if (value === undefined || typeof value === "boolean") return value === true
  throw new RangeError(`${operation}: ${field} must be true or false, got ${show(value)}`)
}

export const optionalFunction = <F>(operation: string, field: string, value: F | undefined): F | undefined => {
  if (value === undefined || typeof value === "function") return value
  throw new RangeError(`${operation}: ${field} must be a function, got ${show(value)}`)
}

/** Milliseconds of a duration above 0, or nothing where none is given. */
export const optionalMillis = (operation: string, field: string, value: unknown): number | undefined => {
  if (value === undefined) return undefined
  const millis = toMillis(value)
  if (millis !== undefined && millis > 0) return millis
  throw new RangeError(`${operation}: ${field}: expected ${expectedDuration.aboveZero}, got ${show(value)}`)
}

/** How many at once: one, unless something else is said. */
export const concurrency = (operation: string, value: unknown): number | "unbounded" => {
  if (value === undefined) return 1
  if (value === "unbounded" || (typeof value === "number" && Number.isSafeInteger(value) && value >= 1)) return value
  throw new RangeError(
    `${operation}: concurrency must be a whole number of 1 or more, or "unbounded", got ${show(value)}`
  )
}

/** Checks the options of an operator action. `fields` are the names that are allowed; the caller checks further ones. */
export const actionOptions = (
  operation: string,
  fields: ReadonlyArray<string>,
  options: (ByHand & { readonly for?: unknown }) | undefined
): Given & Target => {
  const given = onlyFields(operation, fields, options ?? {})
  return {
    key: keyByHand(operation, given.key),
    reason: optionalText(operation, "reason", given.reason),
    actor: optionalText(operation, "actor", given.actor),
    millis: optionalMillis(operation, "for", given.for)
  }
}
