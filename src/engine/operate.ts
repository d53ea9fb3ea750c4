import * as Effect from "effect/Effect"
import type { Taken } from "../core/operatorActions.ts"
import type { PendingAction } from "./fleetState.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { moveTogether, type Next } from "./move.ts"
import type { Runtime } from "./runtime.ts"

/** Takes an operator action on circuits: in this process, in one transaction, and then in the fleet if there is one. */
export const steer = (
  runtime: Runtime,
  circuits: ReadonlyArray<LiveCircuit>,
  action: Taken & Pick<PendingAction, "since">
): Effect.Effect<unknown> => {
  const { peers } = runtime
  // The action happens now, even if the store hears of it later: its duration and its outage start now.
  let taken: { readonly now: number; readonly at: number } | undefined
  const moves = circuits.map((circuit) => {
    const next: Next = (current, now) => {
      taken ??= { now, at: runtime.time.wall() }
      return action.next(current, taken.now, { at: taken.at, rules: circuit.policy })
    }
    return { circuit, next, details: { ...action, process: peers?.speaksFor(circuit) } }
  })
  const here = moveTogether(runtime, moves, action.why)
  if (peers === undefined) return here
  const told = Effect.forEach(moves, ({ circuit, next }) => peers.steer(circuit, { ...action, next }), {
    concurrency: "unbounded",
    discard: true
  })
  return Effect.andThen(here, told)
}
