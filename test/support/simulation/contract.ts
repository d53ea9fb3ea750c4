/**
 * Everything in the simulation that depends on the operations of `SharedStore`: what a process sends, how the store carries it
 * out, what it costs, and which records it writes. No other file of the simulation names an operation, except the broken
 * stores in `mutants.ts`.
 */
import { Effect, type Stream } from "effect"
import { SharedStore } from "effect-fuse"

export const operations = ["exchange", "page", "load", "digests"] as const

export type Operation = (typeof operations)[number]

/** A counter for each operation. */
export const counters = (): Record<Operation, number> => ({ exchange: 0, page: 0, load: 0, digests: 0 })

/** A command as a process sends it. */
export type Request =
  | { readonly operation: "exchange"; readonly exchange: SharedStore.Exchange }
  | { readonly operation: "page"; readonly since: number; readonly limit: number }
  | { readonly operation: "load"; readonly circuits: ReadonlyArray<string> }
  | { readonly operation: "digests"; readonly after: string }

type Store = SharedStore.SharedStore
type StoreError = SharedStore.StoreError

/** A store whose every operation is a command that `send` carries. */
export const through = (
  send: <A>(request: Request) => Effect.Effect<A, StoreError>,
  changes: Stream.Stream<SharedStore.Change, StoreError>
): Store => ({
  exchange: (exchange) => send({ operation: "exchange", exchange }),
  page: (since, limit) => send({ operation: "page", since, limit }),
  load: (circuits) => send({ operation: "load", circuits }),
  digests: (after) => send({ operation: "digests", after }),
  changes
})

/** Carries a command out. */
export const carryOut = (store: Store, request: Request): Effect.Effect<unknown, StoreError> => {
  switch (request.operation) {
    case "exchange":
      return store.exchange(request.exchange)
    case "page":
      return store.page(request.since, request.limit)
    case "load":
      return store.load(request.circuits)
    default:
      return store.digests(request.after)
  }
}

/** The error of a store that takes no commands. */
export const refused = ({ operation }: Request): StoreError =>
  new SharedStore.StoreError({ operation, cause: "refused" })

/** The record of a circuit, as the store has it. */
export const recordOf = (store: Store, circuit: string): Effect.Effect<SharedStore.Stored | undefined, StoreError> =>
  Effect.map(store.load([circuit]), ({ records: [record] }) => record)

/** A record that a command wrote. */
export interface Written {
  readonly circuit: string
  /** The epoch of the record that it replaced: 0 for none. */
  readonly before: number
  readonly epoch: number
  readonly body: string
}

export type Done = SharedStore.ExchangeDone

/** Whether the answer is that of an exchange which the store carried out in time. */
export const isDone = (answer: unknown): answer is Done => (answer as { readonly _tag?: string })._tag === "Done"

/** The records that a command wrote, according to its answer. */
export const written = (request: Request, answer: unknown): ReadonlyArray<Written> => {
  if (request.operation !== "exchange" || !isDone(answer)) return []
  const { swaps } = request.exchange
  return swaps.flatMap(({ body, circuit, expectedEpoch }, place) => {
    const { record, swapped } = answer.swaps[place] ?? { record: undefined, swapped: false }
    return swapped && record !== undefined ? [{ circuit, before: expectedEpoch, epoch: record.epoch, body }] : []
  })
}

/** Whether a command would open a circuit for the fleet. */
export const opens = (request: Request): boolean =>
  request.operation === "exchange" && request.exchange.swaps.some(({ body }) => body.includes('"why":"Tripped"'))

/** How many casts, swaps and loads a command carries. A heartbeat carries none. */
export const itemsOf = (request: Request): number => {
  switch (request.operation) {
    case "exchange":
      return request.exchange.casts.length + request.exchange.swaps.length
    case "load":
      return request.circuits.length
    default:
      return 0
  }
}

/** How many changes an answer carries. */
export const recordsIn = ({ operation }: Request, answer: unknown): number =>
  operation === "page" ? (answer as SharedStore.PageAnswer).changes.length : 0
