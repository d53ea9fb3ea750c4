import type { LiveCircuit } from "./liveCircuit.ts"
import type { Registry } from "./registry.ts"
import { effective } from "./standing.ts"

/** The circuits that a name in `dependsOn` means: the one of the name, and the one of the same key. */
const named = (registry: Registry, name: string, key: string | undefined): ReadonlyArray<LiveCircuit> =>
  [registry.peek(name, undefined), key === undefined ? undefined : registry.peek(name, key)].filter(
    (circuit) => circuit !== undefined
  )

/**
 * The first circuit on which `circuit` depends, however far, that lets no call through. One whose cooldown is over lets a
 * probe through, or nobody could ever close it. Each name is looked at once.
 */
export const blocking = (
  registry: Registry,
  circuit: LiveCircuit,
  now: number,
  seen: Set<string> = new Set([circuit.group.name])
): LiveCircuit | undefined => {
  for (const name of circuit.policy.dependsOn) {
    if (seen.has(name)) continue
    seen.add(name)
    for (const other of named(registry, name, circuit.key)) {
      if (other.policy.mode === "observe" || other.policy.enabled === false) continue
      const control = effective(other, now)
      if (control._tag === "Disabled") continue
      if (control._tag === "Isolated" || (control._tag === "Open" && now < control.until)) return other
      const deeper = blocking(registry, other, now, seen)
      if (deeper !== undefined) return deeper
    }
  }
  return undefined
}

/** The circuits that {@link blocking} may look at. */
export const dependencies = (
  registry: Registry,
  circuit: LiveCircuit,
  seen: Set<string> = new Set([circuit.group.name])
): ReadonlyArray<LiveCircuit> =>
  circuit.policy.dependsOn.flatMap((name) => {
    if (seen.has(name)) return []
    seen.add(name)
    return named(registry, name, circuit.key).flatMap((other) => [other, ...dependencies(registry, other, seen)])
  })
