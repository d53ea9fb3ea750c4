import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import { printable } from "../core/printable.ts"
import type { Transition } from "../shapes/BreakerEvent.ts"
import { toTransition } from "../shapes/transition.ts"
import { announce, isHeard } from "./announce.ts"
import { inTurn } from "./inTurn.ts"
import { limitNews } from "./limits.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import type { Runtime } from "./runtime.ts"
import { noteTransition } from "./spans.ts"
import { stand } from "./standing.ts"

export interface Moved {
  readonly from: Circuit.Circuit
  readonly to: Circuit.Circuit
  /** The time of the move, by the monotonic clock. */
  readonly now: number
  readonly counts: Transition["counts"]
}

/** A move. The fiber of the caller runs `news` to write the span and the log. */
export interface MovedNow extends Moved {
  readonly news: Effect.Effect<void> | undefined
}

/** Returns the next state. */
export type Next = (current: Circuit.Circuit, now: number) => Circuit.Circuit

/** What the event of a move contains in addition to the states. */
export interface MoveDetails {
  readonly detail?: string | undefined
  readonly actor?: string | undefined
  /** For a transition of the fleet: the process that made it. */
  readonly process?: string | undefined
  /** For a transition of the fleet: when the state began, by the wall clock of the process that wrote it. */
  readonly since?: number | undefined
  /** For an action that `Operator` took on the store: its id. */
  readonly action?: string | undefined
  /** With `action`: the time of the action, by the wall clock. */
  readonly at?: number | undefined
  /** Whether this process found the state when it started. */
  readonly found?: boolean | undefined
}

const wakeable = Promise.resolve()

/**
 * Sets the state of a circuit, as a transaction on one `TxRef` would. A transaction that has read the old state runs again, and one that
 * waits for a change is woken. Nothing else runs in between, so none of the work of `Effect.tx` is needed.
 */
const commit = ({ control }: LiveCircuit, to: Circuit.Circuit): void => {
  control.version++
  control.value = to
  if (!control.hasPending) return
  const waiting = [...control.pending.values()]
  control.pending.clear()
  // The fibers that wait must not run in the middle of a move.
  void wakeable.then(() => {
    for (const wake of waiting) wake()
  })
}

const step = (
  runtime: Runtime,
  circuit: LiveCircuit,
  why: Circuit.Why,
  next: Next,
  { process }: MoveDetails
): Moved | undefined => {
  const from = circuit.control.value
  const now = runtime.time.now()
  const to = next(from, now)
  if (to === from) return undefined
  if (process !== undefined && circuit.fleetState !== undefined) circuit.fleetState.record.adopted = to.epoch
  const counts = from.epoch === to.epoch ? undefined : circuit.lastSeen(from.epoch, now)
  if (keepsEvidence(from, to, why)) circuit.carry(from.epoch, to.epoch)
  // The limit must know before the first call of the new epoch asks it.
  if (why === "Reset") circuit.limit?.reset(circuit.inFlight, now)
  else if (!isClosedBeneath(from) && isClosedBeneath(to) && !isOfKeys(circuit)) {
    circuit.limit?.closed(circuit.policy.probes, circuit.inFlight, now)
  }
  commit(circuit, to)
  return { from, to, now, counts }
}

/** Whether calls with keys use the circuit of their name. They do not count for its limit, so a limit that began here would never end. */
const isOfKeys = (circuit: LiveCircuit): boolean => {
  const { governs, keyed, overflow, single } = circuit.group
  return governs && circuit === single && (keyed !== undefined || overflow !== undefined)
}

const isClosedBeneath = (circuit: Circuit.Circuit): boolean =>
  (Circuit.isForced(circuit) ? circuit.under : circuit)._tag === "Closed"

/**
 * Whether the evidence of the old epoch still counts in the new one: an override was set, ended or changed while the circuit under it
 * stayed Closed.
 */
const keepsEvidence = (from: Circuit.Circuit, to: Circuit.Circuit, why: Circuit.Why): boolean =>
  (Circuit.isForced(from) || Circuit.isForced(to)) &&
  isClosedBeneath(from) &&
  isClosedBeneath(to) &&
  why !== "Reset" &&
  why !== "Imported"

/**
 * Moves a circuit at once to the state that `next` returns, and announces the move if a new epoch begins. Nothing happens if `next`
 * returns the current state.
 */
export const moveNow = (
  runtime: Runtime,
  circuit: LiveCircuit,
  why: Circuit.Why,
  next: Next,
  details: MoveDetails = {}
): MovedNow | undefined => {
  const moved = step(runtime, circuit, why, next, details)
  return moved === undefined ? undefined : { ...moved, news: follow(runtime, circuit, moved, why, details) }
}

/** {@link moveNow} as an effect, which also writes the log. */
export const move = (...args: Parameters<typeof moveNow>): Effect.Effect<Moved | undefined> =>
  Effect.uninterruptible(
    Effect.suspend(() => {
      const moved = moveNow(...args)
      return moved?.news === undefined ? Effect.succeed(moved) : Effect.as(moved.news, moved)
    })
  )

export interface Move {
  readonly circuit: LiveCircuit
  readonly next: Next
  readonly details: MoveDetails
}

/** Moves several circuits at once, so that no reader sees only some of them moved. */
export const moveTogether = (runtime: Runtime, moves: ReadonlyArray<Move>, why: Circuit.Why): Effect.Effect<void> =>
  Effect.uninterruptible(
    Effect.suspend(() => {
      const moved = moves.map(({ circuit, details, next }) => step(runtime, circuit, why, next, details))
      const news = moves.map(({ circuit, details }, i) => follow(runtime, circuit, moved[i], why, details))
      return Effect.forEach(news, (one) => one ?? Effect.void, { discard: true })
    })
  )

/** Ends an override that has expired. If the override was that of the fleet, the state under it is that of the fleet, too. */
export const expire = (runtime: Runtime, circuit: LiveCircuit): Effect.Effect<unknown> =>
  Effect.suspend(() => {
    const { fleetState } = circuit
    const control = circuit.control.value
    const fleets = fleetState?.isFleets(control) === true && !fleetState.record.ownBeneath
    const { action, process } = (fleets ? fleetState.record.known?.provenance : undefined) ?? {}
    // A process notices the end at its next call. The event has the time at which the override ended.
    const { now, wall } = runtime.time
    const at =
      action !== undefined && Circuit.isForced(control) ? Math.round(wall() - (now() - control.until)) : undefined
    return move(runtime, circuit, "Expired", Circuit.expire, { process, action, at })
  })

/**
 * After the commit, if a new epoch began: updates counts, starts or stops the health check, informs the peers, and announces the move.
 * Returns the effect that the fiber of the caller still has to run: it writes the span and the log.
 */
const follow = (
  runtime: Runtime,
  circuit: LiveCircuit,
  moved: Moved | undefined,
  why: Circuit.Why,
  details: MoveDetails
): Effect.Effect<void> | undefined => {
  if (moved === undefined || moved.from.epoch === moved.to.epoch) return undefined
  const { counts, from, now, to } = moved
  const { process } = details
  // An Open circuit that the fleet opens, too, or that gets another end, does not count as another opening.
  if (from._tag !== to._tag) circuit.group.moves[to._tag]++
  const before = Circuit.outage(from)
  const outage = Circuit.outage(to)
  if (before === undefined && outage !== undefined) circuit.group.outages++
  if (before !== undefined && outage === undefined && process !== undefined && circuit.fleetState !== undefined) {
    circuit.fleetState.record.ended = before.at
  }
  // A transition of the fleet may seem illegal, because this process does not see all transitions in between.
  if (process === undefined && !Circuit.isLegal(from._tag, to._tag, why)) {
    throw new Error(
      `effect-fuse: illegal move of "${printable(circuit.group.name)}" from ${from._tag} to ${to._tag} (${why})`
    )
  }
  // If an outage begins here, the event has the same time as the outage.
  const at = before === undefined && process === undefined && outage !== undefined ? outage.at : runtime.time.wall()
  // An earlier override may decide now. Its state began when it was set.
  const began = Circuit.isForced(to) ? Math.round(at - (now - to.since)) : at
  circuit.movedAt = details.since ?? began
  // The first call after a close runs, whatever the share of the ramp is.
  circuit.rampCredit = 1
  // Another move may have happened since the commit, so this reads the current state.
  if (circuit === circuit.group.single) stand(circuit.group)
  runtime.checkHealth(circuit)
  if (process === undefined) runtime.peers?.moved(circuit, from, to, why)
  // A move without an event costs a fifth less. This code therefore creates the event only for a log or an observer.
  if (!isHeard(runtime)) return limitNews(runtime, circuit, now, "Closed")
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
  const announced = announce(runtime, event, details.found, lastFailure(circuit, event))
  const news = limitNews(runtime, circuit, now, "Closed")
  if (!runtime.logsEvents) return undefined
  return Effect.withFiber((fiber) => {
    noteTransition(fiber, runtime.time, event)
    return inTurn(announced, news) ?? Effect.void
  })
}

/** The last failure before a circuit tripped, for the log. `undefined` if it tripped without a failure, for example on slow calls. */
const lastFailure = ({ lastFailures }: LiveCircuit, { counts, why }: Transition): string | undefined =>
  why === "Tripped" && counts !== undefined && counts.failures + counts.streak > 0
    ? lastFailures?.at(-1)?.error
    : undefined
