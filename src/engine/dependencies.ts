import type { LiveCircuit } from "./liveCircuit.ts"

export interface Circuits {
  readonly peek: (name: string, key: string | undefined) => LiveCircuit | undefined
}

/** The circuits of a name in `dependsOn`: the circuit without a key, and the circuit of the same key. */
export const named = (circuits: Circuits, name: string, key: string | undefined): ReadonlyArray<LiveCircuit> =>
  [circuits.peek(name, undefined), key === undefined ? undefined : circuits.peek(name, key)].filter(
    (circuit) => circuit !== undefined
  )

/** All direct and indirect dependencies of a circuit. */
export const dependencies = (
  circuits: Circuits,
  circuit: LiveCircuit,
  seen: Set<string> = new Set([circuit.group.name])
): ReadonlyArray<LiveCircuit> =>
  circuit.policy.dependsOn.flatMap((name) => {
    if (seen.has(name)) return []
    seen.add(name)
    return named(circuits, name, circuit.key).flatMap((other) => [other, ...dependencies(circuits, other, seen)])
  })
