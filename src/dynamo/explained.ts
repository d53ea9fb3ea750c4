import { nameOf } from "./client.ts"
import { changesIndex } from "./records.ts"

/** Puts an explanation in front of an error of DynamoDB. DynamoDB names neither the table nor the missing part. */
export const explained = (table: string, cause: unknown): unknown => {
  const reason = reasonOf(nameOf(cause), String((cause as { readonly message?: unknown } | undefined)?.message))
  return reason === undefined ? cause : new Error(`the table ${table} ${reason}`, { cause })
}

const reasonOf = (name: string, message: string): string | undefined => {
  if (name === "ResourceNotFoundException") return "does not exist in this region of this account"
  if (name !== "ValidationException") return undefined
  if (message.includes("does not match the schema")) return "has other keys than pk and sk: use a new table"
  return message.includes("specified index") ? `has no index ${changesIndex}: use a new table` : undefined
}
