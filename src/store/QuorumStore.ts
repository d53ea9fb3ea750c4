/**
 * Several shared stores as one: what most of those that can be reached say, holds.
 *
 * **When to use**
 *
 * Where a fleet spans regions, each with a Redis or a database of its own: none of them is then missed when it fails, and a
 * region that was cut off takes on what the others decided as soon as it is back.
 *
 * **What it is not**
 *
 * A consensus. Two halves that cannot see each other decide apart, as the store of each is all that they reach; when they
 * meet again, the later word holds. Every operation asks all stores: a probe waits for the slowest that still answers.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { quorumStore } from "./quorum/store.ts"
import type { SharedStore } from "./SharedStore.ts"

/**
 * Combines stores. Give it three or five, in the same order in all processes or in any.
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { BreakerStore, MemoryStore, SharedStore } from "effect-fuse"
 * import * as QuorumStore from "effect-fuse/QuorumStore"
 *
 * const regions = Effect.all([MemoryStore.make, MemoryStore.make, MemoryStore.make])
 * const Store = Layer.unwrap(Effect.map(Effect.flatMap(regions, QuorumStore.make), (store) => BreakerStore.layerShared(store)))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (stores: ReadonlyArray<SharedStore>): Effect.Effect<SharedStore> =>
  Effect.map(Effect.all([Clock.Clock, Random.Random]), ([clock, random]) =>
    quorumStore(stores, clock, () => random.nextDoubleUnsafe())
  )
