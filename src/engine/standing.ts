import * as Circuit from "../core/Circuit.ts"
import type { Group, LiveCircuit } from "./liveCircuit.ts"

/**
 * The circuit whose state decides now. The circuit without a key decides if it has an override, or if it governs the keys and is not
 * Closed. Otherwise, the circuit itself decides. If both have an override, `Isolated` takes precedence.
 */
export const deciding = (circuit: LiveCircuit, now: number): LiveCircuit => {
  const { forced, held, single } = circuit.group
  if ((!forced && !held) || single === undefined || single === circuit) return circuit
  const own = Circuit.expire(circuit.control.value, now)
  if (own._tag === "Isolated") return circuit
  const control = Circuit.expire(single.control.value, now)
  if (Circuit.isForced(control)) return single
  return own._tag !== "Disabled" && control._tag !== "Closed" && governs(circuit) ? single : circuit
}

/** Whether the state of the circuit without a key applies to this circuit. One that only observes decides for no other circuit. */
export const governs = ({ group, key, policy }: LiveCircuit): boolean =>
  group.governs &&
  key !== undefined &&
  group.policy.enabled !== false &&
  (group.policy.mode === "enforce" || policy.mode === "observe")

/** The circuit without a key, if it has just closed and lets only a share of the calls of all keys run. */
export const rampingName = (circuit: LiveCircuit, now: number): LiveCircuit | undefined => {
  const { held, single } = circuit.group
  if (!held || single === undefined || !governs(circuit)) return undefined
  const control = Circuit.expire(single.control.value, now)
  return control._tag === "Closed" && now < control.rampUntil ? single : undefined
}

/** Updates what the circuit without a key means for the keys, after its policy or its state has changed or a ramp may be over. */
export const stand = (group: Group, now = 0): void => {
  const control = group.single?.control.value
  group.governs = group.policy.span || group.single?.asName?.hasFailed === true
  group.forced = control !== undefined && Circuit.isForced(control)
  group.held = group.governs && control !== undefined && (control._tag !== "Closed" || now < control.rampUntil)
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
