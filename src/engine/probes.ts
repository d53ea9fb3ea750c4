import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import { reportIgnored } from "./announce.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { move } from "./move.ts"
import { type Opening, open } from "./opening.ts"
import type { Runtime } from "./runtime.ts"

export interface EndedProbe {
  readonly circuit: LiveCircuit
  readonly epoch: number
  readonly lease: number
  readonly shared: boolean
}

export type ProbeOutcome =
  | { readonly _tag: "Success" | "Ignored" }
  | { readonly _tag: "Failure"; readonly why: "ProbeFailed" | "ProbeTimedOut"; readonly detail: string }

/** Returns the lease of a probe, and moves the circuit according to its outcome. */
export const settleProbe = (
  runtime: Runtime,
  { circuit, epoch, lease, shared }: EndedProbe,
  found: ProbeOutcome
): Effect.Effect<void> => {
  const peers = shared ? runtime.peers : undefined
  if (found._tag === "Failure") {
    const cause: Circuit.Cause = { why: found.why, detail: found.detail, actor: undefined }
    // The latest end of a `retryAfter` of all failed probes in this HalfOpen state.
    const hintUntil = circuit.control.value.epoch === epoch ? circuit.seen().hintUntil : 0
    let openFor = 0
    const next = (current: Circuit.Circuit, now: number, opening: Opening): Circuit.Circuit => {
      openFor = opening.openFor
      return current._tag === "HalfOpen"
        ? Circuit.settleProbe(current, lease, { _tag: "Failure", ...opening }, now, circuit.policy)
        : current
    }
    const settled = open(runtime, circuit, { epoch, cause, hintUntil, next, process: peers?.process })
    return Effect.map(settled, (moved) => {
      if (moved !== undefined) peers?.settled(circuit, lease, { _tag: "Failure", openFor, cause })
    })
  }
  const verdict: Circuit.Verdict = { _tag: found._tag }
  const settled = move(
    runtime,
    circuit,
    "Recovered",
    (current, now) =>
      current._tag === "HalfOpen" && current.epoch === epoch
        ? Circuit.settleProbe(current, lease, verdict, now, circuit.policy)
        : current,
    { process: peers?.process }
  )
  return Effect.flatMap(settled, (moved) => {
    if (moved !== undefined) peers?.settled(circuit, lease, verdict)
    return reportIgnored(runtime, circuit, moved?.to)
  })
}
