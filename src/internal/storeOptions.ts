import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { PolicyError } from "../BreakerPolicy.ts"
import { count, decodeFields, flag, positiveMillis, textLike } from "./fields.ts"

/** The options of every store. */
export const ofMemory = { maxCircuits: Schema.optional(count) }

/** Those of stores that processes share. */
export const ofShared = {
  ...ofMemory,
  syncInterval: Schema.optional(positiveMillis),
  connectTimeout: Schema.optional(positiveMillis),
  process: Schema.optional(textLike("at most 100 letters, digits, ., _ and -", /^[A-Za-z0-9._-]{1,100}$/))
}

const redis = {
  prefix: Schema.optional(textLike("at most 100 letters, digits, ., _, - and :", /^[A-Za-z0-9._:-]{1,100}$/)),
  subscribe: Schema.optional(flag)
}

/** Those of Redis, and of a shared store on it. */
export const ofRedis = { ...redis, ...ofShared }

/** Options that are what they should be, or an error that names each that is not. */
export const decodeOptions = <Fields extends Schema.Struct.Fields>(
  fields: Fields,
  options: unknown
): Effect.Effect<Schema.Struct<Fields>["Type"], PolicyError> =>
  Effect.suspend(() =>
    Effect.fromResult(Result.mapError(decodeFields(fields, options, ""), (problems) => new PolicyError({ problems })))
  )
