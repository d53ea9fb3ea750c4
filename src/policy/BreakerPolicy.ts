/**
 * How circuits trip, cool down and recover. Policies are decoded once, and the error names each invalid field.
 *
 * **When to use**
 *
 * Provide {@link layer} with the policies of your circuits by name. Use {@link layerConfig} if the environment may change them, or
 * {@link layerReloading} to change them while the program runs. Without these layers every circuit has {@link defaults}. The policies are a
 * `Context.Reference`, so they add nothing to the requirements of your effects.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import { decodeOptions, describeProblems, optional, type Problem } from "../core/fields.ts"
import { foreignText } from "../core/foreign.ts"
import type * as Trip from "../core/Trip.ts"
import { type Environment, environment } from "./environment.ts"
import { merge } from "./merge.ts"
import { defaults, type Input, type Policy } from "./policy.ts"
import { decodePolicy, interval } from "./schema.ts"
import * as internal from "./settings.ts"

export type {
  /**
   * One invalid value: its path, and what was expected.
   *
   * @category errors
   */
  Problem
} from "../core/fields.ts"
export {
  /**
   * The policy of circuits for which nothing else is set.
   *
   * @category models
   */
  defaults,
  /**
   * A feature flag of a circuit: a value, an effect, or a function of the circuit that returns one of them.
   *
   * @category inputs
   */
  type Flag,
  /**
   * A policy as written. Every field is optional; {@link defaults} has the default values.
   *
   * @category inputs
   */
  type Input,
  /**
   * The fields of a policy that can differ for one key.
   *
   * @category inputs
   */
  type KeyInput,
  /**
   * A decoded policy: complete and checked. Durations are in milliseconds.
   *
   * @category models
   */
  type Policy
} from "./policy.ts"

/**
 * The policies of a program.
 *
 * @category inputs
 */
export interface Settings {
  /** The policy of every circuit. It takes precedence over {@link defaults}. */
  readonly default?: Input | undefined
  /** The policies by the names of circuits. They take precedence over `default`. */
  readonly breakers?: { readonly [name: string]: Input } | undefined
  /** The custom trips that these settings, and the policies of calls, can use by name. */
  readonly trips?: ReadonlyArray<Trip.Input> | undefined
  /**
   * All names of circuits. Any other name in `breakers`, `dependsOn` or the environment is an error, and a call with another name logs one
   * warning. Default: every name is allowed.
   */
  readonly names?: ReadonlyArray<string> | undefined
}

/**
 * Invalid policies, options or variables. Each problem has the path, and a message with the value and what was expected.
 *
 * @category errors
 */
export class PolicyError extends Data.TaggedError("PolicyError")<{ readonly problems: ReadonlyArray<Problem> }> {
  override get message(): string {
    return describeProblems(this.problems)
  }
}

/**
 * The current policies. `version` increases when they change.
 *
 * @category models
 */
export type Policies = internal.Policies

const decodeSettings = (
  settings: unknown,
  environment?: Environment
): Effect.Effect<internal.DecodedSettings, PolicyError> =>
  Effect.suspend(() =>
    Effect.fromResult(
      Result.mapError(internal.decodeSettings(settings, environment), (problems) => new PolicyError({ problems }))
    )
  )

const fixed = (decoded: internal.DecodedSettings): Policies => internal.toPolicies(decoded, 0)

/**
 * The policies that circuits read. Default: every circuit has {@link defaults}.
 *
 * @category references
 */
export const Policies: Context.Reference<Policies> = Context.Reference<Policies>("effect-fuse/BreakerPolicy/Policies", {
  defaultValue: () => internal.none
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
 */
export const layer = (settings: Settings): Layer.Layer<never, PolicyError> =>
  Layer.effect(Policies, Effect.map(decodeSettings(settings), fixed))

/**
 * Policies from code and from the environment (any `ConfigProvider` with flat names).
 *
 * `CIRCUIT_BREAKER_<FIELD>` sets a field for every circuit, and `CIRCUIT_BREAKER_<NAME>_<FIELD>` sets it for one circuit. The name
 * `my-api` is written `MY_API`. A duration is `30s`, `1h30m`, `30 seconds`, or a number of seconds (`30`).
 *
 * | field | value |
 * | --- | --- |
 * | `THRESHOLD` | failures in a row that open the circuit |
 * | `FAILURE_RATE` | share of failed calls that opens the circuit, above 0 and at most 1 (default 0.5) |
 * | `MINIMUM_CALLS` | minimum number of calls for `FAILURE_RATE` (default 20) |
 * | `WINDOW` | duration of the window for `FAILURE_RATE` (default 10 seconds) |
 * | `COOLDOWN`, `MAX_COOLDOWN`, `PROBE_TIMEOUT`, `SLOW_CALL`, `RAMP` | durations |
 * | `LIMIT`, `LIMIT_OBJECTIVE`, `LIMIT_MAX` | `true` or `false`; a duration; a count |
 * | `PROBES`, `SUCCESSES_TO_CLOSE`, `FAILURES_TO_REOPEN` | counts |
 * | `MODE` | `enforce` or `observe` |
 * | `ENABLED`, `SPAN` | `true` or `false` |
 *
 * The more specific setting wins: a variable for one circuit, then the policy of that circuit in code, then a variable for every circuit,
 * then `default` in code. The first four fields replace the whole trip: if only `THRESHOLD` is set, only failures in a row open the circuit.
 * The fields of `limit` replace the whole limit in the same way; one of them without `LIMIT` means `LIMIT=true`.
 *
 * Any other variable that begins with `CIRCUIT_BREAKER_` is an error. If the settings have `names` or `breakers`, a circuit that they do
 * not list is an error, too.
 *
 * @category layers
 */
export const layerConfig = (settings: Settings = {}): Layer.Layer<never, PolicyError> =>
  Layer.effect(
    Policies,
    Effect.map(
      Effect.flatMap(environment(settings), (read) => decodeSettings(settings, read)),
      fixed
    )
  )

/** The effect of {@link reload}, for the policies of {@link layerReloading}. */
const reloads = new WeakMap<Policies, Effect.Effect<boolean, PolicyError>>()

/** The error of a loader is foreign, so the `PolicyError` has only a description of it. */
const toPolicyError = (cause: Cause.Cause<unknown>): Effect.Effect<never, PolicyError> => {
  const failed = Cause.squash(cause)
  if (failed instanceof PolicyError) return Effect.fail(failed)
  if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
  return Effect.fail(new PolicyError({ problems: [{ path: "load", message: foreignText(cause) }] }))
}

/**
 * Loads the policies of {@link layerReloading} now, for example when a file has changed. Succeeds with `true` if the policies have changed.
 * Succeeds with `false` if they have not, or if they come from another layer. If the load fails, the current policies stay, and `reload`
 * fails with a `PolicyError`. If another load is running, this one begins after it.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { BreakerPolicy } from "effect-fuse"
 *
 * const settings = { default: { cooldown: "10 seconds" } }
 * const policies = BreakerPolicy.layerReloading(Effect.sync(() => structuredClone(settings)))
 *
 * const program = Effect.gen(function* () {
 *   settings.default.cooldown = "20 seconds"
 *   const changed = yield* BreakerPolicy.reload
 *   return [changed, yield* BreakerPolicy.reload]
 * })
 * await Effect.runPromise(Effect.provide(program, policies)) // => [true, false]
 * ```
 *
 * @category reloading
 */
export const reload: Effect.Effect<boolean, PolicyError> = Effect.flatMap(
  Policies,
  (policies) => reloads.get(policies) ?? Effect.succeed(false)
)

/**
 * Policies that can change while the program runs. `load` returns {@link Settings}, as values or as parsed JSON. It runs at the start, when
 * {@link reload} is called, and on `schedule` (a `Schedule`, or the time between two loads). Default: no schedule. Throws a `RangeError` if
 * `schedule` is neither.
 *
 * If the policy of a circuit changes, its state stays, and its windows keep the calls that fit.
 *
 * The layer fails if the first load fails. If a later load fails or its settings are invalid, the current policies stay, and the error is
 * logged. The same error is not logged again. A load must end, because only one runs at a time. Effects and schedules in the settings must
 * be constants, because a new object is a changed policy.
 *
 * @category layers
 */
export const layerReloading = <E, R, Output>(
  load: Effect.Effect<unknown, E, R>,
  schedule?: Schedule.Schedule<Output> | Duration.Input
): Layer.Layer<never, PolicyError | E, R> => {
  const fields = { schedule: optional(interval) }
  const { schedule: again } = decodeOptions("BreakerPolicy.layerReloading", fields, { schedule })
  return Layer.effect(
    Policies,
    Effect.gen(function* () {
      const next = Effect.flatMap(load, (settings) => decodeSettings(settings))
      let decoded = yield* next
      let current = fixed(decoded)
      let reported: string | undefined
      const adopt = (loaded: internal.DecodedSettings): Effect.Effect<boolean> => {
        reported = undefined
        if (internal.same(decoded, loaded)) return Effect.succeed(false)
        decoded = loaded
        current = internal.toPolicies(loaded, current.version + 1)
        return Effect.as(Effect.logInfo("Circuit breaker policies were reloaded"), true)
      }
      const report = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
        const failed = Cause.squash(cause)
        const own = failed instanceof PolicyError
        const trouble = own ? failed.message : foreignText(cause)
        if (trouble === reported) return Effect.void
        reported = trouble
        const line = "Circuit breaker policies could not be reloaded, the last good ones stay in force"
        // A `PolicyError` names the fields. Any other error is from `load` and may contain a secret.
        return own ? Effect.logError(line, Cause.fail(failed)) : Effect.logError(`${line}: ${trouble}`)
      }
      const context = yield* Effect.context<R>()
      const turn = Semaphore.makeUnsafe(1)
      const loading = turn.withPermit(Effect.flatMap(Effect.tapCause(next, report), adopt))
      if (again !== undefined) {
        const schedule = typeof again === "number" ? Schedule.spaced(again) : again
        yield* Effect.forkScoped(Effect.schedule(Effect.ignoreCause(loading), schedule))
      }
      const policies: Policies = {
        get version() {
          return current.version
        },
        get: (name) => current.get(name),
        get names() {
          return current.names
        },
        decode: (input, path) => current.decode(input, path),
        decodeKey: (input, path) => current.decodeKey(input, path)
      }
      reloads.set(policies, Effect.provideContext(Effect.catchCause(loading, toPolicyError), context))
      return policies
    })
  )
}

/**
 * Decodes a policy. Fields that are not set have the values of {@link defaults}.
 *
 * @category decoding
 */
export const decode = (input: Input): Result.Result<Policy, PolicyError> =>
  Result.mapError(
    Result.flatMap(decodePolicy(input, "", new Map()), (given) => merge(defaults, given, "")),
    (problems) => new PolicyError({ problems })
  )
