import type { LiveCircuit } from "./liveCircuit.ts"
import type { Registry } from "./registry.ts"
import { effective, waitOf } from "./standing.ts"

/** Where circuits are found. */
export interface Circuits {
  /** The circuit of a name and key, if there is one. */
  readonly peek: (name: string, key: string | undefined) => LiveCircuit | undefined
}

/** The circuits that a name in `dependsOn` means: the one of the name, and the one of the same key. */
export const named = (circuits: Circuits, name: string, key: string | undefined): ReadonlyArray<LiveCircuit> =>
  [circuits.peek(name, undefined), key === undefined ? undefined : circuits.peek(name, key)].filter(
    (circuit) => circuit !== undefined
  )

/**
 * Visits the circuits on which `circuit` depends, directly or not, and returns the first one that lets no call through and is
 * `enough`. A circuit whose cooldown is over lets a probe through, so that it can close. Each name is visited once.
 */
const find = (
  registry: Registry,
  circuit: LiveCircuit,
  now: number,
  enough: (blocker: LiveCircuit) => boolean,
  seen: Set<string>
): LiveCircuit | undefined => {
  for (const name of circuit.policy.dependsOn) {
    if (seen.has(name)) continue
    seen.add(name)
    for (const other of named(registry, name, circuit.key)) {
      if (other.policy.mode === "observe" || other.policy.enabled === false) continue
      const control = effective(other, now)
      if (control._tag === "Disabled") continue
      const rejects = control._tag === "Isolated" || (control._tag === "Open" && now < control.until)
      if (rejects && enough(other)) return other
      const deeper = find(registry, other, now, enough, seen)
      if (deeper !== undefined) return deeper
    }
  }
  return undefined
}

const first = () => true

/** The first circuit on which `circuit` depends, however far, that lets no call through and is `enough`. */
export const blocking = (
  registry: Registry,
  circuit: LiveCircuit,
  now: number,
  enough: (blocker: LiveCircuit) => boolean = first
): LiveCircuit | undefined => find(registry, circuit, now, enough, new Set([circuit.group.name]))

/**
 * Milliseconds until a call of `circuit` could pass: the longest wait of its own state, of an override on its name, and of
 * every circuit that {@link blocking} can find. Rejections, `inspect`, pools and waiting callers use it.
 */
export const longestWait = (registry: Registry, circuit: LiveCircuit, now: number): number => {
  let longest = waitOf(circuit, now)
  if (circuit.policy.dependsOn.length === 0 || effective(circuit, now)._tag === "Disabled") return longest
  const look = (blocker: LiveCircuit) => {
    longest = Math.max(longest, waitOf(blocker, now))
    return false
  }
  blocking(registry, circuit, now, look)
  return longest
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
