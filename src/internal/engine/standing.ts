import * as Circuit from "../../Circuit.ts"
import type { LiveCircuit } from "./liveCircuit.ts"

/** The override on the name of a circuit that has a key, while it lasts. */
const above = (circuit: LiveCircuit, now: number): Circuit.Isolated | Circuit.Disabled | undefined => {
  const { forced, single } = circuit.group
  if (!forced || single === undefined || single === circuit) return undefined
  const control = Circuit.expire(single.control.value, now)
  return Circuit.isForced(control) ? control : undefined
}

/**
 * The state that counts now. An override that has run out no longer does. One on the name holds for its keys; where both
 * are forced, the one that rejects wins.
 */
export const effective = (circuit: LiveCircuit, now: number): Circuit.Circuit => {
  const own = Circuit.expire(circuit.control.value, now)
  return own._tag === "Isolated" ? own : (above(circuit, now) ?? own)
}

/** Whose word the state that counts is. */
export const scopeOf = (circuit: LiveCircuit, now: number): "local" | "fleet" => {
  const own = Circuit.expire(circuit.control.value, now)
  const { single } = circuit.group
  const decides =
    own._tag !== "Isolated" && single !== undefined && above(circuit, now) !== undefined ? single : circuit
  const control = decides.control.value
  return Circuit.expire(control, now)._tag !== "Closed" && decides.share?.isFleets(control) === true ? "fleet" : "local"
}

/** Milliseconds until a call may pass, for all that its own state and the override on its name say. */
export const waitOf = (circuit: LiveCircuit, now: number): number => {
  const own = Circuit.expire(circuit.control.value, now)
  const override = above(circuit, now)
  if (override?._tag === "Disabled" && own._tag !== "Isolated") return 0
  const ofName = override?._tag === "Isolated" ? override.until - now : 0
  // Up to the next whole one: timers know no smaller ones, and who comes back then must not be early.
  return Math.ceil(Math.max(ofName, Circuit.retryAfter(own, now, circuit.policy)))
}
