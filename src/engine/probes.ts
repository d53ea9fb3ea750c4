import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import { reportIgnored } from "./announce.ts"
import { blockerOf } from "./answer.ts"
import { inTurn } from "./inTurn.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { moveNow } from "./move.ts"
import { type Opening, open } from "./opening.ts"
import type { Registry } from "./registry.ts"
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

/** A lease of a circuit whose state this process decides. */
export interface Lease {
  readonly epoch: number
  readonly lease: number
  readonly now: number
  /** The effect that the fiber of the caller still has to run. */
  readonly news: Effect.Effect<void> | undefined
}

/** Takes a lease for a probe. `undefined` if the circuit no longer lets a probe pass. */
export const takeLease = (registry: Registry, circuit: LiveCircuit): Lease | undefined => {
  const { policy } = circuit
  const moved = moveNow(registry.runtime, circuit, "CooldownOver", (current, now) =>
    (current._tag === "Open" || current._tag === "HalfOpen") &&
    Circuit.admission(current, now, policy) === "Probe" &&
    blockerOf(registry, circuit, now) === undefined
      ? Circuit.probe(current, now, policy)
      : current
  )
  if (moved?.to._tag !== "HalfOpen") return undefined
  const { news, now, to } = moved
  return { epoch: to.epoch, lease: to.nextLease - 1, now, news }
}

/**
 * Returns the lease of a probe, and moves the circuit according to the outcome of the probe. A success moves the circuit at once. The
 * caller must run the returned effect.
 */
export const settleProbe = (
  runtime: Runtime,
  { circuit, epoch, lease, shared }: EndedProbe,
  found: ProbeOutcome
): Effect.Effect<void> | undefined => {
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
  const moved = moveNow(
    runtime,
    circuit,
    "Recovered",
    (current, now) =>
      current._tag === "HalfOpen" && current.epoch === epoch
        ? Circuit.settleProbe(current, lease, verdict, now, circuit.policy)
        : current,
    { process: peers?.process }
  )
  if (moved !== undefined) peers?.settled(circuit, lease, verdict)
  return inTurn(moved?.news, reportIgnored(runtime, circuit, moved?.to))
}
