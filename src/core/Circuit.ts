/**
 * The pure state machine of one circuit: which calls it admits, what their outcomes change, and what operators can set.
 *
 * Time is an argument, in milliseconds of a monotonic clock, and the result is the next state. Every transition gets a new `epoch`, a
 * fencing token: the outcome of a call that was admitted in another epoch changes nothing.
 */
import { add, isInForce, type Override, type Overrides } from "./override.ts"
import type { Why } from "./transitions.ts"

export type { Override } from "./override.ts"
export { edges, isLegal, type State, type Why } from "./transitions.ts"

/**
 * Why a circuit opened. `detail` is a sentence with the figures; `actor` is the operator, if an operator opened the circuit.
 *
 * @category models
 */
export interface Cause {
  readonly why: Why
  readonly detail: string
  readonly actor: string | undefined
}

/**
 * Calls run and are counted. Until `rampUntil`, only a growing share of calls runs. `openings` counts the openings before, and
 * `openFor` is the length of the last one in milliseconds. Both are forgotten once the circuit has stayed Closed for `openFor`.
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
 * The time from the first opening of a circuit until it closes. A failed probe does not end an outage.
 *
 * - `since`: the start of the first opening. `at`: the same in milliseconds since 1970, by the clock of the process that opened.
 * - `openings`: the number of openings so far, at least 1.
 * - `agreed`: how many processes agreed when the fleet last opened the circuit in this outage. Absent if the fleet has not opened it.
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
 * `processes` of `of` processes agreed to open the circuit.
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
 * The permission of one probe to run. It expires at `until`, so that a probe that never ends does not block other probes for ever.
 *
 * @category models
 */
export interface Lease {
  readonly id: number
  readonly until: number
}

/**
 * Probes decide whether the circuit closes. `openFor` is the length of the opening before, in milliseconds; `ignored` counts Ignored
 * probes in a row.
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
  readonly ignored: number
  readonly leases: ReadonlyArray<Lease>
  readonly nextLease: number
}

/**
 * A state that operators set with one or more overrides. `Isolated` takes precedence over `Disabled`, and between overrides of the same
 * kind, the override that ends last decides. The reason, the operator and the times are those of the override that decides.
 *
 * - `until`: `Infinity` if the override does not expire.
 * - `others`: the other overrides in force. `under`: the state without overrides.
 * - `spread`: if the overrides expire, an opening under them lasts this many milliseconds longer than the overrides, so that not all
 *   processes of a fleet probe at once. Default: the opening keeps its own end.
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

/**
 * An operator has set that every call is rejected.
 *
 * @category models
 */
export type Isolated = Forced<"Isolated">

/**
 * An operator has set that every call runs and is not counted.
 *
 * @category models
 */
export type Disabled = Forced<"Disabled">

/**
 * The state of a circuit.
 *
 * @category models
 */
export type Circuit = Closed | Open | HalfOpen | Isolated | Disabled

/**
 * The part of a policy that the state machine reads, see `BreakerPolicy.Input`. Durations are in milliseconds.
 *
 * @category models
 */
export interface Rules {
  readonly probes: number
  readonly successesToClose: number
  readonly failuresToReopen: number
  readonly probeTimeoutMillis: number
  /** The length of the ramp after a close; 0 for no ramp. */
  readonly rampMillis: number
}

/**
 * The state of a new circuit.
 *
 * @category constructors
 */
export const initial: Closed = { _tag: "Closed", epoch: 0, since: 0, openings: 0, openFor: 0, rampUntil: 0 }

/**
 * What happens to a call that arrives now.
 *
 * - `Normal`: the call runs, and its outcome is counted.
 * - `Ramp`: the circuit has just closed; a share of the calls runs as `Normal`, see {@link rampShare}.
 * - `Probe`: the call takes a lease with {@link probe} and runs.
 * - `Pass`: the call runs, and its outcome is not counted (Disabled).
 * - `Reject`: the call does not run; {@link retryAfter} is the wait.
 * - `Expired`: an override has expired; call {@link expire}, then ask again.
 *
 * @category models
 */
export type Admission = "Normal" | "Ramp" | "Probe" | "Pass" | "Reject" | "Expired"

/**
 * Decides about a call that arrives at `now`.
 *
 * @category admission
 */
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
 * Milliseconds until a call may run; 0 if one may run now, `Infinity` if an override does not expire. At most one second while every
 * lease is taken and during a ramp, because a call may run at any time then. Call {@link expire} first.
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
 * The share of calls that run during a ramp: it grows from 0.1 at the close to 1 at the end.
 *
 * @category admission
 */
export const rampShare = (circuit: Closed, now: number): number => {
  const length = circuit.rampUntil - circuit.since
  return length <= 0 ? 1 : Math.min(1, 0.1 + (0.9 * (now - circuit.since)) / length)
}

/**
 * Takes a lease for a probe, the last one in `leases`. Call it only if {@link admission} returned `Probe`.
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
 * The outcome of a probe. A failure has the length (in milliseconds) and the cause of the opening that may follow.
 *
 * @category models
 */
export type Verdict =
  | { readonly _tag: "Success" }
  | { readonly _tag: "Ignored" }
  | { readonly _tag: "Failure"; readonly openFor: number; readonly cause: Cause }

/**
 * Whether a probe still has its lease. A lease that has expired may be gone.
 *
 * @category getters
 */
export const holdsLease = (circuit: Circuit, lease: number): boolean =>
  circuit._tag === "HalfOpen" && circuit.leases.some(({ id }) => id === lease)

/**
 * Ends a probe: returns its lease and counts its verdict. A probe without its lease changes nothing. The circuit closes at
 * `successesToClose` successes and opens again at `failuresToReopen` failures, whichever comes first. Call it only in the epoch of the
 * probe, because each HalfOpen state numbers its leases from 0.
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
 * How many openings in a row count at `now`. A circuit that has stayed Closed for as long as its last opening has none.
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
 * The number that an opening at `now` would have, from 1. Opening an Open circuit again is not another opening.
 *
 * @category getters
 */
export const nextOpening = (circuit: Circuit, now: number): number => {
  if (isForced(circuit)) return nextOpening(circuit.under, now)
  return openings(circuit, now) + (circuit._tag === "Open" ? 0 : 1)
}

/**
 * The outage that a circuit is in, also under an override. `undefined` if the circuit is Closed.
 *
 * @category getters
 */
export const outage = (circuit: Circuit): Outage | undefined => {
  if (isForced(circuit)) return outage(circuit.under)
  return circuit._tag === "Closed" ? undefined : circuit.outage
}

/**
 * Opens a circuit for `openFor` milliseconds. If it is Open already, only its end and its cause change. `at` is the time by the wall
 * clock, in milliseconds since 1970: the start of the outage if the circuit was Closed.
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
 * Closes a circuit, with the ramp of the policy. It remembers how long the opening lasted. A Closed circuit does not change.
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
 * The state of a new circuit, with a new epoch: calls that were admitted before change nothing.
 *
 * @category moves
 */
export const reset = (circuit: Circuit, now: number): Closed => ({ ...initial, epoch: circuit.epoch + 1, since: now })

/**
 * Sets an override. A later one never shortens an earlier one, and a second one of the same kind by the same operator extends the first.
 * Probes in flight no longer count: under the override, HalfOpen becomes Open with its cooldown over.
 *
 * @category moves
 */
export const force = (
  circuit: Circuit,
  tag: "Isolated" | "Disabled",
  now: number,
  { actor, reason, until }: Pick<Override, "until" | "reason" | "actor">
): Isolated | Disabled => {
  const inForce = overrides(circuit).filter((override) => isInForce(override, now))
  const spread = isForced(circuit) ? circuit.spread : undefined
  const all = add(inForce, { _tag: tag, since: now, until, reason, actor })
  return over(all, beneath(circuit, now), circuit.epoch + 1, spread)
}

const over = (
  [first, ...others]: Overrides,
  under: Closed | Open,
  epoch: number,
  spread: number | undefined
): Isolated | Disabled => ({ ...first, epoch, others, under, ...(spread === undefined ? {} : { spread }) })

/**
 * The overrides of a circuit. The override that decides comes first.
 *
 * @category getters
 */
export const overrides = (circuit: Circuit): ReadonlyArray<Override> => {
  if (!isForced(circuit)) return []
  const { _tag, actor, others, reason, since, until } = circuit
  return [{ _tag, since, until, reason, actor }, ...others]
}

const isDisabledAfter = ({ others, until }: Isolated): boolean =>
  others.some((override) => override._tag === "Disabled" && isInForce(override, until))

/**
 * Ends all overrides. A circuit without overrides does not change. An opening under them keeps its end.
 *
 * @category moves
 */
export const release = (circuit: Circuit): Circuit =>
  isForced(circuit) ? { ...circuit.under, epoch: circuit.epoch + 1 } : circuit

/**
 * If the override that decides has expired, ends it. Another one that is still in force then decides.
 *
 * @category moves
 */
export const expire = (circuit: Circuit, now: number): Circuit => {
  if (!isForced(circuit) || now < circuit.until) return circuit
  const [first, ...others] = circuit.others.filter((override) => isInForce(override, now))
  if (first === undefined) return { ...outlasting(circuit), epoch: circuit.epoch + 1 }
  return over([first, ...others], circuit.under, circuit.epoch + 1, circuit.spread)
}

const outlasting = ({ spread, under, until }: Isolated | Disabled): Closed | Open =>
  spread === undefined || under._tag !== "Open" ? under : { ...under, until: Math.max(under.until, until) + spread }

/**
 * Whether operators have set the state.
 *
 * @category guards
 */
export const isForced = (circuit: Circuit): circuit is Isolated | Disabled =>
  circuit._tag === "Isolated" || circuit._tag === "Disabled"

/**
 * Applies {@link open} or {@link close}. If the circuit has overrides, they stay, and the state under them changes.
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
