import * as Effect from "effect/Effect"
import * as Circuit from "../../Circuit.ts"
import { blocking } from "./dependencies.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import type { Registry } from "./registry.ts"
import { effective } from "./standing.ts"

/** What a flag says. One that cannot be read protects. */
export const switchedOn = (flag: Effect.Effect<boolean>): Effect.Effect<boolean> =>
  Effect.catchCause(flag, () => Effect.succeed(true))

/**
 * Whether a call that came now would be let through, as far as this process knows without asking anybody: a flag that is an
 * effect counts as on, a ramp as open, and a place for a probe may still go to another.
 */
export const passes = (registry: Registry, circuit: LiveCircuit, now: number): boolean =>
  circuit.policy.mode === "observe" || circuit.policy.enabled === false || admits(registry, circuit, now)

/** The same, by its state alone: as if it were there to reject calls. */
export const admits = (registry: Registry, circuit: LiveCircuit, now: number): boolean => {
  const holds = effective(circuit, now)
  if (holds._tag === "Disabled") return true
  if (holds._tag === "Isolated" || blocking(registry, circuit, now) !== undefined) return false
  return Circuit.admission(holds, now, circuit.policy) !== "Reject"
}
