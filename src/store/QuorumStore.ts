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
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Quorum } from "./quorum/quorum.ts"
import { deadlineMillis, Region } from "./quorum/region.ts"
import type { SharedStore } from "./SharedStore.ts"

/** What one store announces. One that cannot be heard does not silence the others: it is listened to again later. */
const listening = (store: SharedStore): SharedStore["changes"] =>
  Stream.repeat(
    Stream.catchCause(store.changes, () => Stream.empty),
    Schedule.spaced("1 second")
  )

/** Completes when most of the stores are connected; `undefined` if most are connected from the start. */
const mostConnected = (stores: ReadonlyArray<SharedStore>): Effect.Effect<void> | undefined => {
  const later = stores.map((store) => store.connected).filter((one) => one !== undefined)
  const missing = Math.floor(stores.length / 2) + 1 - (stores.length - later.length)
  if (missing <= 0 || later.length === 0) return undefined
  return Effect.suspend(() => {
    let left = missing
    const enough = Deferred.makeUnsafe<void>()
    const count = Effect.sync(() => {
      if (--left === 0) Deferred.doneUnsafe(enough, Exit.void)
    })
    const all = Effect.forEach(later, (connected) => Effect.andThen(connected, count), { concurrency: "unbounded" })
    return Effect.raceFirst(Deferred.await(enough), Effect.andThen(all, Effect.never))
  })
}

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
    const longest = stores.map((store) => store.longestCircuit).filter((length) => length !== undefined)
    return {
      longestCircuit: longest.length === 0 ? undefined : Math.min(...longest),
      deadline: 2 * Math.max(deadlineMillis, ...stores.map(({ deadline = 0 }) => deadline)),
      connected: mostConnected(stores),
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
