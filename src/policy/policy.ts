import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import type * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import type * as Trip from "../core/Trip.ts"

/**
 * A feature flag of a circuit: a value, an effect, or a function of the circuit that returns one of them. While it is `false`, calls run
 * uncounted.
 *
 * @category inputs
 */
export type Flag =
  | boolean
  | Effect.Effect<boolean>
  | ((circuit: { readonly name: string; readonly key: string | undefined }) => boolean | Effect.Effect<boolean>)

/**
 * The fields of a policy that can differ for one key.
 *
 * @category inputs
 */
export interface KeyInput extends Omit<Input, "keys" | "tenants" | "dependsOn" | "fleet" | "span"> {}

/**
 * A policy as written. Every field is optional; `BreakerPolicy.defaults` has the default values.
 *
 * @category inputs
 */
export interface Input {
  /** When a Closed circuit opens. Default: 5 failures in a row, or 50 % failures of at least 20 calls within 10 seconds. */
  readonly trip?: Trip.Input | undefined
  /** A call is slow if it takes at least this long. `Trip.slowRate` counts slow calls. Default: 2 seconds. */
  readonly slowCall?: Duration.Input | undefined
  /**
   * How long the circuit stays Open. 0 makes the next call a probe. Default: 30 seconds, or 5 seconds with a `limit`.
   *
   * With a `Schedule`, the n-th opening in a row lasts for the n-th delay, and after the last delay for the last one. The schedule must
   * compute its delays at once, because the call that opens the circuit waits for it. Configuration has a schedule as
   * `{ exponential: "1 second", factor: 2, jittered: true }`.
   */
  readonly cooldown?:
    | Duration.Input
    | Schedule.Schedule<unknown, number>
    | { readonly exponential: Duration.Input; readonly factor?: number; readonly jittered?: boolean }
    | undefined
  /** The maximum length of an opening from a schedule or a `retryAfter`. A fixed `cooldown` may be longer. Default: 10 minutes. */
  readonly maxCooldown?: Duration.Input | undefined
  /** How many probes may run at once while HalfOpen. Default: 1. */
  readonly probes?: number | undefined
  /** How many probes must succeed to close. Default: 1. */
  readonly successesToClose?: number | undefined
  /**
   * How many probes must fail to open again, if not enough have succeeded before. Increase it if the dependency sometimes fails while it is
   * healthy. Default: 1.
   */
  readonly failuresToReopen?: number | undefined
  /**
   * The timeout of a probe. A probe that takes longer is interrupted, together with its child fibers, and counts as a failure. If it cannot
   * be interrupted, it loses its lease. Default: 30 seconds.
   */
  readonly probeTimeout?: Duration.Input | undefined
  /** How long after a close only a growing share of the calls runs, from a tenth to all. Not with a `limit`. Default: no ramp. */
  readonly ramp?: Duration.Input | undefined
  /**
   * Limits the calls in flight, and adapts the limit to the load that the dependency can handle. Calls in excess of the limit are rejected
   * with the reason `Limited`. The limit begins after evidence of overload: timeouts, status 429, 503 or 529, or lateness. After a close,
   * the limit begins with `probes`. `true` uses the defaults of both fields. Default: `false`.
   *
   * - `objective`: a success that takes longer counts as late. Default: 5 times the usual duration, and lateness alone begins no limit.
   * - `max`: at most this many calls in flight at any time. Default: no fixed bound.
   */
  readonly limit?:
    | boolean
    | { readonly objective?: Duration.Input | undefined; readonly max?: number | undefined }
    | undefined
  /**
   * A health check. While the circuit is Open or HalfOpen it runs on `schedule`, which begins with a delay. Its first success closes the
   * circuit, without a probe. Its timeout is `probeTimeout`. Default: no health check.
   *
   * With `opens`, the check also runs while the circuit is Closed, from the first use of the circuit on, and a failed check opens the
   * circuit. A number says how many checks in a row must fail. Default: `false`.
   */
  readonly probe?:
    | {
        readonly check: Effect.Effect<unknown, unknown>
        readonly schedule: Schedule.Schedule<unknown> | Duration.Input
        readonly opens?: boolean | number | undefined
      }
    | undefined
  /**
   * Names of circuits that this circuit needs. While one of them rejects every call, this circuit rejects calls, too. A name stands for two
   * circuits: the one without a key, and the one with the key of this circuit. Default: none.
   */
  readonly dependsOn?: ReadonlyArray<string> | undefined
  /** With `observe`, the circuit counts, changes its state and reports, but it rejects no call. Default: `enforce`. */
  readonly mode?: "enforce" | "observe" | undefined
  /**
   * A feature flag: while it is `false`, calls run uncounted. An effect, or a function of the name and the key, runs for each call, and the
   * call waits for it. A flag that fails counts as `true`. Default: `true`.
   */
  readonly enabled?: Flag | undefined
  /**
   * What `Tenant.within` does. `separate`: each tenant has a separate circuit. `shared`: all tenants have one circuit. `counted`: all tenants
   * have one circuit, which counts the calls of each tenant. Default: `separate`.
   */
  readonly tenants?: "separate" | "shared" | "counted" | undefined
  /**
   * How processes with a shared store agree. With `false`, each process decides alone.
   *
   * - `suspectAfter`: after how many failures in a row a process asks the others. Default: 2.
   * - `hold`: how long it gives them to answer. Default: 75 milliseconds.
   * - `observation`: only processes that completed a call within this time have a vote. Default: 30 seconds.
   * - `quorum`: more than this share of them must agree, from 0 to below 1. Default: 0.5.
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
   * Whether a name with keys also opens as a whole: if the calls with nearly all of its last 32 keys fail, the circuit without a key opens,
   * and rejects the calls of all keys until one probe of any key succeeds. Default: `false`.
   */
  readonly span?: boolean | undefined
  /**
   * Fields that differ for some keys: an object by key, or a function of the key that returns the fields, or `undefined` if none differs.
   * They take precedence over the other fields. The key is the whole key of the circuit, with its tenant, as `inspect` shows it.
   *
   * The function is called when a circuit is made and when the policy changes, so it needs no cache. If it throws or returns an invalid
   * policy, this is logged once, and the policy of the name is used. Default: none.
   */
  readonly keys?: { readonly [key: string]: KeyInput } | ((key: string) => KeyInput | undefined) | undefined
}

/**
 * A decoded policy: complete and checked. Durations are in milliseconds.
 *
 * @category models
 */
export interface Policy extends Circuit.Rules {
  readonly trip: Trip.Trip
  readonly slowCallMillis: number
  /** Milliseconds, a schedule, or the data of a schedule, so that two equal policies can be compared. */
  readonly cooldown:
    | number
    | Schedule.Schedule<unknown, number>
    | { readonly exponential: number; readonly factor: number; readonly jittered: boolean }
  readonly maxCooldownMillis: number
  /** `objectiveMillis` is 0 and `max` is `Infinity` if they are not set. */
  readonly limit: { readonly objectiveMillis: number; readonly max: number } | false
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
  readonly span: boolean
  /** The decoded fields by key, or the function, which returns fields that are not decoded. */
  readonly keys: ReadonlyMap<string, Partial<Policy>> | ((key: string) => KeyInput | undefined) | undefined
}

/**
 * The policy of circuits for which nothing else is set.
 *
 * @category models
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
  limit: false,
  probe: undefined,
  dependsOn: [],
  mode: "enforce",
  enabled: true,
  tenants: "separate",
  fleet: Fleet.defaults,
  span: false,
  keys: undefined
}
