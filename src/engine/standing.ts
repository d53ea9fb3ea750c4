import * as Circuit from "../core/Circuit.ts"
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
  return Circuit.expire(control, now)._tag !== "Closed" && decides.fleetState?.isFleets(control) === true
    ? "fleet"
    : "local"
}

/** Milliseconds until a call may pass, for all that its own state and the override on its name say. */
export const waitOf = (circuit: LiveCircuit, now: number): number => {
  let at = now
  for (;;) {
    const own = Circuit.expire(circuit.control.value, at)
    const override = above(circuit, at)
    const until = Math.max(own._tag === "Isolated" ? own.until : 0, override?._tag === "Isolated" ? override.until : 0)
    if (until === Infinity) return Infinity
    if (until > at) {
      at = until
      continue
    }
    const passes = own._tag === "Disabled" || override?._tag === "Disabled"
    // Up to the next whole one: timers know no smaller ones, and who comes back then must not be early.
    return Math.ceil(passes ? at - now : Math.max(at - now, Circuit.retryAfter(own, now, circuit.policy)))
  }
}
