import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import { blocking } from "./dependencies.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import type { Registry } from "./registry.ts"
import { effective } from "./standing.ts"

/** Whether the flag of a circuit lets the circuit decide. A flag that cannot be read counts as on. */
export const switchedOn = ({ group: { name }, key, policy: { enabled } }: LiveCircuit): Effect.Effect<boolean> =>
  Effect.matchCause(
    Effect.suspend(() => {
      const said = typeof enabled === "function" ? enabled({ name, key }) : enabled
      return Effect.isEffect(said) ? said : Effect.succeed(said)
    }),
    { onFailure: () => true, onSuccess: (on: unknown) => on !== false }
  )

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
