/**
 * A shared store in memory, for tests and for several breaker stores in one process.
 *
 * **When to use**
 *
 * To test a fleet without a server. For a program that is a single process, use `BreakerStore.layerMemory`, which has no shared
 * store.
 */
import * as Effect from "effect/Effect"
import { emptyState } from "./memory/records.ts"
import { memoryStore } from "./memory/store.ts"
import type { SharedStore } from "./SharedStore.ts"

/**
 * A memory store, with controls that simulate faults.
 *
 * @category models
 */
export interface Controlled {
  readonly store: SharedStore
  /** Empties the store, like `FLUSHALL` on Redis. */
  readonly wipe: Effect.Effect<void>
  /**
   * Saves the present state. The effect that it returns restores that state, so that all later writes are lost, as after a failover
   * to a replica that was behind.
   */
  readonly save: Effect.Effect<Effect.Effect<void>>
}

/**
 * Like {@link make}, with controls that simulate faults.
 *
 * @category constructors
 */
export const makeControlled: Effect.Effect<Controlled> = Effect.map(memoryStore, ({ memory, store }) => ({
  store,
  wipe: Effect.sync(() => {
    memory.state = emptyState()
  }),
  save: Effect.sync(() => {
    const saved = structuredClone(memory.state)
    return Effect.sync(() => {
      memory.state = structuredClone(saved)
    })
  })
}))

/**
 * A shared store in memory. It forgets everything when the process ends.
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { BreakerStore, MemoryStore } from "effect-fuse"
 *
 * const Store = Layer.unwrap(Effect.map(MemoryStore.make, (store) => BreakerStore.layerShared(store, { process: "a" })))
 * ```
 *
 * @category constructors
 */
export const make: Effect.Effect<SharedStore> = Effect.map(memoryStore, ({ store }) => store)
