import * as Duration from "effect/Duration"
import * as Circuit from "../core/Circuit.ts"
import * as CircuitOpen from "../shapes/CircuitOpen.ts"
import { longestWait } from "./dependencies.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import type { Registry } from "./registry.ts"
import { effective, scopeOf } from "./standing.ts"

/** Somebody else is asking for the place of a probe: it is not known yet whether it is given. */
const askedAgainMillis = 50

/**
 * The fields of the error of a rejection. All of them are about `circuit`, except `dependency`: the name of `blocker`, if a circuit that
 * this one depends on is the reason.
 */
export const rejectionFields = (
  registry: Registry,
  circuit: LiveCircuit,
  now: number,
  reason: CircuitOpen.Reason,
  blocker?: LiveCircuit
): CircuitOpen.Fields => {
  const holds = effective(circuit, now)
  const wait = longestWait(registry, circuit, now)
  return {
    circuit: circuit.group.name,
    key: circuit.key,
    state: holds._tag,
    scope: scopeOf(circuit, now),
    reason,
    retryAfter: Duration.millis(reason === "ProbesBusy" && wait === 0 ? askedAgainMillis : wait),
    openings: Circuit.openings(circuit.control.value, now),
    downSince: Circuit.outage(circuit.control.value)?.at,
    dependency: blocker?.group.name,
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
