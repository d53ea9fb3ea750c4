/**
 * Where circuits live: the service that every protected effect needs.
 *
 * **When to use**
 *
 * Provide {@link layerMemory} once, at the top of your program: each store has circuits of its own, and one that is made for
 * each request never sees enough to trip. Where circuits must not meet, give each part its own store with
 * {@link layerMemoryWith} or `Layer.fresh`; {@link layerMemory} itself is one store wherever it stands in one graph of layers, and
 * two where two effects are given it one after the other.
 *
 * @since 0.1.0
 */

import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Take from "effect/Take"
import { decodeOptions } from "../core/fields.ts"
import { eventLoopOf } from "../engine/eventLoop.ts"
import { checkHealth } from "../engine/healthCheck.ts"
import { quietly } from "../engine/logEvent.ts"
import { builtAgain, isBuiltAgain } from "../engine/misuse.ts"
import { Registry } from "../engine/registry.ts"
import type { Runtime } from "../engine/runtime.ts"
import { fromClock, isReal, monotonicMillis } from "../engine/time.ts"
import { exportAll as exportRegistry, importAll as importRegistry } from "../engine/transfer.ts"
import { joinFleet } from "../fleet/join.ts"
import { Policies, type PolicyError } from "../policy/BreakerPolicy.ts"
import type { BreakerEvent } from "../shapes/BreakerEvent.ts"
import { ofMemory, ofShared, storeName } from "../store/options.ts"
import type { SharedStore } from "../store/SharedStore.ts"

/**
 * The circuits of this process. What it holds is reached through `CircuitBreaker`; its own members are not public.
 *
 * @category services
 * @since 0.1.0
 */
export class BreakerStore extends Context.Service<BreakerStore, Registry>()("effect-fuse/BreakerStore") {}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * How many circuits with a key are kept; each takes up to about a kilobyte. When there are more, idle ones are forgotten:
   * Closed, with no failure and no slow call that still counts, and no call in flight. Keys share one circuit for each
   * name while none of the next 256 is idle, so that no flood of made-up keys can exhaust the memory or erase what is
   * known of a failing one. Default 100,000. Names are not counted: they are written in code, and keys come from outside.
   */
  readonly maxCircuits?: number | undefined
}

/** A subscriber that falls this far behind loses the oldest events. */
const eventCapacity = 4_096

const makeRegistry = (maxCircuits = 100_000) =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const builtAt = monotonicMillis()
    // A test has a store for each case, and usually a clock of its own.
    if (isReal(clock)) {
      yield* Effect.addFinalizer(() =>
        isBuiltAgain(builtAt, monotonicMillis()) ? quietly(Effect.logWarning(builtAgain)) : Effect.void
      )
    }
    const runtime: Runtime = {
      time: fromClock(clock),
      loop: eventLoopOf(clock),
      // A subscriber that is behind receives the events before the end.
      events: yield* Effect.acquireRelease(PubSub.sliding<Take.Take<BreakerEvent>>(eventCapacity), (events) =>
        PubSub.end(events, Exit.void)
      ),
      observers: new Set(),
      background: yield* FiberSet.makeRuntime(),
      checkHealth: (circuit) => checkHealth(runtime, circuit),
      peers: undefined
    }
    return new Registry(runtime, maxCircuits)
  })

/**
 * Circuits in the memory of this process.
 *
 * They read the `Clock` that is in force where the layer is built: provide it inside a test, and `TestClock` moves their
 * time.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<BreakerStore> = Layer.effect(BreakerStore, makeRegistry(undefined))

/**
 * {@link layerMemory} with options. Throws a `RangeError` that names the option that is wrong.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemoryWith = (options: Options): Layer.Layer<BreakerStore> => {
  const { maxCircuits } = decodeOptions("BreakerStore.layerMemoryWith", ofMemory, options)
  return Layer.effect(BreakerStore, makeRegistry(maxCircuits))
}

/**
 * @category models
 * @since 0.1.0
 */
export interface SharedOptions extends Options {
  /**
   * How often this process reads what has changed in the store, which repairs what was announced and not heard, and tells the
   * store that it lives. Default: 5 seconds. Healthy circuits cost the store nothing else.
   */
  readonly syncInterval?: Duration.Input | undefined
  /**
   * How long a process that starts waits for its store to be connected. After that it waits 200 milliseconds for the circuits that
   * are open. Default: 1 second. A store that is not there in time is used as soon as it is.
   */
  readonly connectTimeout?: Duration.Input | undefined
  /** How this process is called in events: letters, digits, `.`, `_`, `-`. Something unique is added. Default `process`. */
  readonly process?: string | undefined
}

/**
 * Circuits that all processes with the same {@link SharedStore} have together. Each decides alone and in memory, and is
 * protected by itself whatever becomes of the store; together they open a circuit when most of those that call it agree,
 * send one probe and close it for all. What people force in one holds in all.
 *
 * Building it waits until it is known which circuits are open: for `connectTimeout` at most until the store is connected, and then
 * for 200 milliseconds at most. Throws a `RangeError` that names the option that is wrong.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerShared = (store: SharedStore, options: SharedOptions = {}): Layer.Layer<BreakerStore> => {
  const {
    connectTimeout,
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
        connectMillis: connectTimeout ?? 1_000
      })
      return registry
    })
  )
}

/**
 * One of several stores, which the variable `CIRCUIT_BREAKER_STORE` names. If the variable is not set, circuits are in the memory of
 * this process. Only the store that is chosen is built. `memory` is {@link layerMemory}, unless `stores` has another.
 *
 * Fails with a `PolicyError` if the variable names none of them.
 *
 * ```ts
 * import { BreakerStore } from "effect-fuse"
 * import * as RedisStore from "effect-fuse/RedisStore"
 *
 * const Store = BreakerStore.layerConfig({ redis: RedisStore.layerConfig({ prefix: "shop" }) })
 * ```
 *
 * @category layers
 * @since 0.1.0
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
  // The type of the chosen layer is not known here.
  return Layer.unwrap(chosen) as Layer.Layer<BreakerStore, never, never>
}

/**
 * A text that cannot be imported, and why.
 *
 * @category errors
 * @since 0.1.0
 */
export class ImportError extends Data.TaggedError("ImportError")<{ readonly message: string }> {}

/**
 * All circuits of which something is to be said, as JSON: what is open, forced, or still remembers its openings. Of a fleet
 * those that it has together, as this process knows them.
 *
 * @category transfer
 * @since 0.1.0
 */
export const exportAll: Effect.Effect<string, never, BreakerStore> = BreakerStore.useSync(exportRegistry)

/**
 * Takes on what {@link exportAll} gave, from this store or another, and answers how many circuits that were. Where the store
 * is shared it holds in all processes. Time went on meanwhile: an opening keeps its end. A circuit that already is
 * something else becomes what the text says. A text that cannot be read changes nothing.
 *
 * @category transfer
 * @since 0.1.0
 */
export const importAll = (json: string): Effect.Effect<number, ImportError, BreakerStore> =>
  Effect.flatMap(Effect.all([BreakerStore, Policies]), ([registry, policies]) => {
    const brought = importRegistry(registry, policies, json)
    return Result.isSuccess(brought)
      ? brought.success
      : Effect.fail(new ImportError({ message: `importAll: ${brought.failure}` }))
  })

/**
 * How full a store is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stats {
  /** Circuits in memory. */
  readonly circuits: number
  /** Idle circuits forgotten to make room. */
  readonly evicted: number
  /** Calls whose key found no room, or was longer than 512 characters, and went to a shared circuit. */
  readonly overflowed: number
}

/**
 * @category getters
 * @since 0.1.0
 */
export const stats: Effect.Effect<Stats, never, BreakerStore> = BreakerStore.useSync((registry) => ({
  circuits: registry.count(),
  evicted: registry.evicted,
  overflowed: registry.overflowed
}))
