/** The shared store of a soak: its faults, and what an observer can read. */
import type { Effect, Scope } from "effect"
import type { Record } from "./observer.ts"
import type { StoreFault } from "./plan.ts"

/** The voters in the store. */
export interface Voters {
  readonly live: ReadonlyArray<string>
  /** The voters that have a ballot, each with its box. */
  readonly ballots: ReadonlyArray<readonly [voter: string, box: string]>
}

/** Executes a fault of the store itself. Returns when the fault is over. */
export type Happen = (lasts: number, running: () => boolean) => Promise<void>

export interface Server {
  readonly port: number
  /** The URL of the store through a proxy on another port. */
  readonly urlBy: (port: number) => string
  /** The faults of the store itself, in addition to those of connections. */
  readonly faults: { readonly [kind in StoreFault]?: Happen }
  /** Records each written record, on a connection that no fault affects. */
  readonly observe: (records: Array<Record>) => Effect.Effect<void>
  readonly voters: Effect.Effect<Voters>
}

export type MakeServer = (prefix: string) => Effect.Effect<Server, never, Scope.Scope>
