/**
 * Everything in the simulation that depends on the operations of `SharedStore`: what a process sends, how the store executes it,
 * how long that takes, and which records it writes. No other file of the simulation names an operation, except the broken stores in
 * `mutants.ts`.
 */
import { Effect, type Stream } from "effect"
import { SharedStore } from "effect-fuse"

export const operations = ["cast", "swap", "load", "list"] as const

export type Operation = (typeof operations)[number]

/** A counter for each operation. */
export const counters = (): Record<Operation, number> => ({ cast: 0, swap: 0, load: 0, list: 0 })

/** A command as a process sends it. */
export type Request =
  | { readonly operation: "cast"; readonly cast: SharedStore.Cast }
  | { readonly operation: "swap"; readonly swap: SharedStore.Swap }
  | { readonly operation: "load"; readonly circuit: string }
  | { readonly operation: "list"; readonly voice: string; readonly ttl: number }

type Store = SharedStore.SharedStore
type StoreError = SharedStore.StoreError

/** A store whose every operation is a command that `send` carries. */
export const through = (
  send: <A>(request: Request) => Effect.Effect<A, StoreError>,
  changes: Stream.Stream<SharedStore.Change, StoreError>
): Store => ({
  cast: (cast) => send({ operation: "cast", cast }),
  swap: (swap) => send({ operation: "swap", swap }),
  load: (circuit) => send({ operation: "load", circuit }),
  list: (voice, ttl) => send({ operation: "list", voice, ttl }),
  changes
})

/** Executes a command. */
export const carryOut = (store: Store, request: Request): Effect.Effect<unknown, StoreError> => {
  switch (request.operation) {
    case "cast":
      return store.cast(request.cast)
    case "swap":
      return store.swap(request.swap)
    case "load":
      return store.load(request.circuit)
    default:
      return store.list(request.voice, request.ttl)
  }
}

/** The error of a store that accepts no commands. */
export const refused = ({ operation }: Request): StoreError =>
  new SharedStore.StoreError({ operation, cause: "refused" })

/** The record of a circuit, as the store has it. */
export const recordOf = (store: Store, circuit: string): Effect.Effect<SharedStore.Stored | undefined, StoreError> =>
  store.load(circuit)

/** A record that a command wrote. */
export interface Written {
  readonly circuit: string
  /** The era of the record that it replaced: 0 for none. */
  readonly before: number
  readonly era: number
  readonly body: string
}

/** The records that a command wrote, according to its answer. */
export const written = (request: Request, answer: unknown): ReadonlyArray<Written> => {
  if (request.operation !== "swap") return []
  const { record, swapped } = answer as SharedStore.SwapAnswer
  const { body, circuit, expectedEra } = request.swap
  return swapped && record !== undefined ? [{ circuit, before: expectedEra, era: record.era, body }] : []
}

/** Whether a command would open a circuit for the fleet. */
export const opens = (request: Request): boolean =>
  request.operation === "swap" && request.swap.body.includes('"why":"Tripped"')

/** How many casts, swaps and loads a command carries. A heartbeat carries none. */
export const itemsOf = ({ operation }: Request): number => (operation === "list" ? 0 : 1)

/** How many listed records an answer carries. */
export const recordsIn = ({ operation }: Request, answer: unknown): number =>
  operation === "list" ? (answer as SharedStore.ListAnswer).records.length : 0

/** The same store with other eras: `inner` are the eras that the store gives, and `outer` the eras that processes see. */
export const renumbered = (
  store: Store,
  inner: (era: number) => number,
  outer: (era: number) => number
): Pick<Store, "cast" | "swap" | "load" | "list"> => {
  const seen = <A extends { readonly era: number }>(one: A): A => ({ ...one, era: outer(one.era) })
  const found = (record: SharedStore.Stored | undefined) => (record === undefined ? undefined : seen(record))
  return {
    cast: (cast) =>
      Effect.map(store.cast({ ...cast, era: inner(cast.era) }), (answer) => ({
        ...answer,
        record: found(answer.record)
      })),
    swap: (swap) =>
      Effect.map(store.swap({ ...swap, expectedEra: inner(swap.expectedEra) }), (answer) => ({
        ...answer,
        record: found(answer.record)
      })),
    load: (circuit) => Effect.map(store.load(circuit), found),
    list: (voice, ttl) =>
      Effect.map(store.list(voice, ttl), (answer) => ({ ...answer, records: answer.records.map(seen) }))
  }
}
