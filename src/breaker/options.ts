import { decodeArgument, endlessMillis, type FieldsOf, field, optional, text, textOrEmpty } from "../core/fields.ts"
import { type ActionName, operatorActions } from "../core/operatorActions.ts"
import { maxKeyLength } from "../engine/registry.ts"
import type { ByHand, Target } from "../shapes/byHand.ts"

export const targetFields = { key: optional(textOrEmpty) } satisfies FieldsOf<Target>

export const keyOrFunction = field<string | ((...args: ReadonlyArray<unknown>) => unknown)>(
  "a text, or a function that returns one",
  (input) => (typeof input === "string" || typeof input === "function" ? (input as string) : undefined)
)

/** The key of an operator action. Circuits with longer keys share one circuit, so an action on a longer key would affect unrelated keys. */
export const operatorKey = optional(
  field(`a text of at most ${maxKeyLength} characters`, (input) =>
    typeof input === "string" && input.length <= maxKeyLength ? input : undefined
  )
)

/** `protect` may be called for each call, so a valid name takes the short way. */
export const circuitName = (operation: string, name: unknown): string =>
  typeof name === "string" && name !== "" ? name : decodeArgument(operation, "name", text, name)

export const byHandFields = { reason: optional(textOrEmpty), actor: optional(textOrEmpty) }

const actionFields = { key: operatorKey, ...byHandFields } satisfies FieldsOf<ByHand>
const lastingFields = { ...actionFields, for: optional(endlessMillis) }

/** The options of an operator action. Only an action that lasts has `for`. */
export const fieldsOf = (action: ActionName): typeof lastingFields =>
  operatorActions[action].defaultMillis === undefined ? (actionFields as typeof lastingFields) : lastingFields
