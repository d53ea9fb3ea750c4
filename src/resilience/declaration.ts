import { at, expected, type Field, field, isRecord, numberWhere, refused } from "../core/fields.ts"
import { maxKeyLength } from "../engine/registry.ts"
import type { Declared } from "./members.ts"

/** The names and values of the members of a pool, as pairs. */
export type Declaration = ReadonlyArray<readonly [name: string, value: unknown]>

const members = (minimum: 0 | 1) =>
  field<Declaration>(
    `an object from names to values, or a list of names${minimum === 0 ? "" : ", at least one"}`,
    (input) => {
      const found = Array.isArray(input)
        ? input.map((name) => [name, name] as const)
        : isRecord(input)
          ? Object.entries(input)
          : undefined
      if (found === undefined || found.length < minimum) return undefined
      const names = found.map(([name]) => name)
      const sound = names.every((name) => typeof name === "string" && name !== "" && name.length <= maxKeyLength)
      return sound && new Set(names).size === names.length ? found : undefined
    }
  )

export const membersField = members(1)
/** A lookup may return an empty result. */
export const discoveredField = members(0)

export const weightField = field(
  "a finite number above 0",
  numberWhere((n) => n > 0 && n < Infinity)
)

export const weightsField: Field<Readonly<Record<string, number>>> = {
  optional: false,
  decode: (input, path, problems) => {
    if (!isRecord(input)) {
      problems.push({ path, message: expected("an object from names of members to weights", input) })
      return {}
    }
    for (const name of Object.keys(input)) {
      if (input[name] !== undefined) weightField.decode(input[name], at(path, name), problems)
    }
    return input as Readonly<Record<string, number>>
  }
}

/** Adds the weights to the members. Throws a `RangeError` if a weight is for an unknown member. */
export const weighted = (
  operation: string,
  members: Declaration,
  weights: Readonly<Record<string, number>> = {}
): ReadonlyArray<Declared> => {
  const names = members.map(([name]) => name)
  for (const name of Object.keys(weights)) {
    if (!names.includes(name)) throw refused(operation, at("weights", name), "expected the name of a member")
  }
  return members.map(([name, value]) => ({
    name,
    value,
    weight: (Object.hasOwn(weights, name) ? weights[name] : undefined) ?? 1
  }))
}
