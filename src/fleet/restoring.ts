import * as Effect from "effect/Effect"
import type { Known, Share } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { toSwap } from "../store/record.ts"
import type { Stored } from "../store/SharedStore.ts"
import type { Ground } from "./context.ts"
import type { Lanes } from "./lanes.ts"

/** Each process that knows a lost record gives it back, at a random time within this. */
const restoreMillis = 1_000

/** A lost record that ends within this time is not given back. */
export const endingMillis = 1_000

/** Takes over what the store has of a circuit. */
type Learn = (circuit: LiveCircuit, stored: Stored | undefined, askedAt: number) => Effect.Effect<void>

/** If a store has lost its latest writes, gives back those that this process knows. */
export class Restoring {
  private readonly ground: Ground
  private readonly lanes: Lanes
  private readonly learn: Learn

  constructor(ground: Ground, lanes: Lanes, learn: Learn) {
    this.ground = ground
    this.lanes = lanes
    this.learn = learn
  }

  /** The store has the same again, under another epoch. */
  isBack(circuit: LiveCircuit, known: Known, epoch: number): void {
    const { share } = circuit
    if (share === undefined) return
    share.record.known = { ...known, epoch, at: this.ground.now() }
    share.record.lost = undefined
  }

  /** The store has lost the record, and has another instead, or none. */
  restore(circuit: LiveCircuit, known: Known, found: number): Effect.Effect<void> {
    return Effect.sync(() => {
      const share = this.ground.shareOf(circuit)
      const { record } = share
      record.known = found === 0 ? { ...known, epoch: 0 } : known
      // A loss that is noticed again while the record waits to be given back is the same loss.
      if (record.lost === undefined) record.lost = { found, sending: false }
      else record.lost.found = found
      this.giveBack(circuit, share)
    })
  }

  /** Writes a lost record again, over what the store has instead. Runs in the background. */
  giveBack(circuit: LiveCircuit, share: Share): void {
    const { ground, lanes } = this
    const { record } = share
    const { known, lost } = record
    if (known === undefined || lost === undefined || lost.sending || ground.link.down) return
    if (ground.now() >= known.keptUntil - endingMillis) {
      record.lost = undefined
      return
    }
    lost.sending = true
    const make = () => {
      const now = ground.now()
      // The record is written now, but its state began earlier.
      const at = known.since + now - known.circuit.since
      const about = { ...known.about, at, origin: known.origin }
      const swap = toSwap(ground.idOf(circuit), lost.found, known.circuit, now, about)
      return { ...swap, ttl: known.keptUntil === Infinity ? undefined : Math.max(1, known.keptUntil - now) }
    }
    const give = Effect.suspend(() => {
      // Another process may have given it back meanwhile, or written something newer.
      if (record.lost !== lost) return Effect.void
      return Effect.flatMap(lanes.swap(make, "Patient"), (swapped) => {
        lost.sending = false
        if (swapped === undefined || swapped === "Dropped" || record.lost !== lost) return Effect.void
        const { answer, sentAt } = swapped
        if (!answer.swapped || answer.record === undefined) return this.learn(circuit, answer.record, sentAt)
        ground.noteEpoch(answer.record.epoch)
        this.isBack(circuit, known, answer.record.epoch)
        return Effect.void
      })
    })
    // All processes that know the record notice the loss at about the same time.
    const wait = Effect.sleep(ground.live > 1 ? ground.random() * restoreMillis : 0)
    const done = Effect.sync(() => {
      lost.sending = false
    })
    ground.runtime.background(Effect.ensuring(Effect.andThen(wait, give), done))
  }
}
