import { optional, textLike } from "../core/fields.ts"
import type { TableLocation } from "./database.ts"

const name = textLike("at most 40 letters, digits and _, not beginning with a digit", /^[A-Za-z_][A-Za-z0-9_]{0,39}$/)

export const tableLocationFields = { prefix: optional(name), schema: optional(name) }

export const tableLocation = ({
  prefix = "circuit_breaker",
  schema
}: {
  readonly prefix?: string | undefined
  readonly schema?: string | undefined
}): TableLocation => ({ prefix, schema })
