import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import type * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import type * as Trip from "../core/Trip.ts"

/**
 * A feature flag of a circuit: a value, an effect, or a function of the circuit that returns one of them. While it is `false`, calls pass
 * uncounted.
 *
 * @category inputs
 * @since 0.1.0
 */
export type Flag =
  | boolean
  | Effect.Effect<boolean>
  | ((circuit: { readonly name: string; readonly key: string | undefined }) => boolean | Effect.Effect<boolean>)

/**
 * The fields of a policy that differ for one key of a name. Fields that decide about the name as a whole cannot differ.
 *
 * @category inputs
 * @since 0.1.0
 */
export interface KeyInput extends Omit<Input, "keys" | "tenants" | "dependsOn" | "fleet"> {}

/**
 * A policy as written. Every field may be left out; `BreakerPolicy.defaults` says what then holds.
 *
 * @category inputs
 * @since 0.1.0
 */
export interface Input {
  /** When a Closed circuit opens. Default: 5 failures in a row, or half of at least 20 calls within 10 seconds. */
  readonly trip?: Trip.Input | undefined
  /** A call that takes at least this long is slow: `Trip.slowRate` counts these. Default 2 seconds. */
  readonly slowCall?: Duration.Input | undefined
  /**
   * How long it stays Open. The n-th delay of a `Schedule` is for the n-th opening; when the schedule ends, its last
   * delay holds. 0 makes the next call a probe. Configuration, which cannot hold a `Schedule`, writes
   * `{ exponential: "1 second", factor: 2, jittered: true }`. A schedule's delays must not wait for anything: the call that
   * opens waits for them. Default 30 seconds.
   */
  readonly cooldown?:
    | Duration.Input
    | Schedule.Schedule<unknown, number>
    | { readonly exponential: Duration.Input; readonly factor?: number; readonly jittered?: boolean }
    | undefined
  /** What a schedule or a `retryAfter` says is cut to this; a fixed `cooldown` is what it says. Default 10 minutes. */
  readonly maxCooldown?: Duration.Input | undefined
  /** How many probes may run at once while HalfOpen. Default 1. */
  readonly probes?: number | undefined
  /** How many probes must succeed to close. Default 1. */
  readonly successesToClose?: number | undefined
  /**
   * How many probes must fail to open again, if not enough have succeeded before. Raise it for a dependency that also fails now and then
   * while it is healthy. Default 1.
   */
  readonly failuresToReopen?: number | undefined
  /**
   * A probe that takes longer is interrupted, with the fibers it has forked as its children, and counts as a failure.
   * One that cannot be interrupted loses its place to another. Default 30 seconds.
   */
  readonly probeTimeout?: Duration.Input | undefined
  /** For this long after a close, only a growing share of calls passes: from a tenth to all. Default none. */
  readonly ramp?: Duration.Input | undefined
  /**
   * A health check of your own. While the circuit is Open or HalfOpen it runs on `schedule` (its first delay first), and
   * its first success closes the circuit without spending a user's call. It gets `probeTimeout` to answer. Default none.
   *
   * With `opens`, it also runs while the circuit is Closed, from the first use of the circuit on, and a check that fails opens the
   * circuit. A number is how many checks in a row must fail. Default: `false`.
   */
  readonly probe?:
    | {
        readonly check: Effect.Effect<unknown, unknown>
        readonly schedule: Schedule.Schedule<unknown> | Duration.Input
        readonly opens?: boolean | number | undefined
      }
    | undefined
  /**
   * Names of circuits without which this one cannot work: while one of them is open, calls are rejected. Meant are the
   * circuit of the name alone and the one of the same key.
   */
  readonly dependsOn?: ReadonlyArray<string> | undefined
  /** `observe` decides, counts and reports, and rejects nobody. Default `enforce`. */
  readonly mode?: "enforce" | "observe" | undefined
  /**
   * A feature flag: `false` passes calls through uncounted. An effect, or a function of the circuit's name and key, runs for each call,
   * and the call waits for it. A flag that fails counts as `true`. Default `true`.
   */
  readonly enabled?: Flag | undefined
  /**
   * What `Tenant.within` does to this circuit: `separate` gives each tenant a circuit of its own, `shared` keeps one for
   * all, `counted` keeps one for all and counts the calls of each. Default `separate`.
   */
  readonly tenants?: "separate" | "shared" | "counted" | undefined
  /**
   * How processes agree, where the store is shared: a process asks the others after `suspectAfter` failures in a row
   * (default 2) and gives them `hold` to answer (default 75 milliseconds); who completed a call within `observation`
   * (default 30 seconds) has a say; more than `quorum` of them must agree (default 0.5). `false` keeps the circuit to each
   * process.
   */
  readonly fleet?:
    | false
    | {
        readonly suspectAfter?: number | undefined
        readonly quorum?: number | undefined
        readonly hold?: Duration.Input | undefined
        readonly observation?: Duration.Input | undefined
      }
    | undefined
  /**
   * Fields that differ for some keys of the name: an object by key, or a function of the key that returns the fields, or `undefined` if no
   * field differs. They take precedence over the other fields. The key is the whole key of the circuit, with its tenant, as `inspect` shows it. The function is
   * called when a circuit is made and when the policy changes, so it needs no cache; circuits with keys are bounded by `maxCircuits`.
   * If it fails or returns an invalid policy, the log says so once, and the policy of the name holds. Default: none.
   */
  readonly keys?: { readonly [key: string]: KeyInput } | ((key: string) => KeyInput | undefined) | undefined
}

/**
 * A policy as circuits use it: complete, checked, durations in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policy extends Circuit.Rules {
  readonly trip: Trip.Trip
  readonly slowCallMillis: number
  /** Milliseconds, a schedule, or the data of one: kept as data, so that two policies that say the same are equal. */
  readonly cooldown:
    | number
    | Schedule.Schedule<unknown, number>
    | { readonly exponential: number; readonly factor: number; readonly jittered: boolean }
  readonly maxCooldownMillis: number
  readonly probe:
    | {
        readonly check: Effect.Effect<unknown, unknown>
        readonly schedule: number | Schedule.Schedule<unknown>
        /** How many checks in a row must fail to open a Closed circuit; 0 if checks do not open it. */
        readonly opens: number
      }
    | undefined
  readonly dependsOn: ReadonlyArray<string>
  readonly mode: "enforce" | "observe"
  readonly enabled: Flag
  readonly tenants: "separate" | "shared" | "counted"
  readonly fleet: Fleet.VotingRules | false
  /** The decoded fields by key, or the function that returns fields which are not decoded yet. */
  readonly keys: ReadonlyMap<string, Partial<Policy>> | ((key: string) => KeyInput | undefined) | undefined
}

/**
 * The policy of every circuit of which nothing is said.
 *
 * @category models
 * @since 0.1.0
 */
export const defaults: Policy = {
  trip: {
    _tag: "Any",
    trips: [
      { _tag: "Consecutive", failures: 5 },
      { _tag: "FailureRate", threshold: 0.5, minimumCalls: 20, over: { _tag: "Time", millis: 10_000 } }
    ]
  },
  slowCallMillis: 2_000,
  cooldown: 30_000,
  maxCooldownMillis: 600_000,
  probes: 1,
  successesToClose: 1,
  failuresToReopen: 1,
  probeTimeoutMillis: 30_000,
  rampMillis: 0,
  probe: undefined,
  dependsOn: [],
  mode: "enforce",
  enabled: true,
  tenants: "separate",
  fleet: Fleet.defaults,
  keys: undefined
}
