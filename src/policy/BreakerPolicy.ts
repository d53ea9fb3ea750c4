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
import { defaults, type Input, type Policy } from "./policy.ts"
import { decodePolicy, interval } from "./schema.ts"
import * as internal from "./settings.ts"

export type {
  /**
   * One thing that is wrong: where, and what was expected.
   *
   * @category errors
   * @since 0.1.0
   */
  Problem
} from "../core/fields.ts"
export {
  /**
   * The policy of every circuit of which nothing is said.
   *
   * @category models
   * @since 0.1.0
   */
  defaults,
  /**
   * A feature flag of a circuit: a value, an effect, or a function of the circuit that returns one of them.
   *
   * @category inputs
   * @since 0.1.0
   */
  type Flag,
  /**
   * A policy as written. Every field may be left out; {@link defaults} says what then holds.
   *
   * @category inputs
   * @since 0.1.0
   */
  type Input,
  /**
   * The fields of a policy that differ for one key of a name.
   *
   * @category inputs
   * @since 0.1.0
   */
  type KeyInput,
  /**
   * A policy as circuits use it: complete, checked, durations in milliseconds.
   *
   * @category models
   * @since 0.1.0
   */
  type Policy
} from "./policy.ts"

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
  /** Custom trips that these settings, and policies beside calls, can name. */
  readonly trips?: ReadonlyArray<Trip.Input> | undefined
  /**
   * The names that exist, if you want others in `breakers`, `dependsOn` or the environment to be errors. The log warns once of a call
   * that uses another name.
   */
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
    return describeProblems(this.problems)
  }
}

/**
 * The policies in force. `version` grows each time they change.
 *
 * @category models
 * @since 0.1.0
 */
export type Policies = internal.Policies

const decodeSettings = (settings: unknown, environment?: Environment): Effect.Effect<internal.Decoded, PolicyError> =>
  Effect.suspend(() =>
    Effect.fromResult(
      Result.mapError(internal.decodeSettings(settings, environment), (problems) => new PolicyError({ problems }))
    )
  )

const fixed = (decoded: internal.Decoded): Policies => internal.toPolicies(decoded, 0)

/**
 * The policies that circuits read, {@link defaults} for all unless a layer says otherwise.
 *
 * @category references
 * @since 0.1.0
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
 * @since 0.1.0
 */
export const layer = (settings: Settings): Layer.Layer<never, PolicyError> =>
  Layer.effect(Policies, Effect.map(decodeSettings(settings), fixed))

/**
 * Policies from the environment (any `ConfigProvider` with flat names), over those written in code.
 *
 * `CIRCUIT_BREAKER_<FIELD>` sets a field for every circuit, `CIRCUIT_BREAKER_<NAME>_<FIELD>` for one; the name `my-api`
 * is written `MY_API`. A duration is `30s`, `1h30m`, `30 seconds`, or a number of seconds (`30`).
 *
 * | field | value |
 * | --- | --- |
 * | `THRESHOLD` | failures in a row that open |
 * | `FAILURE_RATE`, `MINIMUM_CALLS`, `WINDOW` | share of failed calls that opens (above 0, at most 1), from how many calls on (default 20), over which time (default 10 seconds) |
 * | `COOLDOWN`, `MAX_COOLDOWN`, `PROBE_TIMEOUT`, `SLOW_CALL`, `RAMP` | durations |
 * | `PROBES`, `SUCCESSES_TO_CLOSE`, `FAILURES_TO_REOPEN` | counts |
 * | `MODE` | `enforce` or `observe` |
 * | `ENABLED` | `true` or `false` |
 *
 * What is more specific wins: a field that code sets for one circuit stands against a variable for all, and falls to a
 * variable for that circuit. `THRESHOLD` and the rate fields together are the whole trip: where only `THRESHOLD` is set,
 * only failures in a row open.
 *
 * A variable that begins with `CIRCUIT_BREAKER_` and is none of these is an error, as is a name that code does not have,
 * in `names` or else in `breakers`, where either is given.
 *
 * @category layers
 * @since 0.1.0
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

/** The errors of a loader are foreign, so a `PolicyError` has only their description. */
const toPolicyError = (cause: Cause.Cause<unknown>): Effect.Effect<never, PolicyError> => {
  const failed = Cause.squash(cause)
  if (failed instanceof PolicyError) return Effect.fail(failed)
  if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause as Cause.Cause<never>)
  return Effect.fail(new PolicyError({ problems: [{ path: "load", message: foreignText(cause) }] }))
}

/**
 * Loads the policies of {@link layerReloading} now, for example when a file changes, at a signal, or for an operator. Succeeds with `true`
 * if the policies have changed, and with `false` if they have not, or if they come from another layer. If the load fails, the last good
 * policies stay in force, and this fails with a `PolicyError`. If another load is running, this one begins after it.
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
 * @since 0.1.0
 */
export const reload: Effect.Effect<boolean, PolicyError> = Effect.flatMap(
  Policies,
  (policies) => reloads.get(policies) ?? Effect.succeed(false)
)

/**
 * Policies that may change while the program runs: `load` gives {@link Settings}, as values or as the JSON of a file or a
 * database. It runs at the start, whenever {@link reload} is called, and on `schedule` (a schedule, or the time between two loads) if that
 * is given. Throws a `RangeError` if `schedule` is neither.
 *
 * A circuit whose policy changes keeps its state, and of its window what the new one can hold. The first load must
 * succeed; none of them may hang, as no other begins while one runs. Effects and schedules in it must be constants: a new
 * one is a new policy. After that, one that fails or does not decode is reported as an error in the log, once while it
 * stays the same, and the last good policies stay in force.
 *
 * @category layers
 * @since 0.1.0
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
      const adopt = (loaded: internal.Decoded): Effect.Effect<boolean> => {
        reported = undefined
        if (internal.same(decoded, loaded)) return Effect.succeed(false)
        decoded = loaded
        current = internal.toPolicies(loaded, current.version + 1)
        return Effect.as(Effect.logInfo("Circuit breaker policies were reloaded"), true)
      }
      // The same trouble again is no news.
      const report = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
        const failed = Cause.squash(cause)
        const own = failed instanceof PolicyError
        const trouble = own ? failed.message : foreignText(cause)
        if (trouble === reported) return Effect.void
        reported = trouble
        const line = "Circuit breaker policies could not be reloaded, the last good ones stay in force"
        // A `PolicyError` names the fields. Any other error comes from `load` and may contain a secret.
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
 * A complete policy from one that is written, over {@link defaults}; or what is wrong with it.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = (input: Input): Result.Result<Policy, PolicyError> =>
  Result.mapBoth(decodePolicy(input, "", new Map()), {
    onSuccess: (given) => ({ ...defaults, ...given }),
    onFailure: (problems) => new PolicyError({ problems })
  })
