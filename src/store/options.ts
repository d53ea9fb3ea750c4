import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { show } from "../core/printable.ts"
import { PolicyError } from "../policy/BreakerPolicy.ts"
import { storeVariable } from "../policy/environment.ts"
import { count, decodeFields, flag, positiveMillis, textLike, wordOf } from "../shapes/fields.ts"

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

/** Which of some stores `CIRCUIT_BREAKER_STORE` names; `undefined` if the variable is not set. */
export const storeName = <Name extends string>(
  names: ReadonlyArray<Name>
): Effect.Effect<Name | undefined, PolicyError | Config.ConfigError> =>
  Effect.flatMap(Config.option(Config.String(storeVariable)), (variable) => {
    const text = Option.getOrElse(variable, () => "").trim()
    if (text === "") return Effect.undefined
    const found = names.find((name) => name === text)
    if (found !== undefined) return Effect.succeed(found)
    const message = `expected ${wordOf(names)}, got ${show(text)}`
    return Effect.fail(new PolicyError({ problems: [{ path: storeVariable, message }] }))
  })
