/**
 * Circuit breakers for code without Effect: they wrap functions that return promises.
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
 * Use {@link createBreaker} for one function, and {@link createManager} for several functions that share a store and metrics.
 * Circuits are kept in the memory of the process, or shared through Redis. In code with Effect, use `CircuitBreaker` and
 * `Resilience`.
 *
 * Breakers do not keep the process alive. It ends when no call and no other work is left, also without a shutdown.
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
  BreakerError,
  BulkheadFullError,
  CircuitOpenError,
  ConfigurationError,
  ShutdownError,
  StoreUnavailableError,
  TimeoutError
} from "./errors.ts"
export {
  type TripRate,
  trip
} from "./trips.ts"
export type {
  AggregateMetrics,
  BreakerEvent,
  ByHand,
  CallContext,
  CallOptions,
  Counts,
  DistributedState,
  EventName,
  KeyPolicy,
  Metrics,
  Override,
  Policy,
  Protection,
  Released,
  RetryOptions,
  Scope,
  Seen,
  Signal,
  State,
  Time,
  Trip
} from "./types.ts"

/**
 * A function that is protected by a circuit, and the operator actions on the circuit.
 *
 * @category models
 */
export interface Breaker<Args extends ReadonlyArray<unknown>, A> {
  readonly name: string
  /**
   * Calls the function. Rejects with the error of the function or with a {@link BreakerError}. With a `fallback`, returns the result
   * of the fallback instead.
   */
  readonly execute: (...args: Args) => Promise<A>
  /** Selects the circuit of a key, or adds a signal: if it is aborted, the call rejects with its reason. */
  readonly with: (options: CallOptions) => { readonly execute: (...args: Args) => Promise<A> }
  /** Makes any other call through the same circuit. The call has no fallback. */
  readonly run: <B>(call: (context: CallContext) => B | PromiseLike<B>, options?: CallOptions) => Promise<B>
  /** The current state of the circuit without a key. A circuit whose cooldown is over stays `Open` until a call probes it. */
  readonly state: State
  /** The current metrics of the circuit without a key. */
  readonly metrics: Metrics
  /** The current metrics of the circuit of a key. */
  readonly inspect: (key?: string) => Metrics
  /**
   * Reads the fleet's state of the circuit from the store. `state` and `metrics` have the state in this process, which can differ.
   * Returns `undefined` if processes do not share the circuit: without `redis`, or with `fleet: false`.
   *
   * Rejects with a `StoreUnavailableError` if the store does not answer within a second.
   */
  readonly distributedState: (key?: string) => Promise<DistributedState | undefined>
  /** Listens to the circuits of this breaker. Returns a function that removes the listener. */
  readonly on: (event: EventName, listener: (event: BreakerEvent) => void) => () => void
  /** Closes the circuit, empties its windows, and forgets its openings and overrides. Its totals do not change. */
  readonly reset: (options?: ByHand) => Promise<void>
  /** Opens the circuit as a trip would. */
  readonly open: (options?: ByHand & { readonly for?: Time | undefined }) => Promise<void>
  /** Closes the circuit. If an override decides its state, the circuit is Closed after the override. */
  readonly close: (options?: ByHand) => Promise<void>
  /**
   * Rejects every call until `release`, or for the duration `for`. Without a key, this applies to all keys. A later override never
   * shortens an earlier one.
   */
  readonly isolate: (options?: ByHand & { readonly for?: Time | undefined }) => Promise<void>
  /** Lets every call pass uncounted until `release`, or for the duration `for`. */
  readonly disable: (options?: ByHand & { readonly for?: Time | undefined }) => Promise<void>
  /** Ends all overrides of the circuit, also those of other operators, and returns them. */
  readonly release: (options?: ByHand) => Promise<Released>
}

/**
 * An object that owns a store, and can shut it down.
 *
 * @category models
 */
export interface Owner extends AsyncDisposable {
  /**
   * Waits until the store can be used. A store in memory can be used at once. With Redis, this takes up to 1.2 seconds, also if Redis
   * does not answer.
   */
  readonly ready: () => Promise<void>
  /**
   * The state of all circuits as JSON: those that are open, isolated or disabled, or that still remember their openings. Policies and
   * counts are not part of it. Use it to keep circuits over a restart, or to move them to another store.
   */
  readonly exportAll: () => Promise<string>
  /**
   * Imports the circuits of {@link Owner.exportAll}, and returns their number. The end of an opening does not change. With `redis`,
   * all processes import the circuits. If the text is invalid, nothing changes, and the promise rejects with a `ConfigurationError`.
   */
  readonly importAll: (json: string) => Promise<number>
  /** Closes connections and stops health checks. Running calls continue; later calls reject with a `ShutdownError`. */
  readonly shutdown: () => Promise<void>
}

/**
 * Where circuits are kept.
 *
 * @category options
 */
export interface StoreOptions {
  /**
   * The URL of a Redis through which processes share their circuits, or options. It needs the package `redis`. If Redis fails, this
   * process protects calls by itself. Default: the circuits of this process only.
   *
   * The client is replaced if it stops working. `url` can be a function, which is called for each new client, for example to return a
   * rotated password.
   */
  readonly redis?:
    | string
    | {
        readonly url: string | (() => string | Promise<string>)
        readonly prefix?: string | undefined
        readonly process?: string | undefined
      }
    | undefined
  /** The maximum number of circuits with keys. Default: 100,000. */
  readonly maxCircuits?: number | undefined
  /**
   * Receives the log, such as circuits that open or a Redis that cannot be used. Default: the first warning about Redis goes to
   * `process.emitWarning`, or to the console if there is no `process`. Nothing else is logged.
   */
  readonly log?: ((level: string, message: string) => void) | undefined
}

/**
 * Several breakers that share a store.
 *
 * @category models
 */
export interface Manager extends Owner {
  /** Makes a breaker. Each name can be registered only once. */
  readonly register: <Args extends ReadonlyArray<unknown>, A>(
    name: string,
    fn: (this: CallContext, ...args: Args) => A | PromiseLike<A>,
    options?: Protection<Args, A>
  ) => Breaker<Args, A>
  /** The breaker of a name, or `undefined`. Its types are not known; pass them as type arguments. */
  // biome-ignore lint/suspicious/noExplicitAny: the caller knows the types of the registered function
  readonly get: <Args extends ReadonlyArray<unknown> = ReadonlyArray<any>, A = any>(
    name: string
  ) => Breaker<Args, A> | undefined
  /** The names of all breakers, in the order of their registration. */
  readonly names: ReadonlyArray<string>
  readonly aggregateMetrics: () => AggregateMetrics
  /** Listens to all circuits. Returns a function that removes the listener. */
  readonly on: (event: EventName, listener: (event: BreakerEvent) => void) => () => void
}

/**
 * The store of a manager, and the defaults of its breakers.
 *
 * @category options
 */
export interface ManagerOptions extends StoreOptions {
  /** The options of each breaker, unless the breaker sets its own. */
  readonly defaults?: Omit<Protection<ReadonlyArray<never>, never>, "fallback"> | undefined
}

/**
 * Makes a manager. Throws a `ConfigurationError` that names the invalid option.
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
  // `PlainManager` does not keep the types of functions: its methods return a `PlainBreaker`.
  asConfigurationError(() => new PlainManager(decodeOptions("createManager", managerFields, options))) as Manager

/**
 * Configures how a breaker protects a function. Also sets the name and the store of the circuits.
 *
 * @category options
 */
export interface CreateOptions<Args extends ReadonlyArray<unknown>, A> extends Protection<Args, A>, StoreOptions {
  /** The name of the circuit. Default: the name of the function. */
  readonly name?: string | undefined
}

/**
 * Protects a function with a circuit of its own.
 *
 * In the function, `this` is a {@link CallContext}, whose `signal` is aborted when the caller no longer waits for the call. An arrow
 * function has no such `this`; pass it to `run`, which passes the context as argument.
 *
 * If the function is overloaded, TypeScript infers only its last overload here. {@link wrap} keeps all of them.
 *
 * Throws a `ConfigurationError` that names the invalid option.
 *
 * @category constructors
 */
export const createBreaker = <Args extends ReadonlyArray<unknown>, A>(
  fn: (this: CallContext, ...args: Args) => A | PromiseLike<A>,
  options: CreateOptions<Args, A> = {}
): Breaker<Args, A> & Owner => {
  const [manager, breaker] = aloneWith("createBreaker", fn, options)
  // `PlainBreaker` does not keep the types of `fn`.
  return owned(breaker, manager) as Breaker<Args, A> & Owner
}

const owned = (breaker: PlainBreaker, { exportAll, importAll, ready, shutdown }: PlainManager) =>
  Object.assign(breaker, { exportAll, importAll, ready, shutdown, [Symbol.asyncDispose]: shutdown })

// biome-ignore lint/suspicious/noExplicitAny: any function that returns a promise
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
 * Configures the protection of a method, as {@link CreateOptions} does for a function, and the manager.
 *
 * @category options
 */
export interface MethodOptions extends Omit<CreateOptions<ReadonlyArray<never>, never>, "fallback"> {
  /** Returns a result in place of a call that was rejected or has failed. It receives the error and the arguments of the method. */
  // biome-ignore lint/suspicious/noExplicitAny: the arguments are known only when a method is decorated
  readonly fallback?: ((error: unknown, ...args: any) => unknown) | undefined
  /** Registers the circuit with a manager. Default: the circuit has a store of its own. */
  readonly manager?: Manager | undefined
}

/**
 * Protects a method, as a standard decorator (without a compiler flag). All instances of the class share the circuit.
 *
 * `class Users { @protect({ timeout: "2 seconds" }) async find(id: number) { ... } }`
 *
 * With a manager, the circuit belongs to the manager: `protect({ manager, name: "users.find" })`. Its default name is the name of the
 * method.
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
    const breaker =
      manager === undefined
        ? alone("protect", method, { name, ...others })[1]
        : asConfigurationError(() => manager.add("protect", name, method, others))
    // `PlainBreaker` does not keep the type of `method`.
    return wrapped(breaker) as F
  }
}

const managerField = field("a manager of createManager", (input) => (input instanceof PlainManager ? input : undefined))
