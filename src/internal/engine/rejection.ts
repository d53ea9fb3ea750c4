import * as Duration from "effect/Duration"
import * as Circuit from "../../Circuit.ts"
import * as CircuitOpen from "../../CircuitOpen.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { effective, scopeOf, waitOf } from "./standing.ts"

/** Somebody else is asking for the place of a probe: it is not known yet whether it is given. */
const askedAgainMillis = 50

/** The error of a rejection; `blocker` is the circuit that rejects, where it is one that this one depends on. */
export const rejection = (
  circuit: LiveCircuit,
  now: number,
  reason: CircuitOpen.Reason,
  blocker?: LiveCircuit
): CircuitOpen.CircuitOpen => {
  const holds = effective(circuit, now)
  const wait = waitOf(blocker ?? circuit, now)
  return CircuitOpen.make({
    circuit: circuit.group.name,
    key: circuit.key,
    state: holds._tag,
    scope: scopeOf(blocker ?? circuit, now),
    reason,
    retryAfter: Duration.millis(reason === "ProbesBusy" && wait === 0 ? askedAgainMillis : wait),
    openings: Circuit.openings(circuit.control.value, now),
    downSince: Circuit.outage((blocker ?? circuit).control.value)?.at,
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
