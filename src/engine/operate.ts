import * as Effect from "effect/Effect"
import type { PendingAction } from "./fleetState.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { moveTogether, type Next } from "./move.ts"
import type { Runtime } from "./runtime.ts"

/**
 * What somebody does to a circuit, or to several at once: they are moved here, in one transaction; then, where there are
 * others, they are told.
 */
export const steer = (
  runtime: Runtime,
  circuits: ReadonlyArray<LiveCircuit>,
  action: PendingAction
): Effect.Effect<unknown> => {
  const { peers } = runtime
  // It is done now, whenever the others hear of it: what it says ends in so long ends then.
  let at: number | undefined
  const next: Next = (current, now) => {
    at ??= now
    return action.next(current, at)
  }
  const moves = circuits.map((circuit) => ({
    circuit,
    next,
    details: { ...action, process: peers?.speaksFor(circuit) }
  }))
  const here = moveTogether(runtime, moves, action.why)
  if (peers === undefined) return here
  const told = Effect.forEach(circuits, (circuit) => peers.steer(circuit, { ...action, next }), {
    concurrency: "unbounded",
    discard: true
  })
  return Effect.andThen(here, told)
}
