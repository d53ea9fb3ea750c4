import * as Duration from "effect/Duration"
import * as Circuit from "../core/Circuit.ts"
import * as CircuitOpen from "../shapes/CircuitOpen.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { effective, scopeOf } from "./standing.ts"

/**
 * The fields of the error of a rejection. All of them are about `circuit`, except `dependency`: the name of the circuit that is the
 * reason, if it is one that this one depends on.
 */
export const rejectionFields = (
  circuit: LiveCircuit,
  now: number,
  reason: CircuitOpen.Reason,
  wait: number,
  dependency?: LiveCircuit
): CircuitOpen.Fields => {
  const holds = effective(circuit, now)
  return {
    circuit: circuit.group.name,
    key: circuit.key,
    state: holds._tag,
    scope: scopeOf(circuit, now),
    reason,
    retryAfter: Duration.millis(wait),
    openings: Circuit.openings(circuit.control.value, now),
    downSince: Circuit.outage(circuit.control.value)?.at,
    dependency: dependency?.group.name,
    detail: detailOf(holds)
  }
}

/** The error of a rejection. */
export const rejection = (...provenance: Parameters<typeof rejectionFields>): CircuitOpen.CircuitOpen =>
  CircuitOpen.make(rejectionFields(...provenance))

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
