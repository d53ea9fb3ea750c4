import { decodeArgument, endlessMillis, field, optional, text, textOrEmpty } from "../core/fields.ts"
import { maxKeyLength } from "../engine/registry.ts"

/** Which circuit of a name. */
export const targetFields = { key: optional(textOrEmpty) }

/** A key, or a function that finds it for each call. */
export const keyOrFunction = field<string | ((...args: ReadonlyArray<unknown>) => unknown)>(
  "a text, or a function that returns one",
  (input) => (typeof input === "string" || typeof input === "function" ? (input as string) : undefined)
)

/**
 * The key that an operator action may name. A longer one would be that of the circuit that such keys share, which is meant for none of
 * them.
 */
export const operatorKey = optional(
  field(`a text of at most ${maxKeyLength} characters`, (input) =>
    typeof input === "string" && input.length <= maxKeyLength ? input : undefined
  )
)

/** The name of a circuit. */
export const circuitName = (operation: string, name: unknown): string => decodeArgument(operation, "name", text, name)

/** The key of a circuit that is steered by hand: one that is shared must not be, by accident. */
export const keyByHand = (operation: string, value: unknown): string | undefined =>
  decodeArgument(operation, "key", operatorKey, value)

export const optionalText = (operation: string, field: string, value: unknown): string | undefined =>
  decodeArgument(operation, field, optional(textOrEmpty), value)

/** Milliseconds of a duration above 0, or nothing where none is given. */
export const optionalMillis = (operation: string, field: string, value: unknown): number | undefined =>
  decodeArgument(operation, field, optional(endlessMillis), value)
