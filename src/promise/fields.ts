import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import {
  anything,
  at,
  count,
  countOrZero,
  type Decoded,
  decodeOptions,
  expected,
  type Field,
  type FieldsOf,
  field,
  flag,
  functionField,
  isRecord,
  type OptionalField,
  optional,
  orFalse,
  type Problem,
  positiveMillis,
  shareOrZero,
  struct,
  text,
  textOrEmpty,
  word
} from "../core/fields.ts"
import { timeout } from "../engine/timeout.ts"
import type * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import type { Policy as EnginePolicy } from "../policy/policy.ts"
import { decodePolicy, opens } from "../policy/schema.ts"
import * as Backoff from "../resilience/Backoff.ts"
import { ofMemory, redisFields as ofRedis, ofShared } from "../store/options.ts"
import { cooldownField } from "./cooldowns.ts"
import { toPlain } from "./plainErrors.ts"
import type { RedisUrlOptions } from "./redis.ts"
import { isSignal } from "./signals.ts"
import type { CallOptions, KeyPolicy, Policy, Protection, RetryOptions, Signal } from "./types.ts"

// ---- Policies -------------------------------------------------------------------------------------------------------

/** One field of a policy. `toInput` converts the forms that exist only in this module to the forms of Effect code. */
const policyField = (name: keyof Policy, toInput?: Field<unknown>): OptionalField<Partial<EnginePolicy>> =>
  optional({
    optional: false,
    decode: (input, path, problems) => {
      const before = problems.length
      const value = toInput === undefined ? input : toInput.decode(input, path, problems)
      if (problems.length > before) return {}
      const decoded = decodePolicy({ [name]: value }, path.slice(0, -name.length).replace(/\.$/, ""), new Map())
      if (decoded._tag === "Success") return decoded.success
      problems.push(...decoded.failure.map(inWordsOfThisModule))
      return {}
    }
  })

/** Rewrites a message for users of this module: Effect code writes `Trip.consecutive`, and code with promises writes `trip.consecutive`. */
const inWordsOfThisModule = ({ message, path }: Problem): Problem => ({
  path,
  message: message.replace("a trip such as Trip.", "a trip such as trip.")
})

/** How long a call waits for the `enabled` function. A function that takes longer counts as `true`. */
const flagMillis = 1_000

const enabledField = field<BreakerPolicy.Flag>("true, false or a function", (input) => {
  if (typeof input === "boolean") return input
  if (typeof input !== "function") return undefined
  return (circuit) =>
    Effect.orElseSucceed(
      timeout(
        Effect.tryPromise(async () => (await input(circuit)) !== false),
        flagMillis
      ),
      () => true
    )
})

const probeFields = { check: functionField, every: positiveMillis, opens: optional(opens) }

const probeField: Field<unknown> = {
  optional: false,
  decode: (input, path, problems) => {
    const before = problems.length
    const { check, every, opens } = struct(probeFields).decode(input, path, problems)
    if (problems.length > before) return undefined
    return {
      check: Effect.tryPromise(async (signal) => {
        if ((await check(signal)) === false) throw new Error("the check returned false")
      }),
      schedule: Duration.millis(every),
      opens
    }
  }
}

/** The fields that may differ by key. The other fields apply to the breaker as a whole. */
const keyPolicyFields = {
  trip: optional(anything),
  slowCall: optional(anything),
  cooldown: optional(cooldownField),
  maxCooldown: optional(anything),
  probes: optional(anything),
  successesToClose: optional(anything),
  failuresToReopen: optional(anything),
  probeTimeout: optional(anything),
  ramp: optional(anything),
  limit: optional(anything),
  probe: optional(probeField),
  mode: optional(anything),
  enabled: optional(enabledField)
} satisfies FieldsOf<KeyPolicy>

/** If `keys` returns the same object again, the function returns the same policy, because the engine compares policies by identity. */
const keysFunction = (keys: (key: string) => unknown) => {
  const known = new WeakMap<object, BreakerPolicy.KeyInput>()
  return (key: string): BreakerPolicy.KeyInput | undefined => {
    const given = keys(key)
    if (given === undefined) return undefined
    const before = isRecord(given) ? known.get(given) : undefined
    if (before !== undefined) return before
    const made = decodeOptions("keys", keyPolicyFields, given) as BreakerPolicy.KeyInput
    known.set(given as object, made)
    return made
  }
}

const keysField: Field<unknown> = {
  optional: false,
  decode: (input, path, problems) => {
    if (typeof input === "function") return keysFunction(input as (key: string) => unknown)
    if (!isRecord(input)) return input
    const policy = struct(keyPolicyFields)
    return Object.fromEntries(
      Object.entries(input).map(([key, given]) => [key, policy.decode(given, at(path, key), problems)])
    )
  }
}

export const policyFields = {
  trip: policyField("trip"),
  slowCall: policyField("slowCall"),
  cooldown: policyField("cooldown", cooldownField),
  maxCooldown: policyField("maxCooldown"),
  probes: policyField("probes"),
  successesToClose: policyField("successesToClose"),
  failuresToReopen: policyField("failuresToReopen"),
  probeTimeout: policyField("probeTimeout"),
  ramp: policyField("ramp"),
  limit: policyField("limit"),
  probe: policyField("probe", probeField),
  dependsOn: policyField("dependsOn"),
  mode: policyField("mode"),
  enabled: policyField("enabled", enabledField),
  fleet: policyField("fleet"),
  span: policyField("span"),
  keys: policyField("keys", keysField)
} satisfies FieldsOf<Policy>

// ---- Calls ----------------------------------------------------------------------------------------------------------

const retryFields = {
  times: optional(countOrZero),
  minDelay: optional(positiveMillis),
  maxDelay: optional(positiveMillis),
  backoff: optional(word("exponential", "linear")),
  jitter: optional(shareOrZero),
  while: optional(functionField),
  waitForCircuit: optional(positiveMillis)
} satisfies FieldsOf<RetryOptions>

/** A number of retries or options, converted to the options of `Resilience.retry`. */
const retryField = orFalse({
  optional: false,
  decode: (input, path, problems) => {
    const given = typeof input === "number" ? { times: input } : input
    const decoded = struct(retryFields).decode(given, path, problems)
    return toRetry(decoded, path, problems)
  }
})

const toRetry = (
  {
    backoff = "exponential",
    jitter = 0.5,
    maxDelay,
    minDelay,
    times = 2,
    waitForCircuit,
    while: again
  }: Decoded<typeof retryFields>,
  path: string,
  problems: Array<Problem>
) => {
  const max = maxDelay ?? Math.max(10_000, minDelay ?? 0)
  if (max < (minDelay ?? 0)) {
    const message = `expected at least minDelay (${minDelay} ms), got ${max} ms`
    problems.push({ path: at(path, "maxDelay"), message })
  }
  const min = Math.min(minDelay ?? 100, max)
  return {
    times,
    waitForCircuit,
    maxRetryAfter: max,
    schedule: (backoff === "linear" ? Backoff.linear : Backoff.exponential)({ min, max, jitter }),
    ...(again === undefined ? {} : { while: (error: unknown) => again(toPlain(error)) === true })
  }
}

const bulkheadFields = {
  concurrency: count,
  queue: optional(countOrZero),
  holdUntil: optional(word("settled"))
} satisfies FieldsOf<NonNullable<Protection<never, unknown>["bulkhead"]>>

export const protectionFields = {
  timeout: optional(orFalse(positiveMillis)),
  retry: optional(retryField),
  bulkhead: optional(struct(bulkheadFields)),
  fallback: optional(functionField),
  until: optional(word("stream end")),
  isFailure: optional(functionField),
  isIgnored: optional(functionField),
  rejectionStack: optional(flag),
  ...policyFields
} satisfies FieldsOf<Protection<never, unknown>>

export type DecodedProtection = Decoded<typeof protectionFields>

/** The policy that consists of the decoded fields. */
export const policyOf = (options: DecodedProtection): Partial<EnginePolicy> =>
  Object.assign({}, ...Object.keys(policyFields).map((name) => options[name as keyof Policy]))

export const keyField = optional(textOrEmpty)

export const callFields = {
  key: keyField,
  signal: optional(field<Signal>("an AbortSignal", (input) => (isSignal(input) ? input : undefined)))
} satisfies FieldsOf<CallOptions>

// ---- Stores ---------------------------------------------------------------------------------------------------------

/** A URL may contain a password, so errors do not show it. */
const isRedisUrl = (input: unknown): input is string =>
  typeof input === "string" && /^rediss?:\/\//.test(input) && URL.canParse(input)

const redisUrl = "a URL such as redis://localhost:6379"

const urlField: Field<RedisUrlOptions["url"]> = {
  optional: false,
  decode: (input, path, problems) => {
    if (!isRedisUrl(input) && typeof input !== "function") {
      const what = `${redisUrl}, or a function that returns one`
      const message = typeof input === "string" ? `expected ${what}, got another text` : expected(what, input)
      problems.push({ path, message })
    }
    return async () => {
      const found: unknown = typeof input === "function" ? await input() : input
      if (!isRedisUrl(found)) throw new RangeError(`redis: expected ${redisUrl} from the function`)
      return found
    }
  }
}

const redisFields = { url: urlField, prefix: ofRedis.prefix, process: ofShared.process }

const redisField: Field<RedisUrlOptions> = {
  optional: false,
  decode: (input, path, problems) =>
    isRecord(input)
      ? struct(redisFields).decode(input, path, problems)
      : { url: urlField.decode(input, path, problems) }
}

export const storeFields = {
  redis: optional(redisField),
  ...ofMemory,
  log: optional(functionField)
}

export const breakerFields = { name: optional(text), ...storeFields, ...protectionFields }
