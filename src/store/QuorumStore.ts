/**
 * Combines several shared stores into one, in which the majority of the reachable stores decides.
 *
 * **When to use**
 *
 * For a fleet that spans regions, each with its own Redis or database. The fleet continues if one of the stores fails, and a region
 * that was cut off adopts the decisions of the others when it is back.
 *
 * **What it is not**
 *
 * A consensus. While two parts of the fleet cannot reach each other's stores, each part decides alone; afterwards the later decision
 * wins. Every operation asks all stores, so a probe waits for the slowest store that still answers.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { quorumStore } from "./quorum/store.ts"
import type { SharedStore } from "./SharedStore.ts"

/**
 * Combines stores: best three or five, in any order.
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
 */
export const make = (stores: ReadonlyArray<SharedStore>): Effect.Effect<SharedStore> =>
  Effect.map(Effect.all([Clock.Clock, Random.Random]), ([clock, random]) =>
    quorumStore(stores, clock, () => random.nextDoubleUnsafe())
  )
