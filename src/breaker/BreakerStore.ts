/**
 * The service that holds the circuits. Every protected effect needs it.
 *
 * **When to use**
 *
 * Provide {@link layerMemory} once, at the top of your program. Every store has its own circuits, so a store that is created for each
 * request never sees enough calls to trip.
 *
 * **Gotchas**
 *
 * Within one graph of layers, {@link layerMemory} is a single store. Two effects that are provided with it separately have two stores. To
 * give a part of the program its own circuits, use {@link layerMemoryWith} or `Layer.fresh`.
 */

import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import { decodeOptions } from "../core/fields.ts"
import { eventLoopOf } from "../engine/eventLoop.ts"
import { Events } from "../engine/events.ts"
import { checkHealth } from "../engine/healthCheck.ts"
import { quietly } from "../engine/logEvent.ts"
import { builtAgain, isBuiltAgain } from "../engine/misuse.ts"
import { overviewFrom } from "../engine/overview.ts"
import { Registry } from "../engine/registry.ts"
import type { Runtime } from "../engine/runtime.ts"
import { fromClock, isReal, monotonicMillis } from "../engine/time.ts"
import { exportAll as exportRegistry, importAll as importRegistry } from "../engine/transfer.ts"
import { joinFleet } from "../fleet/join.ts"
import { Policies, type PolicyError } from "../policy/BreakerPolicy.ts"
import { ofMemory, ofShared, storeName } from "../store/options.ts"
import type { Overview } from "../store/overview.ts"
import type { SharedStore, StoreError } from "../store/SharedStore.ts"

/**
 * The circuits of this process. Use `CircuitBreaker` to reach them: the members of the service are not public.
 *
 * @category services
 */
export class BreakerStore extends Context.Service<BreakerStore, Registry>()("effect-fuse/BreakerStore") {}

/**
 * The options of a store.
 *
 * @category models
 */
export interface Options {
  /**
   * The maximum number of circuits with a key. Each takes up to about a kilobyte. Default: 100,000.
   *
   * Above it, the store evicts idle circuits: Closed, without a failure or a slow call in the window, and without a call in flight. If the
   * next 256 candidates include no idle circuit, new keys share one circuit per name, so that a flood of invented keys neither exhausts the
   * memory nor evicts a failing circuit. Circuits without a key do not count, as names come from code and keys from outside.
   */
  readonly maxCircuits?: number | undefined
}

const makeRegistry = (maxCircuits = 100_000) =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const random = yield* Random.Random
    const builtAt = monotonicMillis()
    // Tests build a store for each case, usually with their own clock.
    if (isReal(clock)) {
      yield* Effect.addFinalizer(() =>
        isBuiltAgain(builtAt, monotonicMillis()) ? quietly(Effect.logWarning(builtAgain)) : Effect.void
      )
    }
    const events = new Events()
    yield* Effect.addFinalizer(() => events.end)
    const runtime: Runtime = {
      time: fromClock(clock),
      loop: eventLoopOf(clock),
      random: () => random.nextDoubleUnsafe(),
      events,
      observers: new Set(),
      background: yield* FiberSet.makeRuntime(),
      checkHealth: (circuit) => checkHealth(runtime, circuit),
      logsEvents: true,
      peers: undefined
    }
    return new Registry(runtime, maxCircuits)
  })

/**
 * Circuits in the memory of this process.
 *
 * They use the `Clock` of the context in which the layer is built. If a test provides the layer inside the test, `TestClock` controls their
 * time.
 *
 * @category layers
 */
export const layerMemory: Layer.Layer<BreakerStore> = Layer.effect(BreakerStore, makeRegistry(undefined))

/**
 * {@link layerMemory} with options. Throws a `RangeError` that names the invalid option.
 *
 * @category layers
 */
export const layerMemoryWith = (options: Options): Layer.Layer<BreakerStore> => {
  const { maxCircuits } = decodeOptions("BreakerStore.layerMemoryWith", ofMemory, options)
  return Layer.effect(BreakerStore, makeRegistry(maxCircuits))
}

/**
 * The options of a shared store.
 *
 * @category models
 */
export interface SharedOptions extends Options {
  /**
   * The interval between this process's reads of the changes in the store, each with a heartbeat. A read also repairs missed announcements.
   * Healthy circuits cost the store nothing else. Default: 5 seconds.
   */
  readonly syncInterval?: Duration.Input | undefined
  /**
   * How long the layer waits at startup for the connection to the store. Once connected, it waits up to 200 milliseconds more to learn
   * which circuits are open. If the connection takes longer, the process starts without the store and joins as soon as it is connected.
   * Default: 1 second.
   */
  readonly connectTimeout?: Duration.Input | undefined
  /** The name of this process in events: letters, digits, `.`, `_` and `-`. The layer appends a unique suffix. Default: `process`. */
  readonly process?: string | undefined
  /**
   * Whether each heartbeat carries a digest: the names of this process's circuits and their counts since the previous heartbeat, at most
   * 8 kB. `Operator.overview` and the command line show it. Default: `true`.
   */
  readonly digest?: boolean | undefined
}

/**
 * Circuits shared by all processes with the same {@link SharedStore}.
 *
 * Each process decides calls in memory, and protects itself even if the store is down. A circuit opens for the whole fleet when most of the
 * processes that call it agree. One probe then tests it, and closes it for all. Operator actions in one process apply to all of them.
 *
 * Building the layer waits at most `connectTimeout` for the connection, and then at most 200 milliseconds to learn which circuits are open.
 * Throws a `RangeError` that names the invalid option.
 *
 * @category layers
 */
export const layerShared = (store: SharedStore, options: SharedOptions = {}): Layer.Layer<BreakerStore> => {
  const {
    connectTimeout,
    digest = true,
    maxCircuits,
    process = "process",
    syncInterval
  } = decodeOptions("BreakerStore.layerShared", ofShared, options)
  return Layer.effect(
    BreakerStore,
    Effect.gen(function* () {
      const registry = yield* makeRegistry(maxCircuits)
      const random = yield* Random.Random
      yield* joinFleet(registry, store, {
        voter: `${process}~${Math.floor(random.nextDoubleUnsafe() * 36 ** 8).toString(36)}`,
        policies: yield* Policies,
        random: () => random.nextDoubleUnsafe(),
        syncMillis: syncInterval ?? 5_000,
        connectMillis: connectTimeout ?? 1_000,
        digest
      })
      return registry
    })
  )
}

/**
 * The store that the environment variable `CIRCUIT_BREAKER_STORE` names, or {@link layerMemory} if the variable is not set. Only the
 * chosen store is built. The name `memory` means {@link layerMemory}, unless `stores` defines it.
 *
 * Fails with a `PolicyError` if the variable names an unknown store.
 *
 * ```ts
 * import { BreakerStore } from "effect-fuse"
 * import * as RedisStore from "effect-fuse/RedisStore"
 *
 * const Store = BreakerStore.layerConfig({ redis: RedisStore.layerConfig({ prefix: "shop" }) })
 * ```
 *
 * @category layers
 */
export const layerConfig = <Stores extends Readonly<Record<string, Layer.Layer<BreakerStore, unknown, unknown>>>>(
  stores: Stores
): Layer.Layer<
  BreakerStore,
  Layer.Error<Stores[keyof Stores]> | PolicyError | Config.ConfigError,
  Layer.Services<Stores[keyof Stores]>
> => {
  const all = new Map<string, Layer.Layer<BreakerStore, unknown, unknown>>([
    ["memory", layerMemory],
    ...Object.entries(stores)
  ])
  const chosen = Effect.map(storeName([...all.keys()]), (name = "memory") => all.get(name) ?? layerMemory)
  return Layer.unwrap(chosen) as Layer.Layer<BreakerStore, never, never>
}

/**
 * {@link importAll} could not read its input. The message says why.
 *
 * @category errors
 */
export class ImportError extends Data.TaggedError("ImportError")<{ readonly message: string }> {}

/**
 * The circuits that are worth moving, as JSON: those that are open, have an override, or remember past openings. With a shared store, the
 * export has the fleet's circuits, as far as this process knows them.
 *
 * @category transfer
 */
export const exportAll: Effect.Effect<string, never, BreakerStore> = BreakerStore.useSync(exportRegistry)

/**
 * Imports the JSON of {@link exportAll}, from this store or another. Succeeds with the number of imported circuits.
 *
 * With a shared store, the import applies to all processes. Openings keep their original end. An imported circuit replaces the state that
 * this store has for it. Invalid JSON changes nothing.
 *
 * @category transfer
 */
export const importAll = (json: string): Effect.Effect<number, ImportError, BreakerStore> =>
  Effect.flatMap(Effect.all([BreakerStore, Policies]), ([registry, policies]) => {
    const brought = importRegistry(registry, policies, json)
    return Result.isSuccess(brought)
      ? brought.success
      : Effect.fail(new ImportError({ message: `importAll: ${brought.failure}` }))
  })

/**
 * The number of circuits in a store, and how often it was full.
 *
 * @category models
 */
export interface Stats {
  readonly circuits: number
  /** Idle circuits that were evicted to make room. */
  readonly evicted: number
  /** Calls that used the shared circuit of their name, as their key found no room or was longer than 512 characters. */
  readonly overflowed: number
}

/**
 * The number of circuits in the store, and how often it was full.
 *
 * @category getters
 */
export const stats: Effect.Effect<Stats, never, BreakerStore> = BreakerStore.useSync((registry) => ({
  circuits: registry.count(),
  evicted: registry.evicted,
  overflowed: registry.overflowed
}))

/**
 * Makes an effect that reads an overview of the circuits, like `Operator.overview`. A page or a log can run the effect again and again.
 * With a shared store, the effect reads the overview of the fleet, and fails if the store fails.
 *
 * Without a shared store, the effect reads the circuits of this process, and never fails. The first run counts the traffic since the effect
 * was made. Each further run counts the traffic since the previous run. Each circuit has an empty `process`.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { BreakerStore, CircuitBreaker } from "effect-fuse"
 *
 * const names = Effect.gen(function* () {
 *   const overview = yield* BreakerStore.makeOverview
 *   yield* CircuitBreaker.protect(Effect.void, "api")
 *   return (yield* overview).names.map(({ name, traffic }) => [name, traffic?.calls])
 * })
 * await Effect.runPromise(Effect.provide(names, BreakerStore.layerMemory)) // => [["api", 1]]
 * ```
 *
 * @category getters
 */
export const makeOverview: Effect.Effect<
  Effect.Effect<Overview, StoreError>,
  never,
  BreakerStore
> = BreakerStore.useSync(overviewFrom)
