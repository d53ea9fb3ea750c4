import * as Effect from "effect/Effect"
import { inspect } from "../engine/inspection.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import type { Registry } from "../engine/registry.ts"
import { differences } from "../policy/differences.ts"
import { bounded } from "./texts.ts"
import type { CircuitDetail } from "./view.ts"

/** The board does not have these details: failures, policies, and transitions from before the page began to read. */
export type Details = Pick<CircuitDetail, "failures" | "policy" | "policies" | "transitions">

export const noDetails: Details = { failures: [], policy: [], policies: 0, transitions: [] }

/** Maximum number of failures on the page of a circuit. */
const mostFailures = 10

/** Reads this process's policy and its failures. Without a key, reads the failures of all keys of the name. */
export const detailsHere = (registry: Registry, name: string, key: string | undefined): Effect.Effect<Details> =>
  Effect.sync(() => {
    const found: Array<LiveCircuit> = []
    for (const group of registry.named()) {
      if (group.name !== name) continue
      for (const circuit of group.circuits()) if (key === undefined || circuit.key === key) found.push(circuit)
    }
    const [first] = found
    if (first === undefined) return noDetails
    const failures = found
      .flatMap((circuit) => inspect(registry, circuit).lastFailures)
      .sort((a, b) => b.at - a.at)
      .slice(0, mostFailures)
      .map(({ at, error }) => ({ at, error: bounded(error) ?? "", processes: 1 }))
    return { failures, transitions: [], policies: 1, policy: differences(first.policy) }
  })
