/**
 * The pure state machine of one circuit: what is admitted, what an outcome changes, what people may force.
 *
 * Nothing here reads a clock, counts calls or publishes anything. Time is an argument, in milliseconds of a monotonic
 * clock, and the next state is the result. Every move gets a new `epoch`, a fencing token: an outcome that was admitted
 * under another epoch changes nothing.
 *
 * @since 0.1.0
 */

import { add, isStanding, type Override, type Overrides } from "./override.ts"
import type { Why } from "./transitions.ts"

export type { Override } from "./override.ts"
export {
  edges,
  isLegal,
  type State,
  type Why
} from "./transitions.ts"

/**
 * Why a circuit opened: the reason, a sentence with the figures, and the operator who did it, if one did.
 *
 * @category models
 */
export interface Cause {
  readonly why: Why
  readonly detail: string
  readonly actor: string | undefined
}

/**
 * Calls pass and are counted. `openings` and `openFor` are the memory of the last opening: they are forgotten once the
 * circuit has stayed closed for `openFor`. Until `rampUntil` only a growing share of calls passes.
 *
 * @category models
 */
export interface Closed {
  readonly _tag: "Closed"
  readonly epoch: number
  readonly since: number
  readonly openings: number
  readonly openFor: number
  readonly rampUntil: number
}

/**
 * The time from the first opening of a circuit until it closes again; failed probes belong to it.
 *
 * - `since`: when the first opening began.
 * - `at`: the same moment by the wall clock of the process that opened, in milliseconds since 1970, the same in every process.
 * - `openings`: how many openings the outage has had, at least 1.
 * - `agreed`: how many processes of how many agreed when the fleet last opened the circuit in this outage; absent if it did not.
 *
 * @category models
 */
export interface Outage {
  readonly since: number
  readonly at: number
  readonly openings: number
  readonly agreed?: Agreement
}

/**
 * How many processes, of all that might have objected, agreed that the circuit opens.
 *
 * @category models
 */
export interface Agreement {
  readonly processes: number
  readonly of: number
}

/**
 * Calls are rejected from `since` until `until`; the first one after that is a probe.
 *
 * @category models
 */
export interface Open {
  readonly _tag: "Open"
  readonly epoch: number
  readonly since: number
  readonly until: number
  readonly openings: number
  readonly outage: Outage
  readonly cause: Cause
}

/**
 * The place of one probe. From `until` on it may be given to another, so that a probe that is never heard of again does not
 * hold it for ever.
 *
 * @category models
 */
export interface Lease {
  readonly id: number
  readonly until: number
}

/**
 * A few probes decide. `openFor` is how long calls were rejected before.
 *
 * @category models
 */
export interface HalfOpen {
  readonly _tag: "HalfOpen"
  readonly epoch: number
  readonly since: number
  readonly openings: number
  readonly openFor: number
  readonly outage: Outage
  readonly cause: Cause
  readonly successes: number
  readonly failures: number
  /** Ignored probes in a row. */
  readonly ignored: number
  readonly leases: ReadonlyArray<Lease>
  readonly nextLease: number
}

/**
 * Set by operators, with what would hold without them. The state, its start, its end, the reason and the operator are those of
 * the override that decides: one that isolates decides over one that disables, and of two of a kind the one that ends last.
 *
 * - `until`: `Infinity` if it does not expire.
 * - `others`: the overrides that stand beside it. They never shorten it, and it never shortens them.
 * - `spread`: an opening beneath lasts this many milliseconds longer than the overrides, if these end by themselves: processes of
 *   a fleet do not all probe at once then. If it is not set, the opening keeps its end.
 *
 * @category models
 */
export interface Forced<Tag extends "Isolated" | "Disabled"> extends Override {
  readonly _tag: Tag
  readonly epoch: number
  readonly others: ReadonlyArray<Override>
  readonly under: Closed | Open
  readonly spread?: number
}

/** @category models */
export type Isolated = Forced<"Isolated">

/** @category models */
export type Disabled = Forced<"Disabled">

/** @category models */
export type Circuit = Closed | Open | HalfOpen | Isolated | Disabled

/**
 * The part of a policy that the machine reads; durations in milliseconds.
 *
 * @category models
 */
export interface Rules {
  /** How many probes may run at once. */
  readonly probes: number
  /** How many probes must succeed to close. */
  readonly successesToClose: number
  /** How many probes must fail to open again, if not enough have succeeded before. */
  readonly failuresToReopen: number
  readonly probeTimeoutMillis: number
  /** How long a growing share of calls is admitted after a close; 0 for no ramp. */
  readonly rampMillis: number
}

/**
 * A circuit that nothing has happened to.
 *
 * @category constructors
 */
export const initial: Closed = { _tag: "Closed", epoch: 0, since: 0, openings: 0, openFor: 0, rampUntil: 0 }

/**
 * What becomes of a call that arrives now.
 *
 * - `Normal`: runs, and its outcome is counted.
 * - `Ramp`: the circuit has just closed; a growing share of calls runs as `Normal`, see {@link rampShare}.
 * - `Probe`: takes a place with {@link probe} and runs under its lease.
 * - `Pass`: runs, and tells nobody anything (Disabled).
 * - `Reject`: see {@link retryAfter}.
 * - `Expired`: an override has run out; {@link expire} it and ask again.
 *
 * @category models
 */
export type Admission = "Normal" | "Ramp" | "Probe" | "Pass" | "Reject" | "Expired"

/** @category admission */
export const admission = (circuit: Circuit, now: number, rules: Rules): Admission => {
  switch (circuit._tag) {
    case "Closed":
      return now < circuit.rampUntil ? "Ramp" : "Normal"
    case "Open":
      return now >= circuit.until ? "Probe" : "Reject"
    case "HalfOpen":
      return liveLeases(circuit.leases, now).length < rules.probes ? "Probe" : "Reject"
    case "Isolated":
      return now >= circuit.until ? "Expired" : "Reject"
    case "Disabled":
      return now >= circuit.until ? "Expired" : "Pass"
  }
}

const soon = 1000

/**
 * Milliseconds until a call may pass, 0 if one may now: the rest of an opening or of an override and what is beneath it.
 * While probes hold every place their verdict is near, and during a ramp some call may pass at any time: a second at most.
 * `Infinity` for an override without expiry. Ask after {@link expire}.
 *
 * @category admission
 */
export const retryAfter = (circuit: Circuit, now: number, rules: Rules): number => {
  switch (circuit._tag) {
    case "Closed":
      return Math.min(soon, Math.max(0, circuit.rampUntil - now))
    case "Open":
      return Math.max(0, circuit.until - now)
    case "Isolated": {
      const rest = Math.max(0, circuit.until - now)
      // One that disables and lasts longer lets every call through then.
      const passes = isDisabledAfter(circuit)
      return passes ? rest : Math.max(rest, retryAfter(circuit.under, now, rules))
    }
    case "Disabled":
      return 0
    case "HalfOpen": {
      const live = liveLeases(circuit.leases, now)
      return live.length < rules.probes ? 0 : Math.min(soon, ...live.map((lease) => lease.until - now))
    }
  }
}

/**
 * The share of calls that a ramp lets through: from a tenth, right after the close, to all.
 *
 * @category admission
 */
export const rampShare = (circuit: Closed, now: number): number => {
  const length = circuit.rampUntil - circuit.since
  return length <= 0 ? 1 : Math.min(1, 0.1 + (0.9 * (now - circuit.since)) / length)
}

/**
 * Takes a place for a probe. Only where {@link admission} said `Probe`; the lease's `id` is what settles it.
 *
 * @category admission
 */
export const probe = (circuit: Open | HalfOpen, now: number, rules: Rules): HalfOpen => {
  const until = now + rules.probeTimeoutMillis
  if (circuit._tag === "HalfOpen") {
    const lease = { id: circuit.nextLease, until }
    return { ...circuit, leases: [...liveLeases(circuit.leases, now), lease], nextLease: lease.id + 1 }
  }
  const { cause, epoch, openings, outage } = circuit
  const openFor = circuit.until - circuit.since
  const leases = [{ id: 0, until }]
  return {
    _tag: "HalfOpen",
    epoch: epoch + 1,
    since: now,
    openings,
    openFor,
    outage,
    cause,
    successes: 0,
    failures: 0,
    ignored: 0,
    leases,
    nextLease: 1
  }
}

const liveLeases = (leases: ReadonlyArray<Lease>, now: number): ReadonlyArray<Lease> =>
  leases.every((lease) => now < lease.until) ? leases : leases.filter((lease) => now < lease.until)

/**
 * What a probe found. A failure brings the opening that follows from it.
 *
 * @category models
 */
export type Verdict =
  | { readonly _tag: "Success" }
  | { readonly _tag: "Ignored" }
  | { readonly _tag: "Failure"; readonly openFor: number; readonly cause: Cause }

/**
 * Whether a probe still has its lease: a lease that has expired may have gone to another probe.
 *
 * @category getters
 */
export const holdsLease = (circuit: Circuit, lease: number): boolean =>
  circuit._tag === "HalfOpen" && circuit.leases.some((one) => one.id === lease)

/**
 * What a probe that ends changes. Its lease is given back; if that had lapsed and was given to another, the verdict changes
 * nothing. The circuit closes at `successesToClose` successes and opens again at `failuresToReopen` failures, whichever comes first.
 *
 * Leases are numbered anew in each HalfOpen: ask only where the epoch is still the one of the permit.
 *
 * @category settling
 */
export const settleProbe = (
  circuit: HalfOpen,
  lease: number,
  verdict: Verdict,
  now: number,
  rules: Rules
): Closed | Open | HalfOpen => {
  if (!holdsLease(circuit, lease)) return circuit
  const leases = circuit.leases.filter((one) => one.id !== lease)
  if (verdict._tag === "Failure") {
    const failures = circuit.failures + 1
    if (failures >= rules.failuresToReopen) return open(circuit, now, { ...verdict, at: circuit.outage.at })
    return { ...circuit, leases, failures, ignored: 0 }
  }
  if (verdict._tag === "Ignored") return { ...circuit, leases, ignored: circuit.ignored + 1 }
  const successes = circuit.successes + 1
  if (successes >= rules.successesToClose) return close(circuit, now, rules)
  return { ...circuit, leases, successes, ignored: 0 }
}

/**
 * How many openings count at `now`: those of a circuit that has stayed closed as long as it was last open are forgotten.
 *
 * @category getters
 */
export const openings = (circuit: Circuit, now: number): number => {
  switch (circuit._tag) {
    case "Closed":
      return now - circuit.since >= circuit.openFor ? 0 : circuit.openings
    case "Isolated":
    case "Disabled":
      return openings(circuit.under, now)
    default:
      return circuit.openings
  }
}

/**
 * The number that an opening now would have. Opening an Open circuit again counts no further one.
 *
 * @category getters
 */
export const nextOpening = (circuit: Circuit, now: number): number => {
  if (isForced(circuit)) return nextOpening(circuit.under, now)
  return openings(circuit, now) + (circuit._tag === "Open" ? 0 : 1)
}

/**
 * The outage that a circuit is in, also beneath an override; `undefined` while it is Closed.
 *
 * @category getters
 */
export const outage = (circuit: Circuit): Outage | undefined => {
  if (isForced(circuit)) return outage(circuit.under)
  return circuit._tag === "Closed" ? undefined : circuit.outage
}

/**
 * Opens, for `openFor` milliseconds. Opening an Open circuit moves its end and counts no further opening. `at` is the wall
 * clock, in milliseconds since 1970: a Closed circuit begins an outage then.
 *
 * @category moves
 */
export const open = (
  circuit: Closed | Open | HalfOpen,
  now: number,
  options: { readonly openFor: number; readonly cause: Cause; readonly at: number }
): Open => ({
  _tag: "Open",
  epoch: circuit.epoch + 1,
  since: circuit._tag === "Open" ? circuit.since : now,
  until: now + options.openFor,
  openings: nextOpening(circuit, now),
  outage: outageAfter(circuit, now, options.at),
  cause: options.cause
})

const outageAfter = (circuit: Closed | Open | HalfOpen, now: number, at: number): Outage => {
  if (circuit._tag === "Closed") return { since: now, at, openings: 1 }
  const { outage } = circuit
  return circuit._tag === "Open" ? outage : { ...outage, openings: outage.openings + 1 }
}

/**
 * Closes, with the policy's ramp, and remembers how long calls were rejected. A Closed circuit stays what it is.
 *
 * @category moves
 */
export const close = (circuit: Closed | Open | HalfOpen, now: number, rules: Rules): Closed => {
  if (circuit._tag === "Closed") return circuit
  return {
    _tag: "Closed",
    epoch: circuit.epoch + 1,
    since: now,
    openings: circuit.openings,
    openFor: circuit._tag === "Open" ? Math.min(now, circuit.until) - circuit.since : circuit.openFor,
    rampUntil: rules.rampMillis > 0 ? now + rules.rampMillis : 0
  }
}

/**
 * As new, but for the epoch: calls admitted before it change nothing after it.
 *
 * @category moves
 */
export const reset = (circuit: Circuit, now: number): Closed => ({ ...initial, epoch: circuit.epoch + 1, since: now })

/**
 * Sets an override, over what would hold without it. Overrides that stand already go on: a later one never shortens an earlier one.
 * A second one of the same kind by the same operator extends the first. Probes in flight lose their say: an override over HalfOpen
 * has an opening under it whose cooldown is over.
 *
 * @category moves
 */
export const force = (
  circuit: Circuit,
  tag: "Isolated" | "Disabled",
  now: number,
  { actor, reason, until }: Pick<Override, "until" | "reason" | "actor">
): Isolated | Disabled => {
  const standing = overrides(circuit).filter((one) => isStanding(one, now))
  const spread = isForced(circuit) ? circuit.spread : undefined
  const all = add(standing, { _tag: tag, since: now, until, reason, actor })
  return over(all, beneath(circuit, now), circuit.epoch + 1, spread)
}

const over = (
  [first, ...others]: Overrides,
  under: Closed | Open,
  epoch: number,
  spread: number | undefined
): Isolated | Disabled => ({ ...first, epoch, others, under, ...(spread === undefined ? {} : { spread }) })

/**
 * The overrides of a circuit: first the one that decides, then the others.
 *
 * @category getters
 */
export const overrides = (circuit: Circuit): ReadonlyArray<Override> => {
  if (!isForced(circuit)) return []
  const { _tag, actor, others, reason, since, until } = circuit
  return [{ _tag, since, until, reason, actor }, ...others]
}

/** Whether calls pass at the end of an isolation, because the circuit is disabled for longer. */
const isDisabledAfter = ({ others, until }: Isolated): boolean =>
  others.some((one) => one._tag === "Disabled" && isStanding(one, until))

/**
 * Ends all overrides. A circuit without one does not change. An opening beneath them keeps its end.
 *
 * @category moves
 */
export const release = (circuit: Circuit): Circuit =>
  isForced(circuit) ? { ...circuit.under, epoch: circuit.epoch + 1 } : circuit

/**
 * Ends the override that decides, if its time is over. Another one that stands decides then.
 *
 * @category moves
 */
export const expire = (circuit: Circuit, now: number): Circuit => {
  if (!isForced(circuit) || now < circuit.until) return circuit
  const [first, ...others] = circuit.others.filter((one) => isStanding(one, now))
  if (first === undefined) return { ...outlasting(circuit), epoch: circuit.epoch + 1 }
  return over([first, ...others], circuit.under, circuit.epoch + 1, circuit.spread)
}

/** What is beneath an override that has ended by itself. */
const outlasting = ({ spread, under, until }: Isolated | Disabled): Closed | Open =>
  spread === undefined || under._tag !== "Open" ? under : { ...under, until: Math.max(under.until, until) + spread }

/** @category guards */
export const isForced = (circuit: Circuit): circuit is Isolated | Disabled =>
  circuit._tag === "Isolated" || circuit._tag === "Disabled"

/**
 * Applies {@link open} or {@link close} beneath an override, which stays.
 *
 * @category moves
 */
export const moveUnder = (
  circuit: Circuit,
  move: (under: Closed | Open | HalfOpen) => Closed | Open
): Closed | Open | Isolated | Disabled => {
  if (!isForced(circuit)) return move(circuit)
  const under = move(circuit.under)
  return under === circuit.under ? circuit : { ...circuit, epoch: circuit.epoch + 1, under }
}

const beneath = (circuit: Circuit, now: number): Closed | Open => {
  if (isForced(circuit)) return circuit.under
  if (circuit._tag !== "HalfOpen") return circuit
  const { cause, epoch, openFor, openings, outage } = circuit
  return { _tag: "Open", epoch, since: now - openFor, until: now, openings, outage, cause }
}
