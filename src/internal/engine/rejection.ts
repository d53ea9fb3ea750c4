import * as Duration from "effect/Duration"
import * as Circuit from "../../Circuit.ts"
import * as CircuitOpen from "../../CircuitOpen.ts"
import type { LiveCircuit } from "./liveCircuit.ts"

/** The error of a rejection. */
export const rejection = (
  circuit: LiveCircuit,
  control: Circuit.Circuit,
  now: number,
  reason: CircuitOpen.Reason,
  dependency?: string
): CircuitOpen.CircuitOpen => {
  const own = circuit.control.value
  return CircuitOpen.make({
    circuit: circuit.group.name,
    key: circuit.key,
    state: dependency === undefined ? control._tag : own._tag,
    reason,
    // Up to the next whole millisecond: timers know no smaller ones, and who comes back then must not be early.
    retryAfter: Duration.millis(Math.ceil(Circuit.retryAfter(control, now, circuit.policy))),
    openings: Circuit.openings(own, now),
    dependency,
    detail: detailOf(control)
  })
}

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
