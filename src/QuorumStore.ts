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
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Quorum } from "./internal/quorum/quorum.ts"
import { Region } from "./internal/quorum/region.ts"
import type { SharedStore } from "./SharedStore.ts"

/** What one store announces. One that cannot be heard does not silence the others: it is listened to again later. */
const listening = (store: SharedStore): SharedStore["changes"] =>
  Stream.repeat(
    Stream.catchCause(store.changes, () => Stream.empty),
    Schedule.spaced("1 second")
  )

/**
 * Combines stores. Give it three or five, in the same order in all processes or in any.
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import { BreakerStore, QuorumStore, SharedStore } from "effect-fuse"
 *
 * const regions = Effect.all([SharedStore.makeMemory, SharedStore.makeMemory, SharedStore.makeMemory])
 * const Store = Layer.unwrap(Effect.map(Effect.flatMap(regions, QuorumStore.make), (store) => BreakerStore.layerShared(store)))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (stores: ReadonlyArray<SharedStore>): Effect.Effect<SharedStore> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const random = yield* Random.Random
    const regions = stores.map((store) => new Region(store, () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6))
    const quorum = new Quorum(
      regions,
      () => clock.currentTimeMillisUnsafe(),
      () => random.nextDoubleUnsafe()
    )
    const connected = stores.map((store) => store.connected).filter((one) => one !== undefined)
    const longest = stores.map((store) => store.longestCircuit).filter((length) => length !== undefined)
    return {
      longestCircuit: longest.length === 0 ? undefined : Math.min(...longest),
      connected: connected.length < stores.length || stores.length === 0 ? undefined : Effect.raceAllFirst(connected),
      exchange: (exchange) => quorum.exchange(exchange),
      page: (since, limit) => quorum.page(since, limit),
      load: (circuits) => quorum.load(circuits),
      changes: Stream.suspend(() => {
        const hear = quorum.listener()
        return Stream.mergeAll(
          stores.map((store, place) => Stream.flatMap(listening(store), (change) => hear(place, change))),
          { concurrency: "unbounded" }
        )
      })
    }
  })
