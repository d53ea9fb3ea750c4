import * as Effect from "effect/Effect"
import type { Taken } from "../core/operatorActions.ts"
import type { PendingAction } from "./fleetState.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { moveTogether, type Next } from "./move.ts"
import type { Runtime } from "./runtime.ts"

/** Takes an operator action on circuits: first in this process, in one transaction, then in the fleet. */
export const steer = (
  runtime: Runtime,
  circuits: ReadonlyArray<LiveCircuit>,
  action: Taken & Pick<PendingAction, "since">
): Effect.Effect<unknown> => {
  const { peers } = runtime
  // The duration of the action and its outage begin now, even if the store gets the action later.
  let taken: { readonly now: number; readonly at: number } | undefined
  const moves = circuits.map((circuit) => {
    const next: Next = (current, now) => {
      taken ??= { now, at: runtime.time.wall() }
      return action.next(current, taken.now, { at: taken.at, rules: circuit.policy })
    }
    return { circuit, next, details: { ...action, process: peers?.speaksFor(circuit) } }
  })
  const local = moveTogether(runtime, moves, action.why)
  if (peers === undefined) return local
  const shared = Effect.forEach(moves, ({ circuit, next }) => peers.steer(circuit, { ...action, next }), {
    concurrency: "unbounded",
    discard: true
  })
  return Effect.andThen(local, shared)
}
