import * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import type { FleetState, KnownRecord } from "../engine/fleetState.ts"
import { isByPeople, isLift } from "../store/record.ts"

/*
 * How the fleet's state of a circuit becomes the state of this process. These functions change nothing: `Records` calls them when it
 * adopts a record.
 */

/** The longest random delay of the first probe, which is up to a tenth of the opening: processes do not all ask at once. */
export const maxJitterMillis = 1_000

/** When the store drops a record that was written at `writtenAt`. */
export const keptUntil = (circuit: Circuit.Circuit, writtenAt: number, why: Circuit.Why): number =>
  writtenAt + (Fleet.keptFor(circuit, writtenAt, isLift(why)) ?? Infinity)

/** The state beneath the overrides. */
export const beneath = (circuit: Circuit.Circuit): Circuit.Circuit =>
  Circuit.isForced(circuit) ? circuit.under : circuit

/** Whether an opening outlasts the other state by more than the random delay of processes. */
export const outlasts = (own: Circuit.Circuit, other: Circuit.Circuit, now: number): boolean =>
  own._tag === "Open" && own.until > now && (other._tag !== "Open" || own.until > other.until + maxJitterMillis)

/** Other processes count the end of an opening from when the store wrote it. This process must not be earlier than they are. */
export const endingLater = (circuit: Circuit.Circuit, by: number): Circuit.Circuit => {
  if (circuit._tag === "Open") return { ...circuit, until: circuit.until + by }
  if (!Circuit.isForced(circuit) || circuit.under._tag !== "Open") return circuit
  return { ...circuit, under: { ...circuit.under, until: circuit.under.until + by } }
}

/** An opening lasts at least until `until`. */
export const lastingTo = (state: Circuit.Circuit, until: number): Circuit.Circuit =>
  state._tag === "Open" ? { ...state, until: Math.max(state.until, until) } : state

/** Delays the end of the fleet's state by `jitter`, and never to before the end that this process already knew. */
export const delayed = (
  state: Circuit.Circuit,
  from: Circuit.Circuit,
  jitter: number,
  why: Circuit.Why
): Circuit.Circuit => {
  if (Circuit.isForced(state)) {
    // When the override ends, the opening beneath it may be long over in all processes, so only `spread` delays the probe. A release
    // needs the real end of the opening.
    return jitter > 0 && state.under._tag === "Open" ? { ...state, spread: jitter } : state
  }
  if (state._tag === "HalfOpen" && jitter > 0) {
    return { ...state, leases: state.leases.map(({ id, until }) => ({ id, until: until + jitter })) }
  }
  if (state._tag !== "Open") return state
  const until = state.until + jitter
  // An operator action may shorten an opening, except a release, which only ends overrides.
  const mayShorten = isByPeople(why) && why !== "Released"
  return { ...state, until: from._tag === "Open" && !mayShorten ? Math.max(from.until, until) : until }
}

/** The fleet's state with this process's number of openings if that is higher: it includes openings that the fleet does not know. */
export const withOwnOpenings = (
  there: Circuit.Circuit,
  from: Circuit.Circuit,
  now: number,
  why: Circuit.Why
): Circuit.Circuit => {
  if (isByPeople(why) || Circuit.isForced(there) || Circuit.isForced(from)) return there
  if (there._tag === "Closed") {
    const openings = Circuit.openings(from, now)
    if (openings <= there.openings) return there
    const openFor = from._tag === "Open" ? Math.min(now, from.until) - from.since : from.openFor
    return { ...there, openings, openFor: Math.max(there.openFor, openFor) }
  }
  const least = from._tag === "Closed" ? Circuit.nextOpening(from, now) : from.openings
  return there.openings >= least ? there : { ...there, openings: least }
}

/** The fleet's state, with a new epoch unless the circuit is already in this state. */
export const withEpoch = (
  from: Circuit.Circuit,
  there: Circuit.Circuit,
  fleetState: FleetState,
  why: Circuit.Why,
  expected: boolean
): Circuit.Circuit => {
  const fleets = fleetState.isFleets(from)
  // This process probes alone, because the store did not answer: its own probes decide.
  if (from._tag === "HalfOpen" && there._tag === "HalfOpen" && !fleets) return from
  const same =
    from._tag === there._tag &&
    (there._tag === "Closed" ? expected || why !== "Reset" : fleets && (expected || there._tag === "HalfOpen"))
  return { ...there, epoch: same ? from.epoch : from.epoch + 1 }
}

/** Whether the fleet closed the circuit before this process opened it by itself. */
export const isOutlived = (
  own: Circuit.Circuit,
  fleetState: FleetState,
  { provenance, circuit }: KnownRecord
): boolean =>
  circuit._tag === "Closed" &&
  own._tag === "Open" &&
  !fleetState.isFleets(own) &&
  own.since > circuit.since &&
  !isByPeople(provenance.why)
