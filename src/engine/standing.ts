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
