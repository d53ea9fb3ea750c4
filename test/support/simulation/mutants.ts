/** Stores, or what comes to the same, that are wrong on purpose: a promise that they cannot break says nothing. */
import { Effect } from "effect"
import type { SharedStore } from "effect-fuse"
import { Broken, check } from "./properties.ts"
import type { Scenario } from "./scenario.ts"

type Store = SharedStore.SharedStore

/** It counts nobody but who asks. */
export const alone = (store: Store): Store => ({
  ...store,
  cast: (cast) =>
    Effect.map(store.cast(cast), (answer) => ({
      ...answer,
      live: 1,
      tally: answer.tally && { ...answer.tally, voices: 1, sums: cast.ballot ?? [] }
    })),
  list: (voice, ttl) => Effect.map(store.list(voice, ttl), (answer) => ({ ...answer, live: 1 }))
})

/** What each of them does, and the promise that it breaks. */
export const mutants: ReadonlyArray<readonly [name: string, promise: string, mutate: (store: Store) => Store]> = [
  [
    "writes a trip whatever has happened meanwhile",
    "one transition per era",
    (store) => ({
      ...store,
      swap: (swap) =>
        swap.body.includes('"why":"Tripped"')
          ? Effect.flatMap(store.load(swap.circuit), (found) => store.swap({ ...swap, expectedEra: found?.era ?? 0 }))
          : store.swap(swap)
    })
  ],
  [
    "makes a record younger when it denies a request",
    "a denied request extends nothing",
    (store) => {
      const refreshed = new Map<number, number>()
      const younger = (found: SharedStore.Stored | undefined): SharedStore.Stored | undefined =>
        found === undefined ? undefined : { ...found, age: Math.max(0, found.age - (refreshed.get(found.era) ?? 0)) }
      return {
        ...store,
        load: (circuit) => Effect.map(store.load(circuit), younger),
        swap: (swap) =>
          Effect.map(store.swap(swap), (answer) => {
            const { record } = answer
            if (!answer.swapped && record !== undefined) refreshed.set(record.era, record.age)
            return { ...answer, record: younger(record) }
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
