import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { printable, show } from "../core/printable.ts"
import { timeout } from "../engine/timeout.ts"
import * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import { defaults } from "../policy/policy.ts"
import { opens } from "../policy/schema.ts"
import { decodeOrThrow, functionField, isRecord, onlyFields, positiveMillis } from "../shapes/fields.ts"
import { toCooldown } from "./cooldowns.ts"
import type { KeyPolicy, Policy } from "./types.ts"

export const policyFields = [
  "trip",
  "slowCall",
  "cooldown",
  "maxCooldown",
  "probes",
  "successesToClose",
  "failuresToReopen",
  "probeTimeout",
  "ramp",
  "probe",
  "dependsOn",
  "mode",
  "enabled",
  "fleet",
  "keys"
] as const satisfies ReadonlyArray<keyof Policy>

/** Fields that decide about the name as a whole cannot differ by key. */
const keyFields = policyFields.filter((field) => field !== "dependsOn" && field !== "fleet" && field !== "keys")

export const picked = (options: object, names: ReadonlyArray<string>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).filter(([name, value]) => names.includes(name) && value !== undefined))

/** A flag that takes longer counts as on: nobody waits for it for ever. */
const flagMillis = 1_000

const toFlag = (operation: string, enabled: unknown): BreakerPolicy.Flag => {
  if (typeof enabled === "boolean") return enabled
  if (typeof enabled !== "function") {
    throw new RangeError(`${operation}: enabled: expected true, false or a function, got ${show(enabled)}`)
  }
  const ask = enabled as (circuit: object) => unknown
  return (circuit) =>
    Effect.orElseSucceed(
      timeout(
        Effect.tryPromise(async () => (await ask(circuit)) !== false),
        flagMillis
      ),
      () => true
    )
}

const probeFields = { check: functionField, every: positiveMillis, opens: Schema.optional(opens) }

/** The fields as Effect code writes them: what is a promise here is an effect there. */
const toFields = (operation: string, options: Policy): BreakerPolicy.Input => {
  const { cooldown, enabled, keys: _, probe, ...rest } = picked(options, policyFields) as Policy
  const input: Record<string, unknown> = { ...rest }
  if (cooldown !== undefined) input["cooldown"] = toCooldown(operation, cooldown)
  if (enabled !== undefined) input["enabled"] = toFlag(operation, enabled)
  if (probe !== undefined) {
    const checked = decodeOrThrow(`${operation}: probe`, probeFields, probe)
    input["probe"] = {
      check: Effect.tryPromise(async (signal) => {
        if ((await checked.check(signal)) === false) throw new Error("the check answered false")
      }),
      schedule: Duration.millis(checked.every),
      opens: checked.opens
    }
  }
  return input
}

const toKey = (operation: string, given: unknown): BreakerPolicy.KeyInput =>
  toFields(operation, onlyFields(operation, keyFields, given) as KeyPolicy)

/** A function that returns constants makes no new policies: the engine knows a policy by its identity. */
const toKeyFunction = (keys: (key: string) => unknown) => {
  const known = new WeakMap<object, BreakerPolicy.KeyInput>()
  return (key: string): BreakerPolicy.KeyInput | undefined => {
    const given = keys(key)
    if (given === undefined) return undefined
    const before = isRecord(given) ? known.get(given) : undefined
    if (before !== undefined) return before
    const made = toKey("keys", given)
    known.set(given as object, made)
    return made
  }
}

const toKeys = (operation: string, keys: unknown): BreakerPolicy.Input["keys"] => {
  if (typeof keys === "function") return toKeyFunction(keys as (key: string) => unknown)
  if (!isRecord(keys)) {
    throw new RangeError(`${operation}: keys: expected an object of policies by key, or a function, got ${show(keys)}`)
  }
  return Object.fromEntries(
    Object.entries(keys).map(([key, given]) => [key, toKey(`${operation}: keys.${printable(key)}`, given)])
  )
}

/** A policy as Effect code writes it, checked. */
export const toPolicy = (operation: string, options: Policy): BreakerPolicy.Input => {
  const { keys } = options
  const fields = toFields(operation, options)
  const input = keys === undefined ? fields : { ...fields, keys: toKeys(operation, keys) }
  Result.getOrThrowWith(
    BreakerPolicy.decode(input),
    ({ message }) => new RangeError(`${operation}: ${message.replaceAll("\n", "; ")}`)
  )
  return input
}

/** The time limit of a probe of a key. */
export const probeTimeoutOf = (policy: Partial<BreakerPolicy.Policy> | undefined, key: string | undefined): number => {
  const { keys, probeTimeoutMillis = defaults.probeTimeoutMillis } = policy ?? {}
  if (key === undefined || keys === undefined) return probeTimeoutMillis
  if (typeof keys !== "function") return keys.get(key)?.probeTimeoutMillis ?? probeTimeoutMillis
  const given = Result.getOrUndefined(Result.try(() => keys(key)?.probeTimeout))
  const decoded = given === undefined ? undefined : Result.getOrUndefined(BreakerPolicy.decode({ probeTimeout: given }))
  return decoded?.probeTimeoutMillis ?? probeTimeoutMillis
}
