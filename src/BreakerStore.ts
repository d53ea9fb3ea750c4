/**
 * Where circuits live: the service that every protected effect needs.
 *
 * **When to use**
 *
 * Provide {@link layerMemory} once, at the top of your program: each store has circuits of its own, and one that is made for
 * each request never sees enough to trip. Where circuits must not meet, give each part its own store with
 * {@link layerMemoryWith} or `Layer.fresh`; {@link layerMemory} itself, provided twice within one program, is one store.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { BreakerEvent } from "./BreakerEvent.ts"
import { PolicyError } from "./BreakerPolicy.ts"
import { Registry } from "./internal/engine/registry.ts"
import type { Runtime } from "./internal/engine/runtime.ts"
import { fromClock } from "./internal/engine/time.ts"
import { count, decodeFields } from "./internal/policy/schema.ts"

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

const optionFields = { maxCircuits: Schema.optional(count) }

const make = (options: Options) =>
  Effect.gen(function* () {
    const decoded = decodeFields(optionFields, options, "")
    if (Result.isFailure(decoded)) return yield* Effect.fail(new PolicyError({ problems: decoded.failure }))
    const runtime: Runtime = {
      time: fromClock(yield* Clock.Clock),
      // Shut down with the store, so that who listens hears the end.
      events: yield* Effect.acquireRelease(PubSub.sliding<BreakerEvent>(eventCapacity), PubSub.shutdown),
      background: yield* FiberSet.makeRuntime()
    }
    return new Registry(runtime, decoded.success.maxCircuits ?? 100_000)
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
export const layerMemory: Layer.Layer<BreakerStore> = Layer.effect(BreakerStore, Effect.orDie(make({})))

/**
 * {@link layerMemory} with options. Fails with a `PolicyError` that names the option that is wrong.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemoryWith = (options: Options): Layer.Layer<BreakerStore, PolicyError> =>
  Layer.effect(BreakerStore, make(options))

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
