import * as Circuit from "../core/Circuit.ts"
import type { LiveCircuit } from "./liveCircuit.ts"

/**
 * The circuit whose state decides now: the circuit itself, or the circuit without a key if that one has an override. If both have an
 * override, one that isolates decides.
 */
export const deciding = (circuit: LiveCircuit, now: number): LiveCircuit => {
  const { forced, single } = circuit.group
  if (!forced || single === undefined || single === circuit) return circuit
  if (Circuit.expire(circuit.control.value, now)._tag === "Isolated") return circuit
  return Circuit.isForced(Circuit.expire(single.control.value, now)) ? single : circuit
}

/** The state that decides now, without expired overrides. */
export const effective = (circuit: LiveCircuit, now: number): Circuit.Circuit =>
  Circuit.expire(deciding(circuit, now).control.value, now)

/** Whether this process or the fleet decided the state of {@link effective}. */
export const scopeOf = (circuit: LiveCircuit, now: number): "local" | "fleet" => {
  const { control, fleetState } = deciding(circuit, now)
  const isShared = Circuit.expire(control.value, now)._tag !== "Closed" && fleetState?.isFleets(control.value) === true
  return isShared ? "fleet" : "local"
}
