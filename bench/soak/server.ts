/** The store that the processes share: what can happen to it, and what an onlooker sees of it. */
import type { Effect, Scope } from "effect"
import type { Record } from "./observer.ts"
import type { StoreFault } from "./plan.ts"

/** The voters that the store knows. */
export interface Voters {
  readonly live: ReadonlyArray<string>
  /** The voters that have a ballot, and where. */
  readonly ballots: ReadonlyArray<readonly [voter: string, box: string]>
}

/** Makes a fault of the store's own happen; ends when that is over. */
export type Happen = (lasts: number, running: () => boolean) => Promise<void>

export interface Server {
  readonly port: number
  /** Its address for one who comes to it by another port. */
  readonly urlBy: (port: number) => string
  /** Beside what happens on the way to it. */
  readonly faults: { readonly [kind in StoreFault]?: Happen }
  /** Somebody beside the fleet, on a connection that no fault is meant for: hears each record that is written. */
  readonly observe: (records: Array<Record>) => Effect.Effect<void>
  readonly voters: Effect.Effect<Voters>
}

export type MakeServer = (prefix: string) => Effect.Effect<Server, never, Scope.Scope>
