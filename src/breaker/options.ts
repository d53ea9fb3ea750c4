import { decodeArgument, endlessMillis, type FieldsOf, field, optional, text, textOrEmpty } from "../core/fields.ts"
import { type ActionName, operatorActions } from "../core/operatorActions.ts"
import { maxKeyLength } from "../engine/registry.ts"
import type { ByHand, Target } from "../shapes/byHand.ts"

/** Which circuit of a name. */
export const targetFields = { key: optional(textOrEmpty) } satisfies FieldsOf<Target>

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

/** What an operator says with an action. */
export const byHandFields = { reason: optional(textOrEmpty), actor: optional(textOrEmpty) }

const actionFields = { key: operatorKey, ...byHandFields } satisfies FieldsOf<ByHand>
const lastingFields = { ...actionFields, for: optional(endlessMillis) }

/** The options of an operator action; `for` only if the action lasts. */
export const fieldsOf = (action: ActionName): typeof lastingFields =>
  operatorActions[action].defaultMillis === undefined ? (actionFields as typeof lastingFields) : lastingFields
