import type * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { SharedStore } from "../SharedStore.ts"
import { listener } from "./announcements.ts"
import { QuorumExchanges } from "./exchange.ts"
import { QuorumReads } from "./reads.ts"
import { deadlineMillis, Region } from "./region.ts"
import { Regions } from "./regions.ts"

/** The announcements of one store. If they fail, they are tried again later, and the other stores are still heard. */
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

export const quorumStore = (
  stores: ReadonlyArray<SharedStore>,
  clock: Clock.Clock,
  random: () => number
): SharedStore => {
  const monotonic = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  const regions = new Regions(
    stores.map((store) => new Region(store, monotonic)),
    () => clock.currentTimeMillisUnsafe()
  )
  const reads = new QuorumReads(regions)
  const exchanges = new QuorumExchanges(regions, reads, random)
  const longest = stores.map((store) => store.longestCircuit).filter((length) => length !== undefined)
  return {
    longestCircuit: longest.length === 0 ? undefined : Math.min(...longest),
    deadline: 2 * Math.max(deadlineMillis, ...stores.map(({ deadline = 0 }) => deadline)),
    connected: mostConnected(stores),
    exchange: (exchange) => exchanges.exchange(exchange),
    page: (since, limit) => reads.page(since, limit),
    load: (circuits) => reads.load(circuits),
    digests: (after) => reads.digests(after),
    changes: Stream.suspend(() => {
      const hear = listener(regions)
      return Stream.mergeAll(
        stores.map((store, index) => Stream.flatMap(listening(store), (change) => hear(index, change))),
        { concurrency: "unbounded" }
      )
    })
  }
}
