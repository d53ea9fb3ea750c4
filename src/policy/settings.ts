import * as Equal from "effect/Equal"
import * as Result from "effect/Result"
import type { Problem, Problems } from "../core/fields.ts"
import { show } from "../core/printable.ts"
import { type Environment, variableName } from "./environment.ts"
import { merge } from "./merge.ts"
import { defaults, type Policy } from "./policy.ts"
import { type CustomTrip, decodeCustomTrips, decodeKeyPolicy, decodePolicy, decodeSettingsShape } from "./schema.ts"

export interface Policies {
  readonly version: number
  readonly get: (name: string) => Policy
  /** The allowed names, if the settings list them. */
  readonly names?: ReadonlyArray<string> | undefined
  /** Decodes the policy of a call, with the registered custom trips. */
  readonly decode: (input: unknown, path: string) => Result.Result<Partial<Policy>, Problems>
  /** Decodes the fields that differ for one key, with the registered custom trips. */
  readonly decodeKey: (input: unknown, path: string) => Result.Result<Partial<Policy>, Problems>
}

/** Decoded settings: the policy of every circuit, and the policies by the names of circuits and by names in variables. */
export interface DecodedSettings {
  readonly base: Policy
  readonly byName: ReadonlyMap<string, Policy>
  readonly byVariable: ReadonlyMap<string, Policy>
  readonly names: ReadonlyArray<string> | undefined
  readonly custom: ReadonlyMap<string, CustomTrip>
}

export const none: Policies = {
  version: 0,
  get: () => defaults,
  decode: (input, path) => decodePolicy(input, path, new Map()),
  decodeKey: (input, path) => decodeKeyPolicy(input, path, new Map())
}

export const toPolicies = (
  { base, byName, byVariable, custom, names }: DecodedSettings,
  version: number
): Policies => ({
  version,
  names,
  get: (name) => byName.get(name) ?? byVariable.get(variableName(name)) ?? base,
  decode: (input, path) => decodePolicy(input, path, custom),
  decodeKey: (input, path) => decodeKeyPolicy(input, path, custom)
})

/** The inputs of the policies of calls that use registered custom trips. */
const unresolved = new WeakMap<Partial<Policy>, unknown>()

/** Decodes the policy of a call. Names of custom trips are checked when the call runs, see {@link resolve}. */
export const decodeInline = (input: unknown, path: string): Result.Result<Partial<Policy>, Problems> => {
  const decoded = decodePolicy(input, path, new Map())
  if (Result.isSuccess(decoded)) return decoded
  return Result.map(decodePolicy(input, path, "later"), (policy) => {
    unresolved.set(policy, input)
    return policy
  })
}

/** The policy of a call, with the custom trips that are registered where it runs. */
export const resolve = (policies: Policies, inline: Partial<Policy>): Result.Result<Partial<Policy>, Problems> =>
  unresolved.has(inline) ? policies.decode(unresolved.get(inline), "policy") : Result.succeed(inline)

export const same = (a: DecodedSettings, b: DecodedSettings): boolean =>
  Equal.equals(a.base, b.base) &&
  Equal.equals(a.names, b.names) &&
  a.byName.size === b.byName.size &&
  Equal.equals(a.custom, b.custom) &&
  [...a.byName].every(([name, policy]) => Equal.equals(policy, b.byName.get(name)))

/**
 * Decodes settings and the variables of the environment. The more specific setting wins. If both are equally specific, the environment
 * wins. The failure has all problems.
 */
export const decodeSettings = (
  input: unknown,
  environment?: Environment
): Result.Result<DecodedSettings, ReadonlyArray<Problem>> => {
  const settings = decodeSettingsShape(input)
  const problems: Array<Problem> = [...settings.problems]
  const take = <A>(result: Result.Result<A, ReadonlyArray<Problem>>, otherwise: A): A => {
    if (Result.isSuccess(result)) return result.success
    problems.push(...result.failure)
    return otherwise
  }
  const custom = take(decodeCustomTrips(settings.trips, "trips"), new Map<string, CustomTrip>())
  const over = (policy: Policy, input: unknown, path: string): Policy =>
    take(merge(policy, take(decodePolicy(input, path, custom), {}), path), policy)

  const base = over(over(defaults, settings.default, "default"), environment?.default ?? {}, "environment")
  const byName = new Map<string, Policy>()
  for (const [name, input] of Object.entries(settings.breakers)) {
    byName.set(name, over(base, input, `breakers.${name}`))
  }
  for (const [name, input] of environment?.byName ?? []) {
    byName.set(name, over(byName.get(name) ?? base, input, `environment.${name}`))
  }
  const byVariable = new Map<string, Policy>()
  for (const [name, input] of environment?.byVariable ?? []) {
    byVariable.set(name, over(base, input, `environment.${name}`))
  }

  problems.push(...(environment?.problems ?? []))
  if (settings.names !== undefined) problems.push(...unknownNames(settings.names, base, byName))
  // A circuit in the `dependsOn` of `default` must not depend on itself.
  for (const name of base.dependsOn) {
    const policy = byName.get(name) ?? base
    if (policy.dependsOn === base.dependsOn) byName.set(name, over(policy, { dependsOn: [] }, `breakers.${name}`))
  }
  problems.push(...circles(base, byName))
  if (problems.length > 0) {
    const named = ({ message, path }: Problem) => ({ path: environment?.variables.get(path) ?? path, message })
    return Result.fail(problems.map(named))
  }
  return Result.succeed({ base, byName, byVariable, custom, names: settings.names })
}

const unknownNames = (
  names: ReadonlyArray<string>,
  base: Policy,
  byName: ReadonlyMap<string, Policy>
): ReadonlyArray<Problem> => {
  const used: Array<readonly [name: string, path: string]> = base.dependsOn.map((name) => [name, "default.dependsOn"])
  for (const [name, policy] of byName) {
    used.push([name, `breakers.${name}`])
    if (policy.dependsOn === base.dependsOn) continue
    for (const other of policy.dependsOn) used.push([other, `breakers.${name}.dependsOn`])
  }
  return used
    .filter(([name]) => !names.includes(name))
    .map(([name, path]) => ({ path, message: `unknown breaker ${show(name)}; expected one of ${names.join(", ")}` }))
}

/** Circuits that depend on each other in a circle would never recover, because each would block the probes of the others. */
const circles = (base: Policy, byName: ReadonlyMap<string, Policy>): ReadonlyArray<Problem> => {
  const next = (name: string) => (byName.get(name) ?? base).dependsOn
  const done = new Set<string>()
  const find = (name: string, path: ReadonlyArray<string>): ReadonlyArray<string> | undefined => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name]
    if (done.has(name)) return undefined
    for (const other of next(name)) {
      const circle = find(other, [...path, name])
      if (circle !== undefined) return circle
    }
    done.add(name)
    return undefined
  }
  for (const name of byName.keys()) {
    const circle = find(name, [])
    if (circle === undefined) continue
    const from = circle.find((one) => byName.has(one))
    const path = from === undefined ? "default.dependsOn" : `breakers.${from}.dependsOn`
    return [{ path, message: `expected no circle, got ${circle.join(" -> ")}` }]
  }
  return []
}
