/// <reference lib="esnext.disposable" preserve="true" />
// The types of this module. They do not refer to types of Effect, so that users need none.

export type { ByHand } from "../shapes/byHand.ts"

/**
 * The type `AbortSignal` of the DOM, Node or Bun. If the program compiles without any of their types, it has the members that all three
 * share.
 */
export type PlatformSignal = typeof globalThis extends { readonly AbortSignal: { readonly prototype: infer S } }
  ? S
  : Required<Signal>

/**
 * Milliseconds, or a text such as `"30s"`, `"1h30m"` or `"30 seconds"`.
 *
 * @category models
 */
export type Time = number | string

/**
 * The state of a circuit. `Isolated` and `Disabled` are set by an operator.
 *
 * @category models
 */
export type State = "Closed" | "Open" | "HalfOpen" | "Isolated" | "Disabled"

/**
 * Whether one process (`local`) or the whole fleet (`fleet`) decided a state.
 *
 * @category models
 */
export type Scope = "local" | "fleet"

/**
 * When a circuit opens. The functions of `trip` make one.
 *
 * @category options
 */
export interface Trip {
  readonly _tag: string
}

/**
 * The counts that a custom trip decides on.
 *
 * @category models
 */
export interface Seen {
  /** The calls in the window of the trip. */
  readonly calls: number
  /** How many calls in the window failed. */
  readonly failures: number
  /** How many calls in the window were slow. */
  readonly slow: number
  /** The sum of the weights of the failures in the window. */
  readonly weight: number
  readonly failureRate: number
  readonly slowRate: number
  /** The current number of consecutive failures. */
  readonly streak: number
  /** Calls in flight. */
  readonly running: number
  readonly openings: number
  /** The time, in milliseconds since 1970. */
  readonly time: number
}

/**
 * How a circuit trips, cools down and recovers. All fields are optional.
 *
 * @category options
 */
export interface Policy {
  /** When the circuit opens. Default: 5 failures in a row, or half of at least 20 calls within 10 seconds. */
  readonly trip?: Trip | undefined
  /** A call that takes at least this long is slow. `trip.slowRate` counts slow calls. Default: 2 seconds. */
  readonly slowCall?: Time | undefined
  /**
   * How long the circuit stays open. Default: 30 seconds, or 5 seconds with a `limit`. It can differ from opening to opening:
   *
   * - `{ exponential: "1s", factor: 2 }`: each opening is `factor` (default 2) times as long as the one before.
   * - `{ linear: "10s", step: "5s" }`: each opening is longer by `step` (default: the value of `linear`).
   * - `["5s", "30s", "5m"]`: one time for each opening. The last one applies to all later openings.
   * - `(opening) => ...`: a function of the number of the opening, which starts at 1. It should return the same time for the same number.
   *
   * `jittered: true` makes each opening up to a fifth shorter or longer.
   */
  readonly cooldown?:
    | Time
    | { readonly exponential: Time; readonly factor?: number | undefined; readonly jittered?: boolean | undefined }
    | { readonly linear: Time; readonly step?: Time | undefined; readonly jittered?: boolean | undefined }
    | ReadonlyArray<Time>
    | ((opening: number) => Time)
    | undefined
  /** The maximum of a cooldown that differs from opening to opening. Default: 10 minutes. */
  readonly maxCooldown?: Time | undefined
  /** How many probes may run at once. Default: 1. */
  readonly probes?: number | undefined
  /** How many probes must succeed to close the circuit. Default: 1. */
  readonly successesToClose?: number | undefined
  /** How many probes must fail to open the circuit again, if not enough have succeeded before. Default: 1. */
  readonly failuresToReopen?: number | undefined
  /** A probe that takes longer fails, and the circuit opens again. Default: 30 seconds. */
  readonly probeTimeout?: Time | undefined
  /** For this long after a close, only a growing share of the calls is admitted. Not with a `limit`. Default: no ramp. */
  readonly ramp?: Time | undefined
  /**
   * Limits the calls in flight, and adapts the limit to the load that the dependency can handle. Calls in excess of the limit are rejected
   * with the reason `Limited`. The limit begins after evidence of overload: timeouts, status 429, 503 or 529, or lateness. After a close,
   * the limit begins with `probes`. `true` uses the defaults of both fields. Default: `false`.
   *
   * - `objective`: a success that takes longer counts as late. Default: 5 times the usual duration, and lateness alone begins no limit.
   * - `max`: at most this many calls in flight at any time. Default: no fixed bound.
   */
  readonly limit?: boolean | { readonly objective?: Time | undefined; readonly max?: number | undefined } | undefined
  /**
   * A health check that runs at the interval `every` while the circuit is open. Its first success closes the circuit. With `opens`, it also
   * runs while the circuit is closed, from the first call on, and opens the circuit if it fails once, or that number of times in a row.
   * Default: none.
   */
  readonly probe?:
    | {
        readonly check: (signal: PlatformSignal) => unknown
        readonly every: Time
        readonly opens?: boolean | number | undefined
      }
    | undefined
  /** The names of circuits that this circuit depends on. While one of them is open, this circuit rejects calls. */
  readonly dependsOn?: ReadonlyArray<string> | undefined
  /** With `observe`, the circuit counts, decides and reports, but rejects no call. Default: `enforce`. */
  readonly mode?: "enforce" | "observe" | undefined
  /**
   * If `false`, or a function that returns `false`, all calls pass and are not counted. The function is called for each call, with the
   * name and the key of the circuit. A function that fails or takes longer than a second counts as `true`. Default: `true`.
   */
  readonly enabled?:
    | boolean
    | ((circuit: { readonly name: string; readonly key: string | undefined }) => boolean | PromiseLike<boolean>)
    | undefined
  /** How the processes that share a store agree. With `false`, each process has its own circuit. */
  readonly fleet?:
    | false
    | {
        readonly suspectAfter?: number | undefined
        readonly quorum?: number | undefined
        readonly hold?: Time | undefined
        readonly observation?: Time | undefined
      }
    | undefined
  /**
   * Whether a breaker with keys also opens as a whole: if the calls with nearly all of its last 32 keys fail, it rejects the calls of all
   * keys until one probe of any key succeeds. Default: `false`.
   */
  readonly span?: boolean | undefined
  /**
   * Fields that differ for some keys: an object by key, or a function of the key that returns the fields, or `undefined` if no field
   * differs. They take precedence over the other fields. The function is called when a circuit is made. If it fails or returns an invalid
   * policy, the log reports it once, and the circuit uses the policy of the breaker. Default: none.
   */
  readonly keys?: { readonly [key: string]: KeyPolicy } | ((key: string) => KeyPolicy | undefined) | undefined
}

/**
 * The policy fields that a key can override. Fields that apply to the breaker as a whole cannot differ by key.
 *
 * @category options
 */
export interface KeyPolicy extends Omit<Policy, "keys" | "dependsOn" | "fleet" | "span"> {}

/**
 * How failed calls are retried.
 *
 * @category options
 */
export interface RetryOptions {
  /** The maximum number of retries. Default: 2. */
  readonly times?: number | undefined
  /** The first delay. Default: 100 milliseconds. */
  readonly minDelay?: Time | undefined
  /** The longest delay. An error that asks for a longer one (`retryAfter`, `Retry-After`) is not retried. Default: 10 seconds. */
  readonly maxDelay?: Time | undefined
  /** How the delay grows: it doubles each time (`exponential`), or grows by `minDelay` each time (`linear`). Default: `exponential`. */
  readonly backoff?: "exponential" | "linear" | undefined
  /** By which share a delay can be shorter or longer, from 0 to 1. Default: 0.5. */
  readonly jitter?: number | undefined
  /**
   * Which errors are retried. The rejection of an open circuit is never retried. Default: all errors, except rejections such as
   * `BULKHEAD_FULL`.
   */
  readonly while?: ((error: unknown) => boolean) | undefined
  /** How long the attempts of a call may wait in total for an open circuit. Default: they do not wait. */
  readonly waitForCircuit?: Time | undefined
}

/** The same arguments. TypeScript infers them from the function of the breaker, and from here only if the function has none. */
export type Listed<Args extends ReadonlyArray<unknown>> = { [I in keyof Args]: Args[I] }

/**
 * What a breaker does with the calls of one function. `Args` are the arguments of the function, and `A` is its result.
 *
 * @category options
 */
export interface Protection<Args extends ReadonlyArray<unknown>, A> extends Policy {
  /** How long each attempt may take; `false` for no limit. Default: 10 seconds. */
  readonly timeout?: Time | false | undefined
  /** How failed calls are retried, within a budget: the maximum number of retries, or options. Default: no retries. */
  readonly retry?: number | RetryOptions | false | undefined
  /**
   * How many calls may run at once (`concurrency`), and how many more may wait (`queue`, default 0). Default: no limit.
   *
   * A call that times out or is aborted frees its slot at once, although its function may still run. With `holdUntil: "settled"`, the
   * slot is free only when the promise of the function has settled. A function that never settles then keeps its slot for ever.
   */
  readonly bulkhead?:
    | {
        readonly concurrency: number
        readonly queue?: number | undefined
        readonly holdUntil?: "settled" | undefined
      }
    | undefined
  /** Returns a result in place of a call that was rejected or has failed. It is not called if the caller has aborted the call. */
  readonly fallback?: ((error: unknown, ...args: Listed<Args>) => A | PromiseLike<A>) | undefined
  /**
   * With `"stream end"`, a call whose function returns a `ReadableStream`, a Node stream or an async iterable ends when the stream has
   * been read. A stream that fails is a failure. If the reader stops early, the call is a success. If the stream is not read to its end
   * within 10 minutes, the call is ignored. Default: a call ends when the promise of the function has settled.
   */
  readonly until?: "stream end" | undefined
  /** Which errors are failures. Other errors count as successes. Default: all errors. */
  readonly isFailure?: ((error: unknown) => boolean) | undefined
  /** Which errors the circuit ignores. Default: none. */
  readonly isIgnored?: ((error: unknown) => boolean) | undefined
  /**
   * Whether a `CircuitOpenError` or a `BulkheadFullError` has a stack trace. Default: `false`, because a stack trace costs more than
   * the rest of a rejection.
   */
  readonly rejectionStack?: boolean | undefined
}

/**
 * The `this` of the function of a breaker, and the argument of a call that is made with `run`.
 *
 * @category models
 */
export interface CallContext {
  /**
   * Aborted if the caller gives up the call or if the call takes too long. Its `reason` is the reason of the caller's signal, or the
   * `TimeoutError` with which the call rejects.
   */
  readonly signal: PlatformSignal
}

/**
 * What can abort a call: an `AbortSignal`, or any object that works like one.
 *
 * @category options
 */
export interface Signal {
  readonly aborted: boolean
  readonly reason?: unknown
  addEventListener(type: "abort", listener: () => void, options?: { readonly once?: boolean }): void
  removeEventListener?(type: "abort", listener: () => void): void
}

/**
 * The circuit and the signal of one call.
 *
 * @category options
 */
export interface CallOptions {
  /** Selects a circuit of the breaker, for example of a host or a customer. Each key has its own state. Default: the circuit without a key. */
  readonly key?: string | undefined
  /** If the signal is aborted, the call rejects with the reason of the signal, and the circuit ignores the call. */
  readonly signal?: Signal | undefined
}

/**
 * The counts of a circuit since it was created.
 *
 * @category models
 */
export interface Counts {
  readonly calls: number
  readonly successes: number
  readonly failures: number
  readonly ignored: number
  readonly slow: number
  readonly rejected: number
  /** Calls that passed without being counted, while the circuit was disabled or switched off, or that `observe` would have rejected. */
  readonly passed: number
}

/**
 * The state and the counts of one circuit.
 *
 * @category models
 */
export interface Metrics extends Counts {
  readonly name: string
  readonly key: string | undefined
  readonly state: State
  readonly scope: Scope
  readonly inFlight: number
  /** How many calls may be in flight at once, if the `limit` of the policy limits them now. `undefined` if it does not. */
  readonly limit: number | undefined
  /** The current number of consecutive failures. */
  readonly streak: number
  /**
   * The share of recent calls that failed, from 0 to 1: in the window of the trip that holds the most calls, or in the last 10
   * seconds if the trip reads no window. 1 while it is Open or HalfOpen. `undefined` if no recent call is counted.
   */
  readonly failureRate: number | undefined
  readonly openings: number
  /**
   * The outage that the circuit is in, also beneath an override. `since` is the start of its first opening, which failed probes do not
   * change, in milliseconds since 1970, and `openings` is the number of its openings. `undefined` while the circuit is Closed.
   */
  readonly outage: { readonly since: number; readonly openings: number } | undefined
  /** Milliseconds until a call can pass; 0 if a call can pass now. */
  readonly retryAfter: number
  /** The most recent failures, oldest first. `at` is in milliseconds since 1970. */
  readonly lastFailures: ReadonlyArray<{ readonly at: number; readonly error: string }>
}

/**
 * The sums over all circuits of a manager.
 *
 * @category models
 */
export interface AggregateMetrics extends Counts {
  readonly circuits: number
  /** How many circuits admit calls. */
  readonly healthy: number
  readonly open: number
  /** How many circuits are in an outage: Open or HalfOpen, also beneath an override. */
  readonly down: number
  readonly inFlight: number
  /** The mean over the circuits that have a failure rate; `undefined` if no circuit has one. */
  readonly failureRate: number | undefined
  readonly breakers: ReadonlyArray<Metrics>
}

/**
 * The names of events: one for each state that a circuit enters, and `transition` for all of them.
 *
 * @category models
 */
export type EventName = "open" | "halfOpen" | "close" | "isolate" | "disable" | "transition"

/**
 * A transition of a circuit, or an operator action on it.
 *
 * @category models
 */
export interface BreakerEvent {
  readonly name: string
  readonly key: string | undefined
  readonly from: State
  readonly to: State
  /** The cause of the transition: `Tripped`, `CooldownOver`, `Recovered`, `Isolated`, ... */
  readonly why: string
  /** The counts that tripped the circuit, or the reason that an operator gave. */
  readonly detail: string | undefined
  readonly actor: string | undefined
  /** When it happened, in milliseconds since 1970. */
  readonly at: number
  /** Milliseconds for which calls are now rejected; `Infinity` if the state does not end by itself. */
  readonly retryAfter: number
  /**
   * The outage that the circuit entered, is in, or just left. `since` is the start of its first opening, in milliseconds since 1970,
   * and `openings` is the number of its openings so far. `undefined` without an outage.
   */
  readonly outage: { readonly since: number; readonly openings: number } | undefined
  /** How long the outage lasted, in milliseconds, if this event ends it. */
  readonly downFor: number | undefined
  readonly scope: Scope
}

/**
 * An override that an operator has set. `Isolated` rejects every call, and `Disabled` lets every call pass uncounted. Times are in
 * milliseconds since 1970.
 *
 * @category models
 */
export interface Override {
  readonly state: "Isolated" | "Disabled"
  readonly since: number
  /** `Infinity` if it does not expire. */
  readonly until: number
  readonly reason: string
  readonly actor: string | undefined
}

/**
 * The result of `release`.
 *
 * @category models
 */
export interface Released {
  /** The state after the release. */
  readonly state: State
  /** The overrides that the release ended. The override that decided the state comes first. */
  readonly ended: ReadonlyArray<Override>
}

/**
 * The fleet's state of a circuit, as the store has it. Times are in milliseconds since 1970.
 *
 * @category models
 */
export interface DistributedState {
  readonly name: string
  readonly key: string | undefined
  /** `Closed` if the store has no record of the circuit. */
  readonly state: State
  /** When the state began; `undefined` if the store has no record of the circuit. */
  readonly since: number | undefined
  /** When the cooldown or the override ends; `undefined` if the state does not end by itself. */
  readonly until: number | undefined
  readonly openings: number
  /** The outage that the circuit is in, also beneath an override. */
  readonly outage: { readonly since: number; readonly openings: number } | undefined
  /** The cause of the latest transition: `Tripped`, `Isolated`, ... */
  readonly why: string | undefined
  /** The counts that tripped the circuit, or the reason that an operator gave. */
  readonly detail: string | undefined
  readonly actor: string | undefined
  /** The process that wrote the state. */
  readonly process: string | undefined
}
