import * as Schema from "effect/Schema"
import { textLike } from "../shapes/fields.ts"
import type { Place } from "./database.ts"

const name = textLike("at most 40 letters, digits and _, not beginning with a digit", /^[A-Za-z_][A-Za-z0-9_]{0,39}$/)

/** The options that say where tables are. */
export const placeFields = { prefix: Schema.optional(name), schema: Schema.optional(name) }

export const placeOf = ({
  prefix = "circuit_breaker",
  schema
}: {
  readonly prefix?: string | undefined
  readonly schema?: string | undefined
}): Place => ({ prefix, schema })
