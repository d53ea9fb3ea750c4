import * as Circuit from "../core/Circuit.ts"
import type { LiveCircuit } from "./liveCircuit.ts"

/**
 * The circuit whose state counts now: the circuit itself, or the one of its name while an override on that one holds for all keys.
 * Where both are forced, the one that rejects wins.
 */
export const deciding = (circuit: LiveCircuit, now: number): LiveCircuit => {
  const { forced, single } = circuit.group
  if (!forced || single === undefined || single === circuit) return circuit
  if (Circuit.expire(circuit.control.value, now)._tag === "Isolated") return circuit
  return Circuit.isForced(Circuit.expire(single.control.value, now)) ? single : circuit
}

/** The state that counts now. An override that has run out no longer does. */
export const effective = (circuit: LiveCircuit, now: number): Circuit.Circuit =>
  Circuit.expire(deciding(circuit, now).control.value, now)

/** Whether this process or the fleet decided the state that counts. */
export const scopeOf = (circuit: LiveCircuit, now: number): "local" | "fleet" => {
  const { control, fleetState } = deciding(circuit, now)
  const isShared = Circuit.expire(control.value, now)._tag !== "Closed" && fleetState?.isFleets(control.value) === true
  return isShared ? "fleet" : "local"
}

/** Milliseconds until a call may pass, for all that its own state and the override on its name say. */
export const waitOf = (circuit: LiveCircuit, now: number): number => {
  let at = now
  for (;;) {
    const own = Circuit.expire(circuit.control.value, at)
    const above = deciding(circuit, at)
    const override = above === circuit ? undefined : Circuit.expire(above.control.value, at)
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
