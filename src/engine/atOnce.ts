import type { LiveCircuit } from "./liveCircuit.ts"
import type { Time } from "./time.ts"

/*
 * Most calls are decided by the own state of their circuit: it is Closed, or it is Open and its cooldown is not over. These calls need
 * no further questions: not about a flag, a dependency, an override, a ramp or a probe. `Call` answers those.
 */

const isAlone = ({ group, plain }: LiveCircuit): boolean => plain && !group.forced

/** The time now if the circuit admits a call at once, as a normal call; otherwise `undefined`. */
export const admitsAt = (circuit: LiveCircuit, time: Time): number | undefined => {
  const control = circuit.control.value
  if (control._tag !== "Closed" || !isAlone(circuit)) return undefined
  const now = time.now()
  return now >= control.rampUntil ? now : undefined
}

/** The time now if the circuit rejects a call at once, because of its cooldown; otherwise `undefined`. */
export const rejectsAt = (circuit: LiveCircuit, time: Time): number | undefined => {
  const control = circuit.control.value
  if (control._tag !== "Open" || !isAlone(circuit)) return undefined
  const now = time.now()
  return now < control.until ? now : undefined
}
