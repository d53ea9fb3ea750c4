/**
 * Circuit breakers for code without Effect: functions that return promises, in and out.
 *
 * ```ts
 * import { CircuitOpenError, createBreaker, trip } from "effect-fuse/promise"
 *
 * let down = true
 * const getUser = async (id: number) => {
 *   if (down) throw new Error("connection refused")
 *   return { id, name: "Ann" }
 * }
 *
 * const users = createBreaker(getUser, { name: "users", trip: trip.consecutive(2), cooldown: "50 millis" })
 *
 * const outcomes: Array<string> = []
 * for (let i = 0; i < 3; i++) {
 *   await users.execute(7).catch((error) => outcomes.push(error instanceof CircuitOpenError ? error.code : error.message))
 * }
 * outcomes // => ["connection refused", "connection refused", "CIRCUIT_OPEN"]
 *
 * down = false
 * await new Promise((resolve) => setTimeout(resolve, 60))
 * await users.execute(7) // => { id: 7, name: "Ann" }
 * users.state // => "Closed"
 * await users.shutdown()
 * ```
 *
 * **When to use**
 *
 * {@link createBreaker} for one function; {@link createManager} for several that share a store and are looked at as one.
 * Circuits are in the memory of the process, or shared through Redis by its URL. In code with Effect use `CircuitBreaker` and
 * `Resilience`.
 *
 * Nothing here keeps a process alive: it ends when nothing else is to be done, whether anything was shut down or not.
 *
 * @since 0.1.0
 */

import { decodeOptions, field, optional, refused } from "../core/fields.ts"
import { asConfigurationError } from "./errors.ts"
import { breakerFields } from "./fields.ts"
import { alone, aloneWith, managerFields, type PlainBreaker, PlainManager } from "./manager.ts"
import type {
  AggregateMetrics,
  BreakerEvent,
  ByHand,
  CallContext,
  CallOptions,
  DistributedState,
  EventName,
  Metrics,
  Protection,
  Released,
  State,
  Time
} from "./types.ts"
import { wrapped } from "./wrapped.ts"

export {
  /**
   * What a breaker itself rejects a call with. Tell them apart by their class, or by `code`.
   *
   * @category errors
   */
  BreakerError,
  /**
   * The call was not made: as many run and wait as may. `code`: `BULKHEAD_FULL`.
   *
   * @category errors
   */
  BulkheadFullError,
  /**
   * The call was not made: its circuit is open, or lets only some calls through. `code`: `CIRCUIT_OPEN`; `retryAfter` in
   * milliseconds.
   *
   * @category errors
   */
  CircuitOpenError,
  /**
   * Options that cannot be used, each named by the message. `code`: `INVALID_OPTIONS`.
   *
   * @category errors
   */
  ConfigurationError,
  /**
   * The breaker, or its manager, was shut down. `code`: `SHUT_DOWN`.
   *
   * @category errors
   */
  ShutdownError,
  /**
   * The store that processes share has not answered `distributedState`. `code`: `STORE_UNAVAILABLE`.
   *
   * @category errors
   */
  StoreUnavailableError,
  /**
   * The call took longer than `timeout`, and its signal was aborted. `code`: `TIMEOUT`.
   *
   * @category errors
   */
  TimeoutError
} from "./errors.ts"
export {
  /**
   * @category options
   */
  type TripRate,
  /**
   * When circuits open. Windows (`over`, `of`) are a number of calls, or a text such as `"10s"` or `"10 seconds"`.
   *
   * @category trips
   */
  trip
} from "./trips.ts"
export type {
  /**
   * All circuits of a manager as one.
   *
   * @category models
   */
  AggregateMetrics,
  /**
   * A circuit moved, or somebody acted on it.
   *
   * @category models
   */
  BreakerEvent,
  /**
   * Who steers a circuit by hand, and why.
   *
   * @category options
   */
  ByHand,
  /**
   * What `this` is in the function of a breaker, and what `run` gives to its call: the signal of the call.
   *
   * @category models
   */
  CallContext,
  /**
   * Which circuit a call is for, and what gives it up.
   *
   * @category options
   */
  CallOptions,
  /** What was counted since a circuit was made. @category models */
  Counts,
  /**
   * The fleet's state of a circuit, as the store has it.
   *
   * @category models
   */
  DistributedState,
  /**
   * What may be listened to.
   *
   * @category models
   */
  EventName,
  /** The fields of a policy that differ for one key. @category options */
  KeyPolicy,
  /**
   * Everything about one circuit at one moment.
   *
   * @category models
   */
  Metrics,
  /**
   * An override that an operator set.
   *
   * @category models
   */
  Override,
  /**
   * How a circuit trips, cools down and recovers. Every field may be left out.
   *
   * @category options
   */
  Policy,
  /** A policy, and what else is done with the calls of a function. @category options */
  Protection,
  /**
   * The result of `release`: the state after it, and the overrides that it ended.
   *
   * @category models
   */
  Released,
  /**
   * How failed calls are made again.
   *
   * @category options
   */
  RetryOptions,
  /**
   * Whose state it is: this process's own, or that of all that share the store.
   *
   * @category models
   */
  Scope,
  /**
   * What a custom trip sees.
   *
   * @category models
   */
  Seen,
  /**
   * What can abort a call: an `AbortSignal`, or any object that works like one.
   *
   * @category options
   */
  Signal,
  /**
   * @category models
   */
  State,
  /**
   * Milliseconds, or a text such as `"30s"`, `"1h30m"` or `"30 seconds"`.
   *
   * @category models
   */
  Time,
  /**
   * When a circuit opens: made by {@link trip}.
   *
   * @category options
   */
  Trip
} from "./types.ts"

/**
 * A function under a circuit.
 *
 * @category models
 */
export interface Breaker<Args extends ReadonlyArray<unknown>, A> {
  readonly name: string
  /**
   * Calls the function. Rejects with what that rejects with, or with a `BreakerError`; or answers what its `fallback` does.
   */
  readonly execute: (...args: Args) => Promise<A>
  /** The same for the circuit of a key, or with a signal: when that is aborted the call is given up, and rejects with its reason. */
  readonly with: (options: CallOptions) => { readonly execute: (...args: Args) => Promise<A> }
  /** Makes any call under the same circuit. It has no fallback. */
  readonly run: <B>(call: (context: CallContext) => B | PromiseLike<B>, options?: CallOptions) => Promise<B>
  /** Of the circuit without a key, now. A circuit whose cooldown is over stays `Open` until a call probes it. */
  readonly state: State
  /** Of the circuit without a key, now. */
  readonly metrics: Metrics
  /** The metrics of the circuit of a key. */
  readonly inspect: (key?: string) => Metrics
  /**
   * Reads the fleet's state of the circuit from the store. `state` and `metrics` have the state in this process, which can differ.
   * Returns `undefined` if processes do not share the circuit: without `redis`, or with `fleet: false`.
   *
   * Rejects with a `StoreUnavailableError` if the store does not answer within a second.
   */
  readonly distributedState: (key?: string) => Promise<DistributedState | undefined>
  /** Listens to the circuits of this breaker, until the function that it answers is called. */
  readonly on: (event: EventName, listener: (event: BreakerEvent) => void) => () => void
  /** Makes the circuit as new. */
  readonly reset: (options?: ByHand) => Promise<void>
  /** Opens the circuit as a trip would. */
  readonly open: (options?: ByHand & { readonly for?: Time | undefined }) => Promise<void>
  readonly close: (options?: ByHand) => Promise<void>
  /**
   * Rejects every call until `release`, or for a while. Without a key it holds for all keys. A later override never shortens an
   * earlier one.
   */
  readonly isolate: (options?: ByHand & { readonly for?: Time | undefined }) => Promise<void>
  /** Lets every call through, uncounted, until `release`, or for a while. */
  readonly disable: (options?: ByHand & { readonly for?: Time | undefined }) => Promise<void>
  /** Ends all overrides of the circuit, also those of other operators, and returns them. */
  readonly release: (options?: ByHand) => Promise<Released>
}

/**
 * What has a store of its own, which may be shut down.
 *
 * @category models
 */
export interface Owner extends AsyncDisposable {
  /** Waits until the store can be used: at once in memory, for up to 1.2 seconds with Redis, also if Redis does not answer. */
  readonly ready: () => Promise<void>
  /**
   * The state of all circuits as JSON: those that are open, isolated or disabled, or that still remember their openings. Policies and
   * counts are not part of it. Use it to keep circuits over a restart, or to move them to another store.
   */
  readonly exportAll: () => Promise<string>
  /**
   * Takes over the circuits of {@link Owner.exportAll}, and returns the number of circuits. An opening keeps its end. With `redis`, all
   * processes take over these circuits. If the text cannot be read, nothing changes, and the promise rejects with a `ConfigurationError`.
   */
  readonly importAll: (json: string) => Promise<number>
  /** Gives back what it holds: connections, health checks. Calls that run go on; new ones are rejected. */
  readonly shutdown: () => Promise<void>
}

/**
 * @category options
 */
export interface StoreOptions {
  /**
   * The URL of a Redis through which processes share their circuits. It needs the package `redis`.
   * Whatever becomes of Redis, calls are protected in this process. Default: circuits are this process's own.
   *
   * The client is replaced if it stops working. `url` can be a function, which is called for each new client. It can therefore return a
   * password that was rotated.
   */
  readonly redis?:
    | string
    | {
        readonly url: string | (() => string | Promise<string>)
        readonly prefix?: string | undefined
        readonly process?: string | undefined
      }
    | undefined
  /** How many circuits with keys are kept. Default 100,000. */
  readonly maxCircuits?: number | undefined
  /**
   * Receives the lines of the log, such as circuits that open and a Redis that cannot be used. Default: the first warning about Redis goes to
   * `process.emitWarning` (to the console if there is no `process`), and nothing else is logged.
   */
  readonly log?: ((level: string, message: string) => void) | undefined
}

/**
 * Several breakers that share a store.
 *
 * @category models
 */
export interface Manager extends Owner {
  /** Makes a breaker. A name can be registered once. */
  readonly register: <Args extends ReadonlyArray<unknown>, A>(
    name: string,
    fn: (this: CallContext, ...args: Args) => A | PromiseLike<A>,
    options?: Protection<Args, A>
  ) => Breaker<Args, A>
  /** The breaker of a name, if there is one. Say its types, or none are known. */
  // biome-ignore lint/suspicious/noExplicitAny: who asks knows what he registered
  readonly get: <Args extends ReadonlyArray<unknown> = ReadonlyArray<any>, A = any>(
    name: string
  ) => Breaker<Args, A> | undefined
  readonly names: ReadonlyArray<string>
  readonly aggregateMetrics: () => AggregateMetrics
  /** Listens to all circuits. */
  readonly on: (event: EventName, listener: (event: BreakerEvent) => void) => () => void
}

/**
 * @category options
 */
export interface ManagerOptions extends StoreOptions {
  /** What holds for each breaker that says nothing else. */
  readonly defaults?: Omit<Protection<ReadonlyArray<never>, never>, "fallback"> | undefined
}

/**
 * Makes a manager. Throws a `ConfigurationError` that names the option that is wrong.
 *
 * ```ts
 * import { createManager } from "effect-fuse/promise"
 *
 * const manager = createManager({ defaults: { timeout: "2 seconds" } })
 * const users = manager.register("users", async (id: number) => `user ${id}`)
 * const orders = manager.register("orders", async () => ["order 1"], { bulkhead: { concurrency: 10 } })
 *
 * await users.execute(1) // => "user 1"
 * await orders.execute() // => ["order 1"]
 * const { calls, healthy } = manager.aggregateMetrics()
 * calls // => 2
 * healthy // => 2
 * await manager.shutdown()
 * ```
 *
 * @category constructors
 */
export const createManager = (options: ManagerOptions = {}): Manager =>
  // Functions are kept as any; whoever registers one gets a breaker with its types.
  asConfigurationError(
    () => new PlainManager(decodeOptions("createManager", managerFields, options))
  ) as unknown as Manager

/**
 * Which breaker: its name, and where its circuits are.
 *
 * @category options
 */
export interface CreateOptions<Args extends ReadonlyArray<unknown>, A> extends Protection<Args, A>, StoreOptions {
  /** Default the name of the function. */
  readonly name?: string | undefined
}

/**
 * Puts a function under a circuit of its own. In the function `this` is {@link CallContext}: its `signal` is aborted when nobody
 * waits for the call any more (an arrow function has none: give that to `run`).
 *
 * If the function is overloaded, TypeScript infers only its last overload here. {@link wrap} keeps all of them.
 *
 * Throws a `ConfigurationError` that names the option that is wrong.
 *
 * @category constructors
 */
export const createBreaker = <Args extends ReadonlyArray<unknown>, A>(
  fn: (this: CallContext, ...args: Args) => A | PromiseLike<A>,
  options: CreateOptions<Args, A> = {}
): Breaker<Args, A> & Owner => {
  const [manager, breaker] = aloneWith("createBreaker", fn, options)
  // It is of `fn`, whose types its manager has not kept.
  return owned(breaker, manager) as unknown as Breaker<Args, A> & Owner
}

const owned = (breaker: PlainBreaker, { exportAll, importAll, ready, shutdown }: PlainManager) =>
  Object.assign(breaker, { exportAll, importAll, ready, shutdown, [Symbol.asyncDispose]: shutdown })

// biome-ignore lint/suspicious/noExplicitAny: any function of promises, whatever its types
type AsyncFunction = (this: any, ...args: any) => Promise<any>

/**
 * Returns a function whose calls pass a circuit. It keeps the `this`, the generic types, the `name`, the `length` and the own properties
 * of the given function. Its `breaker` is the breaker that {@link createBreaker} would return.
 *
 * @category constructors
 */
export const wrap: {
  <F extends AsyncFunction>(
    fn: F,
    options?: CreateOptions<Parameters<F>, Awaited<ReturnType<F>>>
  ): F & { readonly breaker: Breaker<Parameters<F>, Awaited<ReturnType<F>>> & Owner }
  <This, Args extends ReadonlyArray<unknown>, A>(
    fn: (this: This, ...args: Args) => A,
    options?: CreateOptions<Args, A>
  ): ((this: This, ...args: Args) => Promise<A>) & { readonly breaker: Breaker<Args, A> & Owner }
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
} = (fn: unknown, options: object = {}): any => {
  const [manager, plain] = aloneWith("wrap", fn, options)
  return Object.assign(wrapped(plain), { breaker: owned(plain, manager) })
}

/**
 * How methods are protected: the options of {@link createBreaker}, or of a manager's.
 *
 * @category options
 */
export interface MethodOptions extends Omit<CreateOptions<ReadonlyArray<never>, never>, "fallback"> {
  /** Answers in place of a call that was rejected or has failed. It gets the method's arguments. */
  // biome-ignore lint/suspicious/noExplicitAny: they are not known before there is a method
  readonly fallback?: ((error: unknown, ...args: any) => unknown) | undefined
  /** Registers the circuit with a manager. Default: it has a store of its own. */
  readonly manager?: Manager | undefined
}

/**
 * {@link wrap} as a decorator of methods (those of the standard, without a flag). All instances of the class share the circuit.
 *
 * `class Users { @protect({ timeout: "2 seconds" }) async find(id: number) { ... } }`
 *
 * With a manager the circuit is one of its: `protect({ manager, name: "users.find" })`. Its default name is the method's.
 *
 * @category constructors
 */
export const protect = (options?: MethodOptions) => {
  const { manager, ...own } = asConfigurationError(() => {
    const decoded = decodeOptions("protect", { manager: optional(managerField), ...breakerFields }, options)
    const other = (["redis", "maxCircuits", "log"] as const).find((name) => decoded[name] !== undefined)
    if (decoded.manager === undefined || other === undefined) return decoded
    throw refused("protect", other, "expected nothing, as the manager has the store, got an option")
  })
  return <F extends AsyncFunction>(
    method: F,
    context: { readonly kind: "method"; readonly name: string | symbol }
  ): F => {
    const { name = String(context.name), ...others } = own
    if (manager === undefined) return wrapped(alone("protect", method, { name, ...others })[1]) as unknown as F
    return asConfigurationError(() => wrapped(manager.add("protect", name, method, others))) as unknown as F
  }
}

const managerField = field("a manager of createManager", (input) => (input instanceof PlainManager ? input : undefined))
