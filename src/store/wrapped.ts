import type * as Effect from "effect/Effect"
import type { Exchange, SharedStore, StoreError } from "./SharedStore.ts"
import { Unconnected } from "./unconnected.ts"

/** One command to a store: one of the operations, with its arguments. */
export interface StoreCommand<A> {
  readonly operation: "exchange" | "page" | "load" | "digests"
  /** What the command writes; `undefined` for a read. */
  readonly exchange: Exchange | undefined
  /** Sends the command to a store. */
  readonly send: (store: SharedStore) => Effect.Effect<A, StoreError>
}

/** Sends a command to a store. It may add a deadline, wait for the connection, or judge the result. */
export type Carry = <A>(command: StoreCommand<A>) => Effect.Effect<A, StoreError>

/** The operations of a store that sends all commands with `carry`. */
export const operations = (carry: Carry): Pick<SharedStore, StoreCommand<unknown>["operation"]> => ({
  exchange: (exchange) => carry({ operation: "exchange", exchange, send: (store) => store.exchange(exchange) }),
  page: (since, limit) => carry({ operation: "page", exchange: undefined, send: (store) => store.page(since, limit) }),
  load: (circuits) => carry({ operation: "load", exchange: undefined, send: (store) => store.load(circuits) }),
  digests: (after) => carry({ operation: "digests", exchange: undefined, send: (store) => store.digests(after) })
})

/** The same store, but `carry` sends its commands. */
export const wrapped = (store: SharedStore, carry: Carry): SharedStore => {
  const isUnconnected = (store as { readonly [Unconnected]?: () => boolean })[Unconnected]
  return {
    longestCircuit: store.longestCircuit,
    deadline: store.deadline,
    connected: store.connected,
    changes: store.changes,
    ...operations(carry),
    ...(isUnconnected === undefined ? {} : { [Unconnected]: isUnconnected })
  }
}
