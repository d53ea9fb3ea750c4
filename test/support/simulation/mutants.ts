/** Stores, or what comes to the same, that are wrong on purpose: a promise that they cannot break says nothing. */
import { Effect } from "effect"
import type { SharedStore } from "effect-fuse"
import { Broken, check } from "./properties.ts"
import type { Scenario } from "./scenario.ts"

type Store = SharedStore.SharedStore

type Exchanged = (exchange: SharedStore.Exchange, store: Store) => ReturnType<Store["exchange"]>

const exchanging =
  (exchange: Exchanged) =>
  (store: Store): Store => ({ ...store, exchange: (one) => exchange(one, store) })

/** It counts no process but the one that asks. */
export const alone = exchanging((exchange, store) =>
  Effect.map(store.exchange(exchange), (answer) => {
    if (answer._tag === "Late") return answer
    const casts = answer.casts.map(({ record, tally }, place) => ({
      record,
      tally: tally && { ...tally, voters: 1, abstained: 0, sums: exchange.casts[place]?.ballot ?? [] }
    }))
    return { ...answer, casts, live: 1, liveFor: 1e9 }
  })
)

/** What each of them does, and the promise that it breaks. */
export const mutants: ReadonlyArray<readonly [name: string, promise: string, mutate: (store: Store) => Store]> = [
  [
    "writes a trip whatever has happened meanwhile",
    "one transition per epoch",
    exchanging((exchange, store) =>
      Effect.flatMap(store.load(exchange.swaps.map(({ circuit }) => circuit)), ({ records }) => {
        const swaps = exchange.swaps.map((swap, place) =>
          swap.body.includes('"why":"Tripped"') ? { ...swap, expectedEpoch: records[place]?.epoch ?? 0 } : swap
        )
        return store.exchange({ ...exchange, swaps })
      })
    )
  ],
  [
    "makes a record younger when it denies a request",
    "a denied request extends nothing",
    (store) => {
      const refreshed = new Map<number, number>()
      const younger = (found: SharedStore.Stored | undefined): SharedStore.Stored | undefined =>
        found === undefined ? undefined : { ...found, age: Math.max(0, found.age - (refreshed.get(found.epoch) ?? 0)) }
      return {
        ...store,
        load: (circuits) =>
          Effect.map(store.load(circuits), (answer) => ({ ...answer, records: answer.records.map(younger) })),
        exchange: (exchange) =>
          Effect.map(store.exchange(exchange), (answer) => {
            if (answer._tag === "Late") return answer
            for (const { record, swapped } of answer.swaps) {
              if (!swapped && record !== undefined) refreshed.set(record.epoch, record.age)
            }
            return {
              ...answer,
              swaps: answer.swaps.map((swap) => ({ ...swap, record: younger(swap.record) }))
            }
          })
      }
    }
  ]
]

/** Whether a promise, and no other before it, is broken in one of so many runs. */
export const breaks = (promise: string, runs: number, play: (seed: number) => Scenario): boolean => {
  for (let seed = 1; seed <= runs; seed++) {
    const scenario = play(seed)
    try {
      check(seed, scenario)
    } catch (error) {
      if (error instanceof Broken && error.promise === promise) return true
      if (!(error instanceof Broken)) throw error
    } finally {
      scenario.simulation.close()
    }
  }
  return false
}
