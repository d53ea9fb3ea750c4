import type * as Effect from "effect/Effect"
import type * as Circuit from "../core/Circuit.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import type { Restore } from "./classify.ts"
import type { Granted, PendingAction } from "./fleetState.ts"
import type { LiveCircuit } from "./liveCircuit.ts"

/** A place, or why there is none. */
export type Grant =
  | Granted
  /** Another has it, or nobody answered in time. */
  | { readonly _tag: "Denied" }
  /** There is no fleet to ask: this process is on its own. */
  | { readonly _tag: "Alone" }

/**
 * What the circuits of a process tell those of the others. None of these waits for a store but {@link Peers.place}, for a
 * bounded time, and {@link Peers.steer}, which no call waits for.
 */
export interface Peers {
  /** The store that the processes share. */
  readonly store: SharedStore
  /** How this process is called among the others. */
  readonly process: string
  /** Whether this process is on its own: the store has not answered yet, or no longer answers. */
  readonly isCutOff: () => boolean
  /** A call failed, and its circuit did not open by that. */
  readonly failed: (circuit: LiveCircuit, now: number) => void
  readonly succeeded: (circuit: LiveCircuit, now: number) => void
  /** It is about to open by itself: what it saw is forgotten then. */
  readonly opening: (circuit: LiveCircuit, now: number) => void
  /** It moved, by something that happened in this process. */
  readonly moved: (circuit: LiveCircuit, from: Circuit.Circuit, to: Circuit.Circuit, why: Circuit.Why) => void
  /** Asks for the place of a probe. To be run where nothing interrupts it but at the wait, inside `restore`. */
  readonly grant: (circuit: LiveCircuit, restore: Restore) => Effect.Effect<Grant>
  /** A place that is there already: it came too late for the call before. */
  readonly spare: (circuit: LiveCircuit) => Granted | undefined
  /** What the probe in a place found. */
  readonly settled: (circuit: LiveCircuit, lease: number, verdict: Circuit.Verdict) => void
  /** The name of this process, if what a person does to this circuit in it is for all. */
  readonly speaksFor: (circuit: LiveCircuit) => string | undefined
  readonly steer: (circuit: LiveCircuit, action: PendingAction) => Effect.Effect<void>
  /** The first call says that its policy has it apart from the fleet: until then it was taken for one of the fleet's. */
  readonly disowned: (circuit: LiveCircuit) => void
  /** It is new in this process. */
  readonly created: (circuit: LiveCircuit) => void
  /** It is no longer kept. */
  readonly forgotten: (circuit: LiveCircuit) => void
}
