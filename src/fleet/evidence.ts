import * as Trip from "../core/Trip.ts"
import type * as Window from "../core/Window.ts"
import type { EvidenceSnapshot, FleetState, KeptBack } from "../engine/fleetState.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"

/** What this process has seen of a circuit, and which part of it its ballots contain. */

const callsOf = (circuit: LiveCircuit): number => circuit.successes + circuit.failures

export const seen = (circuit: LiveCircuit, now: number): EvidenceSnapshot => {
  const evidence = circuit.seen()
  return { at: now, streak: evidence.streakAt(now), counts: evidence.counts(now).map(({ counts }) => counts) }
}

/** The evidence for a ballot: everything except the part that is kept back. */
export const ballotEvidence = (circuit: LiveCircuit, fleetState: FleetState, now: number): EvidenceSnapshot => {
  const all = withoutKeptBack(circuit, fleetState, now)
  // With a limit, a streak that is too young counts neither here nor for the trip.
  return circuit.streakAt(now) === 0 ? { ...all, streak: 0 } : all
}

const withoutKeptBack = (circuit: LiveCircuit, { ballots }: FleetState, now: number): EvidenceSnapshot => {
  const all = seen(circuit, now)
  const { keptBack } = ballots
  if (keptBack === undefined) return all
  if (keptBack.epoch !== circuit.countingSince) {
    ballots.keptBack = undefined
    return all
  }
  return without(all, keptBack.streak, stillHeld(circuit, keptBack, now))
}

/** The part of earlier counts that the windows still contain. `then` is of the same epoch. */
const stillHeld = (circuit: LiveCircuit, then: KeptBack, now: number): ReadonlyArray<Window.Counts | undefined> => {
  const since = callsOf(circuit) - then.calls
  return Trip.windows(circuit.policy.trip).map((over, index) => {
    const isGone = over._tag === "Calls" ? since >= over.calls : now - then.at >= over.millis
    return isGone ? undefined : then.counts[index]
  })
}

/** When the store goes down: copies the evidence so far, which ballots may contain later. */
export const copyEvidence = (circuit: LiveCircuit, fleetState: FleetState, now: number): void => {
  const epoch = circuit.countingSince
  const { successes } = circuit
  fleetState.ballots.whenDown = { ...seen(circuit, now), epoch, calls: callsOf(circuit), successes }
}

/** When the store answers again: keeps evidence since it went down, or all evidence without a copy, out of ballots. */
export const keepBack = (circuit: LiveCircuit, fleetState: FleetState, now: number): void => {
  const { ballots } = fleetState
  const epoch = circuit.countingSince
  const all = seen(circuit, now)
  const before = ballots.whenDown
  ballots.whenDown = undefined
  const calls = callsOf(circuit)
  if (before === undefined || before.epoch !== epoch) {
    ballots.keptBack = { ...all, epoch, calls }
    return
  }
  const rest = stillHeld(circuit, before, now)
  // A success since the copy was made has ended the streak in it.
  const streak = circuit.successes > before.successes ? 0 : before.streak
  ballots.keptBack = { ...without(all, streak, rest), epoch, calls }
}

const without = (
  all: EvidenceSnapshot,
  streak: number,
  counts: ReadonlyArray<Window.Counts | undefined>
): EvidenceSnapshot => ({
  at: all.at,
  streak: Math.max(0, all.streak - streak),
  counts: all.counts.map((one, index) => less(one, counts[index]))
})

const less = (counts: Window.Counts, of: Window.Counts | undefined): Window.Counts => ({
  calls: Math.max(0, counts.calls - (of?.calls ?? 0)),
  failures: Math.max(0, counts.failures - (of?.failures ?? 0)),
  slow: Math.max(0, counts.slow - (of?.slow ?? 0)),
  weight: Math.max(0, counts.weight - (of?.weight ?? 0))
})
