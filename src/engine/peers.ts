import type * as Effect from "effect/Effect"
import type * as Circuit from "../core/Circuit.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import type { Restore } from "./classify.ts"
import type { Granted, PendingAction } from "./fleetState.ts"
import type { LiveCircuit } from "./liveCircuit.ts"

/** The answer to a request for a lease. */
export type Grant =
  | Granted
  /** Another process has the lease, or the store did not answer in time. */
  | { readonly _tag: "Denied" }
  /** This process has no connection to the store. */
  | { readonly _tag: "Alone" }

/**
 * The fleet, as the circuits of one process see it. Only two functions wait for the store: {@link Peers.grant}, for a bounded time, and
 * {@link Peers.steer}, for which no call waits.
 */
export interface Peers {
  readonly store: SharedStore
  /** The name of this process in the fleet. */
  readonly process: string
  /** Whether this process decides alone, because the store has not answered yet or no longer answers. */
  readonly isCutOff: () => boolean
  /** A call failed, and the circuit did not open. */
  readonly failed: (circuit: LiveCircuit, now: number) => void
  readonly succeeded: (circuit: LiveCircuit, now: number) => void
  /** The circuit is about to open by itself, which clears its evidence. */
  readonly opening: (circuit: LiveCircuit, now: number) => void
  readonly moved: (circuit: LiveCircuit, from: Circuit.Circuit, to: Circuit.Circuit, why: Circuit.Why) => void
  /** Asks for a lease. Run it uninterruptibly: `restore` makes only the wait interruptible. */
  readonly grant: (circuit: LiveCircuit, restore: Restore) => Effect.Effect<Grant>
  /** Takes a lease that came too late for the call that asked for it. */
  readonly spare: (circuit: LiveCircuit) => Granted | undefined
  readonly settled: (circuit: LiveCircuit, lease: number, verdict: Circuit.Verdict) => void
  /** The name of this process, if operator actions on this circuit apply to the fleet. */
  readonly speaksFor: (circuit: LiveCircuit) => string | undefined
  readonly steer: (circuit: LiveCircuit, action: PendingAction) => Effect.Effect<void>
  /** The first call has declared `fleet: false`. Until then the circuit was part of the fleet. */
  readonly disowned: (circuit: LiveCircuit) => void
  readonly created: (circuit: LiveCircuit) => void
  readonly forgotten: (circuit: LiveCircuit) => void
}
