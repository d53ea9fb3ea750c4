/**
 * How circuits trip, cool down and recover: decoded once, at the door, with an error for each field that is wrong.
 *
 * **When to use**
 *
 * Provide {@link layer} with the policies of your circuits by name, {@link layerConfig} to let the environment change
 * them, or {@link layerReloading} to change them while the program runs. Without any of these every circuit has
 * {@link defaults}. The policies are a `Context.Reference`: they add nothing to the requirements of your effects.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import { defaults, type Input, type Policy } from "./internal/policy.ts"
import { type Environment, environment, variableName } from "./internal/policyConfig.ts"
import { type CustomTrip, decodeCustomTrips, decodePartial, type Problem } from "./internal/policySchema.ts"
import type * as Trip from "./Trip.ts"

export {
  /**
   * The policy of every circuit of which nothing is said.
   *
   * @category models
   * @since 0.1.0
   */
  defaults,
  /**
   * A policy as written. Every field may be left out; {@link defaults} says what then holds.
   *
   * @category inputs
   * @since 0.1.0
   */
  type Input,
  /**
   * A policy as circuits use it: complete, checked, durations in milliseconds.
   *
   * @category models
   * @since 0.1.0
   */
  type Policy
} from "./internal/policy.ts"

/**
 * The policies of a program.
 *
 * @category inputs
 * @since 0.1.0
 */
export interface Settings {
  /** What holds for every circuit, over {@link defaults}. */
  readonly default?: Input | undefined
  /** What holds for a circuit by its name, over `default`. */
  readonly breakers?: { readonly [name: string]: Input } | undefined
  /** Custom trips that configuration may name. */
  readonly trips?: ReadonlyArray<Trip.Input> | undefined
  /** The names that exist, if you want others in `breakers`, `dependsOn` or the environment to be errors. */
  readonly names?: ReadonlyArray<string> | undefined
}

/**
 * Policies, options or variables that cannot be used, with the field, the value and what was expected for each.
 *
 * @category errors
 * @since 0.1.0
 */
export class PolicyError extends Data.TaggedError("PolicyError")<{ readonly problems: ReadonlyArray<Problem> }> {
  override get message(): string {
    return this.problems.map(({ message, path }) => (path === "" ? message : `${path}: ${message}`)).join("\n")
  }
}

/**
 * The policies in force. `version` grows when they change.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policies {
  readonly version: number
  readonly get: (name: string) => Policy
}

const toPolicies = (
  version: number,
  base: Policy,
  byName: ReadonlyMap<string, Policy>,
  byVariable: ReadonlyMap<string, Policy> = new Map()
): Policies => ({
  version,
  get: (name) => byName.get(name) ?? byVariable.get(variableName(name)) ?? base
})

/**
 * The policies that circuits read, {@link defaults} for all unless a layer says otherwise.
 *
 * @category references
 * @since 0.1.0
 */
export const Policies: Context.Reference<Policies> = Context.Reference<Policies>("effect-fuse/BreakerPolicy/Policies", {
  defaultValue: () => toPolicies(0, defaults, new Map())
})

/**
 * Policies written in code.
 *
 * ```ts
 * import { BreakerPolicy, Trip } from "effect-fuse"
 *
 * const Policies = BreakerPolicy.layer({
 *   default: { cooldown: "10 seconds" },
 *   breakers: { payments: { trip: Trip.failures({ atLeast: 2, of: 5 }) } }
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (settings: Settings): Layer.Layer<never, PolicyError> =>
  Layer.effect(
    Policies,
    Effect.suspend(() => Effect.fromResult(decodeSettings(settings, 0)))
  )

/**
 * Policies from the environment (any `ConfigProvider` with flat names), over those written in code.
 *
 * `CIRCUIT_BREAKER_<FIELD>` sets a field for every circuit, `CIRCUIT_BREAKER_<NAME>_<FIELD>` for one; the name `my-api`
 * is written `MY_API`. Durations are seconds (`30`) or text (`30 seconds`).
 *
 * | field | value |
 * | --- | --- |
 * | `THRESHOLD` | failures in a row that open |
 * | `FAILURE_RATE`, `MINIMUM_CALLS`, `WINDOW` | share of failed calls that opens (above 0, at most 1), from how many calls on (default 20), over which time (default 10 seconds) |
 * | `COOLDOWN`, `MAX_COOLDOWN`, `PROBE_TIMEOUT`, `SLOW_CALL`, `RAMP` | durations |
 * | `PROBES`, `SUCCESSES_TO_CLOSE` | counts |
 * | `MODE` | `enforce` or `observe` |
 * | `ENABLED` | `true` or `false` |
 *
 * A variable that begins with `CIRCUIT_BREAKER_` and is none of these is an error, as is a name outside `names` and
 * `breakers` where either is given.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (settings: Settings = {}): Layer.Layer<never, PolicyError> =>
  Layer.effect(
    Policies,
    Effect.flatMap(environment, (variables) => {
      const known = settings.names ?? (settings.breakers === undefined ? undefined : Object.keys(settings.breakers))
      const read = variables(known, Object.keys(settings.breakers ?? {}))
      if (read.problems.length > 0) return Effect.fail(new PolicyError({ problems: read.problems }))
      return Effect.fromResult(
        decodeSettings({ ...settings, default: { ...settings.default, ...read.default } }, 0, read)
      )
    })
  )

/**
 * Policies that may change while the program runs: `load` is run at the start and then on `schedule`.
 *
 * A circuit whose policy changes keeps its state, and of its window what the new one can hold. The first load must
 * succeed. After that, one that fails or does not decode is reported as an error in the log, and the last good policies
 * stay in force.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerReloading = <E, R, Output>(
  load: Effect.Effect<Settings, E, R>,
  schedule: Schedule.Schedule<Output>
): Layer.Layer<never, PolicyError | E, R> =>
  Layer.effect(
    Policies,
    Effect.gen(function* () {
      const decode = (version: number) =>
        Effect.flatMap(load, (settings) => Effect.fromResult(decodeSettings(settings, version)))
      let current = yield* decode(0)
      const reload = Effect.suspend(() => decode(current.version + 1)).pipe(
        Effect.andThen((next) =>
          Effect.sync(() => {
            current = next
          })
        ),
        Effect.catchCause((cause) =>
          Cause.hasInterruptsOnly(cause)
            ? Effect.failCause(cause as Cause.Cause<never>)
            : Effect.logError("Circuit breaker policies could not be reloaded, the last good ones stay in force", cause)
        )
      )
      yield* Effect.forkScoped(Effect.schedule(reload, schedule))
      const policies: Policies = {
        get version() {
          return current.version
        },
        get: (name) => current.get(name)
      }
      return policies
    })
  )

/**
 * A complete policy from one that is written, over {@link defaults}; or what is wrong with it.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = (input: Input): Result.Result<Policy, PolicyError> =>
  Result.map(decodeOver(input, "", new Map()), (given) => ({ ...defaults, ...given }))

/**
 * The fields that an input gives, checked, or what is wrong with them.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeFields = (input: Input): Result.Result<Partial<Policy>, PolicyError> =>
  decodeOver(input, "", new Map())

const decodeOver = (
  input: Input,
  path: string,
  custom: ReadonlyMap<string, CustomTrip>
): Result.Result<Partial<Policy>, PolicyError> =>
  Result.mapError(decodePartial(input, path, custom), (problems) => new PolicyError({ problems }))

const settingsKeys = ["default", "breakers", "trips", "names"]

const decodeSettings = (
  settings: Settings,
  version: number,
  over?: Environment
): Result.Result<Policies, PolicyError> => {
  const problems: Array<Problem> = []
  const take = <A>(result: Result.Result<A, ReadonlyArray<Problem>>, otherwise: A): A => {
    if (Result.isSuccess(result)) return result.success
    problems.push(...result.failure)
    return otherwise
  }
  const fields: unknown = settings
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    return Result.fail(
      new PolicyError({ problems: [{ path: "", message: `expected an object with ${settingsKeys.join(", ")}` }] })
    )
  }
  for (const key of Object.keys(fields)) {
    if (!settingsKeys.includes(key))
      problems.push({ path: key, message: `unknown field; expected one of ${settingsKeys.join(", ")}` })
  }
  const custom = take(decodeCustomTrips(settings.trips ?? []), new Map<string, CustomTrip>())
  const base: Policy = { ...defaults, ...take(decodePartial(settings.default ?? {}, "default", custom), {}) }
  const inputs = new Map<string, Input>(Object.entries(settings.breakers ?? {}))
  for (const [name, input] of over?.byName ?? []) inputs.set(name, { ...inputs.get(name), ...input })
  const byName = new Map<string, Policy>()
  for (const [name, input] of inputs) {
    byName.set(name, { ...base, ...take(decodePartial(input, `breakers.${name}`, custom), {}) })
  }
  const byVariable = new Map<string, Policy>()
  for (const [name, input] of over?.byVariable ?? []) {
    byVariable.set(name, { ...base, ...take(decodePartial(input, `breakers.${name}`, custom), {}) })
  }
  if (settings.names !== undefined) {
    const names = settings.names
    const check = (name: string, path: string) => {
      if (!names.includes(name))
        problems.push({ path, message: `unknown breaker "${name}"; expected one of ${names.join(", ")}` })
    }
    for (const name of byName.keys()) check(name, `breakers.${name}`)
    for (const [name, policy] of byName)
      for (const other of policy.dependsOn) check(other, `breakers.${name}.dependsOn`)
    for (const other of base.dependsOn) check(other, "default.dependsOn")
  }
  for (const name of byName.keys()) {
    const cycle = findCycle(name, byName)
    if (cycle !== undefined) {
      problems.push({ path: `breakers.${name}.dependsOn`, message: `expected no circle, got ${cycle.join(" -> ")}` })
    }
  }
  return problems.length > 0
    ? Result.fail(new PolicyError({ problems }))
    : Result.succeed(toPolicies(version, base, byName, byVariable))
}

const findCycle = (start: string, policies: ReadonlyMap<string, Policy>): ReadonlyArray<string> | undefined => {
  const walk = (name: string, path: ReadonlyArray<string>): ReadonlyArray<string> | undefined => {
    for (const next of policies.get(name)?.dependsOn ?? []) {
      if (next === start) return [...path, next]
      if (path.includes(next)) continue
      const found = walk(next, [...path, next])
      if (found !== undefined) return found
    }
    return undefined
  }
  return walk(start, [start])
}
