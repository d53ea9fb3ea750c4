import * as Duration from "effect/Duration"
import * as Circuit from "../core/Circuit.ts"
import * as CircuitOpen from "../shapes/CircuitOpen.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { effective, scopeOf } from "./standing.ts"

/**
 * The fields of the error of a rejection. All fields except `dependency` are about `circuit`, also if a dependency is the reason.
 */
export const rejectionFields = (
  circuit: LiveCircuit,
  now: number,
  reason: CircuitOpen.Reason,
  wait: number,
  dependency?: LiveCircuit
): CircuitOpen.Fields => {
  const state = effective(circuit, now)
  return {
    circuit: circuit.group.name,
    key: circuit.key,
    state: state._tag,
    scope: scopeOf(circuit, now),
    reason,
    retryAfter: Duration.millis(wait),
    openings: Circuit.openings(circuit.control.value, now),
    downSince: Circuit.outage(circuit.control.value)?.at,
    dependency: dependency?.group.name,
    detail: detailOf(state)
  }
}

export const rejection = (...args: Parameters<typeof rejectionFields>): CircuitOpen.CircuitOpen =>
  CircuitOpen.make(rejectionFields(...args))

const detailOf = (control: Circuit.Circuit): string | undefined => {
  switch (control._tag) {
    case "Open":
    case "HalfOpen":
      return control.cause.detail
    case "Isolated":
      return control.reason
    default:
      return undefined
  }
}
