import * as Effect from "effect/Effect"
import type { LiveCircuit } from "./liveCircuit.ts"
import { move, type Next } from "./move.ts"
import type { Runtime } from "./runtime.ts"
import type { Unheard } from "./share.ts"

/** What somebody does to a circuit: it is moved here at once; then, where there are others, they are told. */
export const steer = (runtime: Runtime, circuit: LiveCircuit, deed: Unheard): Effect.Effect<unknown> => {
  const { sharing } = runtime
  // It is done now, whenever the others hear of it: what it says ends in so long ends then.
  let at: number | undefined
  const next: Next = (current, now) => {
    at ??= now
    return deed.next(current, at)
  }
  const here = move(runtime, circuit, deed.why, next, { ...deed, process: sharing?.speaksFor(circuit) })
  return sharing === undefined ? here : Effect.andThen(here, sharing.steer(circuit, { ...deed, next }))
}
