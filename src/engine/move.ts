import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as TxRef from "effect/TxRef"
import * as Circuit from "../core/Circuit.ts"
import { printable } from "../core/printable.ts"
import type { Transition } from "../shapes/BreakerEvent.ts"
import { toTransition } from "../shapes/transition.ts"
import { announce } from "./announce.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import type { Runtime } from "./runtime.ts"
import { noteTransition } from "./spans.ts"

/** What a move did. */
export interface Moved {
  readonly from: Circuit.Circuit
  readonly to: Circuit.Circuit
  /** When, by the monotonic clock. */
  readonly now: number
  /** What was seen in the epoch that ended. */
  readonly counts: Transition["counts"]
}

/** What becomes of a state at a time. It may be asked more than once. */
export type Next = (current: Circuit.Circuit, now: number) => Circuit.Circuit

/** What a move is announced with: the figures or the reason, and who it was. */
export interface MoveDetails {
  readonly detail?: string | undefined
  readonly actor?: string | undefined
  /** Set for a move that is the fleet's: which process made it. */
  readonly process?: string | undefined
  /** Set for a transition of the fleet: when the state began, by the wall clock of the process that wrote it. */
  readonly since?: number | undefined
  /** Set for what somebody outside of the fleet did: what names that act. */
  readonly action?: string | undefined
  /** Set with `action`: the time of the action, by the wall clock. */
  readonly at?: number | undefined
  /** Set for what this process finds when it starts: it is no news. */
  readonly found?: boolean | undefined
}

type Ref = TxRef.TxRef<Circuit.Circuit>

/** The part of a move that is done in a transaction, which may do it again. */
const step = (
  runtime: Runtime,
  circuit: LiveCircuit,
  why: Circuit.Why,
  next: Next,
  { process }: MoveDetails
): Effect.Effect<Moved | undefined> =>
  TxRef.modify(circuit.control, (from): [Moved | undefined, Circuit.Circuit] => {
    const now = runtime.time.now()
    const to = next(from, now)
    if (to === from) return [undefined, to]
    if (process !== undefined && circuit.fleetState !== undefined) circuit.fleetState.record.adopted = to.epoch
    const counts = from.epoch === to.epoch ? undefined : circuit.lastSeen(from.epoch, now)
    if (goesOnCounting(from, to, why)) circuit.carry(from.epoch, to.epoch)
    return [{ from, to, now, counts }, to]
  })

const isClosedBeneath = (circuit: Circuit.Circuit): boolean =>
  (Circuit.isForced(circuit) ? circuit.under : circuit)._tag === "Closed"

/**
 * Whether what was counted before goes on counting: an override was set, ended or changed over a circuit that was Closed and
 * still is.
 */
const goesOnCounting = (from: Circuit.Circuit, to: Circuit.Circuit, why: Circuit.Why): boolean =>
  (Circuit.isForced(from) || Circuit.isForced(to)) &&
  isClosedBeneath(from) &&
  isClosedBeneath(to) &&
  why !== "Reset" &&
  why !== "Imported"

/**
 * Moves a circuit, in a transaction, to what `next` makes of its state; nothing happens if that is the same state. A new
 * epoch is announced and logged, and starts or stops the health check. `reads` are states of other circuits on which `next`
 * rests: it is asked again if one of them changes meanwhile.
 */
export const move = (
  runtime: Runtime,
  circuit: LiveCircuit,
  why: Circuit.Why,
  next: Next,
  details: MoveDetails = {},
  reads: ReadonlyArray<Ref> = []
): Effect.Effect<Moved | undefined> => {
  const modify = step(runtime, circuit, why, next, details)
  const transaction =
    reads.length === 0 ? modify : Effect.tx(Effect.andThen(Effect.forEach(reads, TxRef.get, { discard: true }), modify))
  // Nothing may come between the commit and what follows from it.
  return Effect.uninterruptible(
    Effect.flatMap(outsideTransactions(transaction), (moved) =>
      Effect.as(follow(runtime, circuit, moved, why, details), moved)
    )
  )
}

/** One of several circuits that are moved together. */
export interface Move {
  readonly circuit: LiveCircuit
  readonly next: Next
  readonly details: MoveDetails
}

/** Moves several circuits in one transaction: nobody sees one of them moved and another not. */
export const moveTogether = (runtime: Runtime, moves: ReadonlyArray<Move>, why: Circuit.Why): Effect.Effect<void> => {
  const transaction = Effect.tx(
    Effect.forEach(moves, ({ details, circuit, next }) => step(runtime, circuit, why, next, details))
  )
  return Effect.uninterruptible(
    Effect.flatMap(outsideTransactions(transaction), (moved) =>
      Effect.forEach(moves, ({ details, circuit }, i) => follow(runtime, circuit, moved[i], why, details), {
        discard: true
      })
    )
  )
}

/** Ends an override that has run out. One that was the fleet's leaves what is the fleet's. */
export const expire = (runtime: Runtime, circuit: LiveCircuit): Effect.Effect<unknown> =>
  Effect.suspend(() => {
    const { fleetState } = circuit
    const control = circuit.control.value
    const fleets = fleetState?.isFleets(control) === true && !fleetState.record.ownBeneath
    const { action, process } = (fleets ? fleetState.record.known?.provenance : undefined) ?? {}
    // Processes detect the end at their next call. The event has the time at which the override ended.
    const { now, wall } = runtime.time
    const at =
      action !== undefined && Circuit.isForced(control) ? Math.round(wall() - (now() - control.until)) : undefined
    return move(runtime, circuit, "Expired", Circuit.expire, { process, action, at })
  })

/** What a circuit learns stays learnt: a caller's own transaction that is undone or run again does not undo it. */
const outsideTransactions: <A>(effect: Effect.Effect<A>) => Effect.Effect<A> = Effect.updateContext(
  Context.omit(Effect.Transaction)
)

/** What a move brings with it once it is done, if it began a new epoch. */
const follow = (
  runtime: Runtime,
  circuit: LiveCircuit,
  moved: Moved | undefined,
  why: Circuit.Why,
  details: MoveDetails
): Effect.Effect<void> => {
  if (moved === undefined || moved.from.epoch === moved.to.epoch) return Effect.void
  const { counts, from, now, to } = moved
  const { process } = details
  // That what it did alone is the fleet's word, too, or gets another end, is no second opening.
  if (from._tag !== to._tag) circuit.group.moves[to._tag]++
  const before = Circuit.outage(from)
  const outage = Circuit.outage(to)
  if (before === undefined && outage !== undefined) circuit.group.outages++
  if (before !== undefined && outage === undefined && process !== undefined && circuit.fleetState !== undefined) {
    circuit.fleetState.record.ended = before.at
  }
  // What others did in between was not seen: the fleet's moves may come from anywhere.
  if (process === undefined && !Circuit.isLegal(from._tag, to._tag, why)) {
    return Effect.die(
      new Error(
        `effect-fuse: illegal move of "${printable(circuit.group.name)}" from ${from._tag} to ${to._tag} (${why})`
      )
    )
  }
  // If this process starts an outage, the outage already has a start time. The event uses the same time.
  const at = before === undefined && process === undefined && outage !== undefined ? outage.at : runtime.time.wall()
  // An override that stood before may decide: its state began when it was set.
  const began = Circuit.isForced(to) ? Math.round(at - (now - to.since)) : at
  circuit.movedAt = details.since ?? began
  // The first call after a close passes, whatever the ramp's share.
  circuit.rampCredit = 1
  // Another move may have come in between: what holds now counts, and not what this one did.
  if (circuit === circuit.group.single) circuit.group.forced = Circuit.isForced(circuit.control.value)
  runtime.checkHealth(circuit)
  if (process === undefined) runtime.peers?.moved(circuit, from, to, why)
  const event = toTransition(from, to, now, circuit.policy, {
    circuit: circuit.group.name,
    key: circuit.key,
    why,
    at: details.at ?? at,
    detail: details.detail,
    actor: details.actor,
    process,
    action: details.action,
    scope: process === undefined ? "local" : "fleet",
    mode: circuit.policy.mode,
    counts
  })
  return Effect.withFiber((fiber) => {
    noteTransition(fiber, runtime.time, event)
    return announce(runtime, event, details.found, lastFailure(circuit, event))
  })
}

/** The last failure before a circuit tripped, for the log. `undefined` if it tripped for another reason, such as slow calls. */
const lastFailure = ({ lastFailures }: LiveCircuit, { counts, why }: Transition): string | undefined =>
  why === "Tripped" && counts !== undefined && counts.failures + counts.streak > 0
    ? lastFailures?.at(-1)?.error
    : undefined
