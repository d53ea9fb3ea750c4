import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import {
  count,
  type Decoded,
  expected,
  flag,
  type OptionFields,
  optional,
  positiveMillis,
  textLike,
  wordOf
} from "../core/fields.ts"
import { PolicyError } from "../policy/BreakerPolicy.ts"
import { storeVariable } from "../policy/environment.ts"
import { decodeFields } from "../shapes/problems.ts"

/** The options of every store. */
export const ofMemory = { maxCircuits: optional(count) }

/** The options of breaker stores that share their circuits. */
export const ofShared = {
  ...ofMemory,
  syncInterval: optional(positiveMillis),
  connectTimeout: optional(positiveMillis),
  process: optional(textLike("at most 100 letters, digits, ., _ and -", /^[A-Za-z0-9._-]{1,100}$/)),
  digest: optional(flag)
}

/** The options of a shared store on Redis. */
export const redisFields = {
  prefix: optional(textLike("at most 100 letters, digits, ., _, - and :", /^[A-Za-z0-9._:-]{1,100}$/)),
  subscribe: optional(flag)
}

/** The options of a breaker store that shares its circuits on Redis. */
export const ofRedis = { ...redisFields, ...ofShared }

/** Fields that also accept a `Config` for each option. */
export const orConfigs = (fields: OptionFields): OptionFields =>
  Object.fromEntries(
    Object.entries(fields).map(([name, { decode }]) => [
      name,
      optional({
        optional: false,
        decode: (input, path, problems) => (Config.isConfig(input) ? input : decode(input, path, problems))
      })
    ])
  )

/** Loads each `Config` among the options, and decodes all values. An invalid value is an error of the layer, not a defect. */
export const valuesOf = <F extends OptionFields>(
  fields: F,
  options: Readonly<Record<string, unknown>>
): Effect.Effect<Decoded<F>, PolicyError | Config.ConfigError> =>
  Effect.flatMap(
    Effect.forEach(Object.entries(options), ([name, one]) =>
      Effect.map(Config.isConfig(one) ? one : Effect.succeed(one), (value) => [name, value] as const)
    ),
    (entries) =>
      Effect.fromResult(
        Result.mapError(
          decodeFields(fields, Object.fromEntries(entries), ""),
          (problems) => new PolicyError({ problems })
        )
      )
  )

/** The store that `CIRCUIT_BREAKER_STORE` names; `undefined` if the variable is not set. */
export const storeName = <Name extends string>(
  names: ReadonlyArray<Name>
): Effect.Effect<Name | undefined, PolicyError | Config.ConfigError> =>
  Effect.flatMap(Config.option(Config.String(storeVariable)), (variable) => {
    const text = Option.getOrElse(variable, () => "").trim()
    if (text === "") return Effect.undefined
    const found = names.find((name) => name === text)
    if (found !== undefined) return Effect.succeed(found)
    const message = expected(wordOf(names), text)
    return Effect.fail(new PolicyError({ problems: [{ path: storeVariable, message }] }))
  })
