import type * as EffectCause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import * as TxRef from "effect/TxRef"
import * as Circuit from "../core/Circuit.ts"
import { foreignText } from "../core/foreign.ts"
import { printable } from "../core/printable.ts"
import type { Policy } from "../policy/policy.ts"
import type { BreakerEvent, Transition } from "../shapes/BreakerEvent.ts"
import { toTransition } from "../shapes/transition.ts"
import { openFor } from "./cooldown.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { logEvent, quietly } from "./logEvent.ts"
import type { Runtime } from "./runtime.ts"
import { noteTransition } from "./spans.ts"
import { timeout } from "./timeout.ts"

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
  watch(runtime, circuit)
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

export const announce = (
  runtime: Runtime,
  event: BreakerEvent,
  found = false,
  last?: string | undefined
): Effect.Effect<void> => {
  tell(runtime, event)
  return logEvent(event, { found, last, own: runtime.peers?.process })
}

/** Announces an event to the observers and the event stream, without a line in the log. */
export const tell = (runtime: Runtime, event: BreakerEvent): void => {
  for (const observe of runtime.observers) observe(event)
  PubSub.publishUnsafe(runtime.events, [event])
}

/** An opening whose length is known, for the moves of `Circuit`. */
export interface Opening {
  readonly openFor: number
  readonly cause: Circuit.Cause
  /** Wall clock, milliseconds since 1970. */
  readonly at: number
}

/** Opens a circuit that is still in the epoch in which that was decided, for as long as its policy or a hint says. */
export const open = (
  runtime: Runtime,
  circuit: LiveCircuit,
  epoch: number,
  cause: Circuit.Cause,
  hintUntil: number,
  next: (current: Circuit.Circuit, now: number, opening: Opening) => Circuit.Circuit,
  process?: string
): Effect.Effect<Moved | undefined> =>
  Effect.flatMap(nextCooldown(runtime, circuit, circuit.control.value, hintUntil), (millis) =>
    move(
      runtime,
      circuit,
      cause.why,
      (current, now) =>
        current.epoch === epoch ? next(current, now, { openFor: millis, cause, at: runtime.time.wall() }) : current,
      { ...cause, process }
    )
  )

/** Opens a Closed circuit because of what this process has seen. */
export const openTripped = (
  runtime: Runtime,
  circuit: LiveCircuit,
  epoch: number,
  now: number,
  detail: string
): Effect.Effect<Moved | undefined> => {
  runtime.peers?.opening(circuit, now)
  const cause: Circuit.Cause = { why: "Tripped", detail, actor: undefined }
  return open(runtime, circuit, epoch, cause, circuit.seen().hintUntil, (current, now, opening) =>
    current._tag === "Closed" ? Circuit.open(current, now, opening) : current
  )
}

/** How long the next opening of a circuit lasts. A schedule that dies costs no caller his call. */
export const nextCooldown = (
  runtime: Runtime,
  { policy }: LiveCircuit,
  current: Circuit.Circuit,
  hintUntil: number
): Effect.Effect<number> => {
  const now = runtime.time.now()
  const opening = Circuit.nextOpening(current, now)
  return Effect.catchCause(openFor(policy, opening, Math.max(0, hintUntil - now)), (cause) =>
    Effect.as(
      quietly(Effect.logError(`The cooldown schedule of a circuit failed; maxCooldown is used: ${foreignText(cause)}`)),
      policy.maxCooldownMillis
    )
  )
}

/**
 * Runs the policy's health check while the circuit is Open or HalfOpen, and while it is Closed if the check may open it. Each of the
 * two begins the schedule anew.
 */
export const watch = (runtime: Runtime, circuit: LiveCircuit): void => {
  const { policy, watching: running } = circuit
  const down = isDown(circuit.control.value)
  const wanted = down || mayOpen(circuit) ? policy.probe : undefined
  if (sameProbe(running?.probe, wanted) && (running === undefined || running.down === down)) return
  circuit.unwatch()
  if (wanted === undefined) return
  let failures = 0
  const check = Effect.suspend(() => {
    const { epoch } = circuit.control.value
    return Effect.flatMap(
      Effect.exit(timeout(wanted.check, policy.probeTimeoutMillis)),
      (exit): Effect.Effect<unknown> => {
        failures = exit._tag === "Failure" ? failures + 1 : 0
        if (down) return failures > 0 ? Effect.void : passed(runtime, circuit, epoch)
        return exit._tag === "Failure" && failures >= wanted.opens
          ? failed(runtime, circuit, epoch, exit.cause)
          : Effect.void
      }
    )
  })
  const schedule = typeof wanted.schedule === "number" ? Schedule.spaced(wanted.schedule) : wanted.schedule
  // A schedule that ends leaves the next opening to begin it anew.
  const ended = Effect.sync(() => {
    if (circuit.watching === watching) circuit.watching = undefined
  })
  const checks = Effect.catchCause(Effect.schedule(check, schedule), (cause) =>
    quietly(
      Effect.logError(
        `The schedule of a circuit's health check failed; it runs no more in this opening: ${foreignText(cause)}`
      )
    )
  )
  const fiber = runtime.background(Effect.ensuring(checks, ended))
  const watching = { probe: wanted, down, stop: () => fiber.interruptUnsafe() }
  circuit.watching = watching
}

/** Closes the circuit. */
const passed = (runtime: Runtime, circuit: LiveCircuit, epoch: number): Effect.Effect<unknown> =>
  move(runtime, circuit, "HealthCheckPassed", (current, now) =>
    current.epoch === epoch && isDown(current) ? Circuit.close(current, now, circuit.policy) : current
  )

/** Opens the circuit, as a trip does. */
const failed = (
  runtime: Runtime,
  circuit: LiveCircuit,
  epoch: number,
  why: EffectCause.Cause<unknown>
): Effect.Effect<unknown> => {
  // What has changed since the check began decides without it.
  if (circuit.control.value.epoch !== epoch || !mayOpen(circuit)) return Effect.void
  return openTripped(runtime, circuit, epoch, runtime.time.now(), `the health check failed: ${foreignText(why)}`)
}

/** Whether the health check may open the circuit now. */
const mayOpen = ({ control, policy }: LiveCircuit): boolean =>
  control.value._tag === "Closed" && policy.enabled !== false && policy.probe !== undefined && policy.probe.opens > 0

const sameProbe = (a: Policy["probe"], b: Policy["probe"]): boolean =>
  a === b ||
  (a !== undefined &&
    b !== undefined &&
    a.check === b.check &&
    a.opens === b.opens &&
    Equal.equals(a.schedule, b.schedule))

const isDown = (control: Circuit.Circuit): control is Circuit.Open | Circuit.HalfOpen =>
  control._tag === "Open" || control._tag === "HalfOpen"

/** Logs an error of the user's code, the first time for each circuit. */
export const reportOnce = (
  circuit: LiveCircuit,
  part: "trip" | "classify",
  message: string,
  error: unknown
): Effect.Effect<void> | undefined => {
  if (!circuit.reportsFirst(part)) return undefined
  const subject = `A ${part === "trip" ? "custom trip" : "classifier"} of the circuit "${printable(circuit.group.name)}"`
  return quietly(Effect.logError(`${subject} ${message}: ${foreignText(error)}`))
}

/** An event is announced each time that this number of probes in a row was Ignored. */
const ignoredProbes = 10

/** Announces that a circuit stays HalfOpen because its probes are Ignored. */
export const reportIgnored = (
  runtime: Runtime,
  circuit: LiveCircuit,
  moved: Moved | undefined
): Effect.Effect<void> => {
  const to = moved?.to
  if (to?._tag !== "HalfOpen" || to.ignored === 0 || to.ignored % ignoredProbes !== 0) return Effect.void
  return announce(runtime, {
    _tag: "ProbesIgnored",
    circuit: circuit.group.name,
    ...(circuit.key === undefined ? {} : { key: circuit.key }),
    at: runtime.time.wall(),
    epoch: to.epoch,
    probes: to.ignored
  })
}
