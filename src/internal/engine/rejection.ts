import * as Duration from "effect/Duration"
import * as Circuit from "../../Circuit.ts"
import * as CircuitOpen from "../../CircuitOpen.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { effective, waitOf } from "./standing.ts"

/** The error of a rejection; `blocker` is the circuit that rejects, where it is one that this one depends on. */
export const rejection = (
  circuit: LiveCircuit,
  now: number,
  reason: CircuitOpen.Reason,
  blocker?: LiveCircuit
): CircuitOpen.CircuitOpen => {
  const holds = effective(circuit, now)
  return CircuitOpen.make({
    circuit: circuit.group.name,
    key: circuit.key,
    state: holds._tag,
    reason,
    retryAfter: Duration.millis(waitOf(blocker ?? circuit, now)),
    openings: Circuit.openings(circuit.control.value, now),
    dependency: blocker?.group.name,
    detail: detailOf(blocker === undefined ? holds : effective(blocker, now))
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
