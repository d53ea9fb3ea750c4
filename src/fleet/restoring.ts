import * as Effect from "effect/Effect"
import type { FleetState, KnownRecord } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { toSwap } from "../store/record.ts"
import type { Stored } from "../store/SharedStore.ts"
import type { FleetContext } from "./context.ts"
import type { Lanes } from "./lanes.ts"

/** Each process that knows a lost record writes it back, after a random time of up to this. */
const restoreMillis = 1_000

/** A lost record that ends within this time is not written back. */
export const endingMillis = 1_000

type Learn = (circuit: LiveCircuit, stored: Stored | undefined, askedAt: number) => Effect.Effect<void>

/** Writes back records that the store has lost and this process knows. */
export class Restoring {
  private readonly context: FleetContext
  private readonly lanes: Lanes
  private readonly learn: Learn

  constructor(context: FleetContext, lanes: Lanes, learn: Learn) {
    this.context = context
    this.lanes = lanes
    this.learn = learn
  }

  /** The store has the record again, under another epoch. */
  isBack(circuit: LiveCircuit, known: KnownRecord, epoch: number): void {
    const { fleetState } = circuit
    if (fleetState === undefined) return
    fleetState.record.known = { ...known, epoch, at: this.context.now() }
    fleetState.record.lost = undefined
  }

  /** The store has lost the record. `found` is the epoch of the record that it has instead, or 0. */
  restore(circuit: LiveCircuit, known: KnownRecord, found: number): Effect.Effect<void> {
    return Effect.sync(() => {
      const fleetState = this.context.fleetStateOf(circuit)
      const { record } = fleetState
      record.known = found === 0 ? { ...known, epoch: 0 } : known
      // If the record already waits to be written back, this is the same loss.
      if (record.lost === undefined) record.lost = { found, sending: false }
      else record.lost.found = found
      this.giveBack(circuit, fleetState)
    })
  }

  /** Writes a lost record again, over what the store has instead. Runs in the background. */
  giveBack(circuit: LiveCircuit, fleetState: FleetState): void {
    const { context, lanes } = this
    const { record } = fleetState
    const { known, lost } = record
    if (known === undefined || lost === undefined || lost.sending || context.client.down) return
    if (context.now() >= known.keptUntil - endingMillis) {
      record.lost = undefined
      return
    }
    lost.sending = true
    const make = () => {
      const now = context.now()
      // This process may have been frozen while the swap was queued.
      if (now >= known.keptUntil - endingMillis) return undefined
      // The record is written now, but its state began earlier.
      const at = known.since + now - known.circuit.since
      const provenance = { ...known.provenance, at, origin: known.origin }
      const swap = toSwap(context.idOf(circuit), lost.found, known.circuit, now, provenance)
      return { ...swap, ttl: known.keptUntil === Infinity ? undefined : Math.max(1, known.keptUntil - now) }
    }
    const give = Effect.suspend(() => {
      // Another process may have written it back, or something newer.
      if (record.lost !== lost) return Effect.void
      return Effect.flatMap(lanes.swap(make, "Patient"), (swapped) => {
        lost.sending = false
        if (swapped === undefined || swapped === "Dropped" || record.lost !== lost) return Effect.void
        const { answer, sentAt } = swapped
        if (!answer.swapped || answer.record === undefined) return this.learn(circuit, answer.record, sentAt)
        context.noteEpoch(answer.record.epoch)
        this.isBack(circuit, known, answer.record.epoch)
        return Effect.void
      })
    })
    // All processes that know the record notice the loss at about the same time.
    const wait = Effect.sleep(context.live > 1 ? context.random() * restoreMillis : 0)
    const done = Effect.sync(() => {
      lost.sending = false
    })
    context.runtime.background(Effect.ensuring(Effect.andThen(wait, give), done))
  }
}
