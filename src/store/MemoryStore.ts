/**
 * A shared store in memory: for tests, and for several breaker stores of one process.
 *
 * **When to use**
 *
 * To test what a fleet does without a server. For circuits that only one process has, use `BreakerStore.layerMemory`, which has no
 * shared store at all.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { emptyState } from "./memory/records.ts"
import { memoryStore } from "./memory/store.ts"
import type { SharedStore } from "./SharedStore.ts"

/**
 * A memory store, and the faults of a real one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Controlled {
  readonly store: SharedStore
  /** The store forgets everything, as a Redis that is flushed. */
  readonly wipe: Effect.Effect<void>
  /**
   * Remembers what the store has now. The effect that it returns restores that state: the store has then lost all later writes, as
   * after a failover to a replica that was behind.
   */
  readonly save: Effect.Effect<Effect.Effect<void>>
}

/**
 * {@link make}, with the faults of a real store.
 *
 * @category constructors
 * @since 0.1.0
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
 * @since 0.1.0
 */
export const make: Effect.Effect<SharedStore> = Effect.map(memoryStore, ({ store }) => store)
