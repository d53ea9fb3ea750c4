import * as Effect from "effect/Effect"
import { show } from "../core/printable.ts"
import { inspect } from "../engine/inspection.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import type { Registry } from "../engine/registry.ts"
import { defaults } from "../policy/policy.ts"
import { bounded } from "./texts.ts"
import type { CircuitDetail } from "./view.ts"

/** What the page of a circuit shows beside its history. */
export type Details = Pick<CircuitDetail, "failures" | "policy">

export const noDetails: Details = { failures: [], policy: [] }

/** The latest failures that one circuit page shows. */
const mostFailures = 10

const policyOf = ({ policy }: LiveCircuit): CircuitDetail["policy"] =>
  Object.entries(policy).flatMap(([name, value]) => {
    if (name === "keys" || typeof value === "function") return []
    const text = show(value)
    return text === show(defaults[name as keyof typeof defaults]) ? [] : [{ name, value: text }]
  })

/** The failures that this process has seen, and its policy. The name stands for all of its keys. */
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
      .map(({ at, error }) => ({ at, error: bounded(error) ?? "" }))
    return { failures, policy: policyOf(first) }
  })
