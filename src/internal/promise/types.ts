/// <reference lib="esnext.disposable" preserve="true" />
// What promise code sees: nothing here, and nothing that it imports, knows of Effect.

/** The platform's `AbortSignal`, whichever declares it: the DOM, Node, Bun. If none of them does, what all of them have. */
export type PlatformSignal = typeof globalThis extends { readonly AbortSignal: { readonly prototype: infer S } }
  ? S
  : Required<Signal>

/**
 * Milliseconds, or a text such as `"30s"`, `"1h30m"` or `"30 seconds"`.
 *
 * @category models
 * @since 0.1.0
 */
export type Time = number | string

/**
 * @category models
 * @since 0.1.0
 */
export type State = "Closed" | "Open" | "HalfOpen" | "Isolated" | "Disabled"

/** Whose state it is: this process's own, or that of all that share the store. */
export type Scope = "local" | "fleet"

/**
 * When a circuit opens: made by `trip`.
 *
 * @category options
 * @since 0.1.0
 */
export interface Trip {
  readonly _tag: string
}

/**
 * What a custom trip sees.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen {
  /** Calls in its window, and how many of these failed or were slow. */
  readonly calls: number
  readonly failures: number
  readonly slow: number
  /** The sum of the failures' weights. */
  readonly weight: number
  readonly failureRate: number
  readonly slowRate: number
  /** Failures in a row, up to now. */
  readonly streak: number
  /** Calls in flight. */
  readonly running: number
  readonly openings: number
  /** Wall clock, milliseconds since 1970. */
  readonly time: number
}

/**
 * How a circuit trips, cools down and recovers. Every field may be left out.
 *
 * @category options
 * @since 0.1.0
 */
export interface Policy {
  /** When it opens. Default: 5 failures in a row, or half of at least 20 calls within 10 seconds. */
  readonly trip?: Trip | undefined
  /** A call that takes at least this long is slow: `trip.slowRate` counts these. Default 2 seconds. */
  readonly slowCall?: Time | undefined
  /** How long it stays open, at each opening the same or `factor` (2) times longer. Default 30 seconds. */
  readonly cooldown?:
    | Time
    | { readonly exponential: Time; readonly factor?: number | undefined; readonly jittered?: boolean | undefined }
    | undefined
  /** Bounds a cooldown that grows. Default 10 minutes. */
  readonly maxCooldown?: Time | undefined
  /** How many probes may run at once. Default 1. */
  readonly probes?: number | undefined
  /** How many probes must succeed to close it. Default 1. */
  readonly successesToClose?: number | undefined
  /** How many probes must fail to open it again, if not enough have succeeded before. Default 1. */
  readonly failuresToReopen?: number | undefined
  /** A probe that takes longer is given up, and counts as a failure. Default 30 seconds. */
  readonly probeTimeout?: Time | undefined
  /** For this long after a close only a growing share of calls passes. Default none. */
  readonly ramp?: Time | undefined
  /** A health check that runs `every` so often while the circuit is open; its first success closes it. Default none. */
  readonly probe?: { readonly check: (signal: PlatformSignal) => unknown; readonly every: Time } | undefined
  /** Names of circuits without which this one cannot work. */
  readonly dependsOn?: ReadonlyArray<string> | undefined
  /** `observe` decides, counts and reports, and rejects nobody. Default `enforce`. */
  readonly mode?: "enforce" | "observe" | undefined
  /**
   * `false`, or a function that says so, lets calls through uncounted. One that fails, or takes longer than a second, counts as
   * `true`. Default `true`.
   */
  readonly enabled?: boolean | (() => boolean | PromiseLike<boolean>) | undefined
  /** How the processes that share a store agree; `false` keeps the circuit to each process. */
  readonly fleet?:
    | false
    | {
        readonly suspectAfter?: number | undefined
        readonly quorum?: number | undefined
        readonly hold?: Time | undefined
        readonly observation?: Time | undefined
      }
    | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface RetryOptions {
  /** How often a call is made again. Default 2. */
  readonly times?: number | undefined
  /** The first delay, doubled each time, up to `maxDelay`. Default 100 milliseconds. */
  readonly minDelay?: Time | undefined
  /** The longest delay. An error that asks for a longer one (`retryAfter`, `Retry-After`) is not retried. Default 10 seconds. */
  readonly maxDelay?: Time | undefined
  /** By which share a delay may be shorter or longer, from 0 to 1. Default 0.5. */
  readonly jitter?: number | undefined
  /** Which errors are worth another attempt; an open circuit never is. Default all but what a policy rejected, as `BULKHEAD_FULL`. */
  readonly while?: ((error: unknown) => boolean) | undefined
  /** Waits while the circuit is open, for no longer than this in all. Default: it does not. */
  readonly waitForCircuit?: Time | undefined
}

/** The same arguments. They are inferred from the function of the breaker, and from this only if it has none. */
export type Listed<Args extends ReadonlyArray<unknown>> = { [I in keyof Args]: Args[I] }

/**
 * What a breaker does with the calls of one function. `Args` are its arguments, `A` is what it answers.
 *
 * @category options
 * @since 0.1.0
 */
export interface Protection<Args extends ReadonlyArray<unknown>, A> extends Policy {
  /** Bounds each attempt; `false` does not. Default 10 seconds. */
  readonly timeout?: Time | false | undefined
  /** Makes failed calls again, within a budget: a number of times, or more to say. Default: it does not. */
  readonly retry?: number | RetryOptions | false | undefined
  /**
   * How many calls run at once, and how many more may wait. A function that goes on after its signal was aborted runs beside
   * them. Default: no bound.
   */
  readonly bulkhead?: { readonly concurrency: number; readonly queue?: number | undefined } | undefined
  /** Answers in place of a call that was rejected or has failed. It is not asked when the caller has aborted. */
  readonly fallback?: ((error: unknown, ...args: Listed<Args>) => A | PromiseLike<A>) | undefined
  /**
   * `"stream end"` counts a call whose function answers with a `ReadableStream`, a stream of Node or an async iterable until that has
   * been read: one that breaks off is a failure, one that its reader gives up is a success. A call whose stream is not read to its end
   * within 10 minutes says nothing. Default: a call ends when the function has answered.
   */
  readonly until?: "stream end" | undefined
  /** Which errors are failures; others are answers. Default all. */
  readonly isFailure?: ((error: unknown) => boolean) | undefined
  /** Which errors tell nothing of what is called. Default none. */
  readonly isIgnored?: ((error: unknown) => boolean) | undefined
}

/**
 * What `this` is in the function of a breaker, and what `run` gives to its call.
 *
 * @category models
 * @since 0.1.0
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
 * @since 0.1.0
 */
export interface Signal {
  readonly aborted: boolean
  readonly reason?: unknown
  addEventListener(type: "abort", listener: () => void, options?: { readonly once?: boolean }): void
  removeEventListener?(type: "abort", listener: () => void): void
}

/**
 * @category options
 * @since 0.1.0
 */
export interface CallOptions {
  /** Which circuit of the breaker: a host, a customer. Each has a state of its own. Default: the one without a key. */
  readonly key?: string | undefined
  /** Gives up the call when it is aborted. The call then rejects with the signal's reason, and the circuit ignores it. */
  readonly signal?: Signal | undefined
}

/**
 * What was counted since a circuit was made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  readonly calls: number
  readonly successes: number
  readonly failures: number
  readonly ignored: number
  readonly slow: number
  readonly rejected: number
  /** Calls that ran uncounted: it is disabled, switched off or only observes. */
  readonly passed: number
}

/**
 * Everything about one circuit at one moment.
 *
 * @category models
 * @since 0.1.0
 */
export interface Metrics extends Counts {
  readonly name: string
  readonly key: string | undefined
  readonly state: State
  readonly scope: Scope
  readonly inFlight: number
  /** Failures in a row. */
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
  /** Milliseconds until a call may pass, 0 if one may now. */
  readonly retryAfter: number
  /** The latest few, oldest first, with their wall clock. */
  readonly lastFailures: ReadonlyArray<{ readonly at: number; readonly error: string }>
}

/**
 * All circuits of a manager as one, their counts added up.
 *
 * @category models
 * @since 0.1.0
 */
export interface AggregateMetrics extends Counts {
  readonly circuits: number
  /** Of how many calls pass. */
  readonly healthy: number
  readonly open: number
  /** How many are in an outage: Open or HalfOpen, also beneath an override. */
  readonly down: number
  readonly inFlight: number
  /** The mean over the circuits that have a failure rate; `undefined` if no circuit has one. */
  readonly failureRate: number | undefined
  readonly breakers: ReadonlyArray<Metrics>
}

/**
 * What may be listened to: each state that is entered, or all as `transition`.
 *
 * @category models
 * @since 0.1.0
 */
export type EventName = "open" | "halfOpen" | "close" | "isolate" | "disable" | "transition"

/**
 * A circuit moved, or somebody acted on it.
 *
 * @category models
 * @since 0.1.0
 */
export interface BreakerEvent {
  readonly name: string
  readonly key: string | undefined
  readonly from: State
  readonly to: State
  /** What made it move: `Tripped`, `CooldownOver`, `Recovered`, `Isolated`, ... */
  readonly why: string
  /** The figures that made it trip, or the reason somebody gave. */
  readonly detail: string | undefined
  readonly actor: string | undefined
  /** Wall clock, milliseconds since 1970. */
  readonly at: number
  /** Milliseconds for which calls are now rejected; `Infinity` where that has no end. */
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
 * An override that an operator set: `Isolated` rejects every call, `Disabled` lets every call pass uncounted. Times are wall clock,
 * in milliseconds since 1970.
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
 * What `release` answers.
 *
 * @category models
 */
export interface Released {
  /** The state that holds now. */
  readonly state: State
  /** The overrides that it ended, the deciding one first; empty if there were none. */
  readonly ended: ReadonlyArray<Override>
}

/**
 * Who steers a circuit by hand, and why.
 *
 * @category options
 * @since 0.1.0
 */
export interface ByHand {
  readonly key?: string | undefined
  readonly reason?: string | undefined
  readonly actor?: string | undefined
}
