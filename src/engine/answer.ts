import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import type { Reason } from "../shapes/CircuitOpen.ts"
import { type Circuits, named } from "./dependencies.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { deciding, effective } from "./standing.ts"
import type { Time } from "./time.ts"

/**
 * The call runs, and its outcome counts. Of calls admitted as `Ramp` only a share runs: each call draws from that share, and may
 * yet be rejected as `Ramping`.
 */
export interface Admit {
  readonly _tag: "Admit"
  readonly as: "Normal" | "Ramp" | "Probe"
}

/**
 * The call runs, and its outcome does not count: an operator has disabled the circuit, the policy switches it off, or the policy
 * only observes and would reject the call if it enforced.
 */
export interface Pass {
  readonly _tag: "Pass"
  readonly why: "Disabled" | "SwitchedOff" | "Observed"
}

/** The call does not run. */
export interface Reject {
  readonly _tag: "Reject"
  /** A probe that takes too long was admitted before: no answer is `ProbeTimedOut`. */
  readonly reason: Exclude<Reason, "ProbeTimedOut">
  /** The circuit that decides: the circuit of the call, the circuit of its name, or a dependency. */
  readonly by: LiveCircuit
  /** Milliseconds until a call could pass, whole ones. `Infinity` if no end is known. */
  readonly wait: number
}

/** What a call would be told. */
export type Answer = Admit | Pass | Reject

/** Constants, so that a call that is not rejected allocates nothing. */
const admit = {
  Normal: { _tag: "Admit", as: "Normal" },
  Ramp: { _tag: "Admit", as: "Ramp" },
  Probe: { _tag: "Admit", as: "Probe" }
} as const satisfies Record<Admit["as"], Admit>

const pass = {
  Disabled: { _tag: "Pass", why: "Disabled" },
  SwitchedOff: { _tag: "Pass", why: "SwitchedOff" },
  Observed: { _tag: "Pass", why: "Observed" }
} as const satisfies Record<Pass["why"], Pass>

/**
 * What a call of a circuit would be told at a time, if nothing changed until then but by time itself. In this order: the policy's
 * switch, an override, a dependency, the circuit's own state (which is the fleet's or this process's). The first that rejects the
 * call gives the reason.
 *
 * This is the only place that answers the question. It changes nothing and asks no store. A switch that is an effect counts as on:
 * only a call runs it, see {@link switchedOn}.
 */
export const answer = (circuits: Circuits, circuit: LiveCircuit, now: number): Answer =>
  circuit.policy.enabled === false
    ? pass.SwitchedOff
    : byState(circuits, circuit, now, circuit.policy.mode === "observe")

/** {@link answer} as if the policy enforced and were switched on: what the state alone says. */
export const enforced = (circuits: Circuits, circuit: LiveCircuit, now: number): Answer =>
  byState(circuits, circuit, now, false)

const byState = (circuits: Circuits, circuit: LiveCircuit, now: number, observes: boolean): Answer => {
  const holds = effective(circuit, now)
  if (holds._tag === "Disabled") return pass.Disabled
  if (holds._tag === "Isolated") return no(circuits, circuit, now, "Isolated", observes, deciding(circuit, now))
  const blocker = blockerOf(circuits, circuit, now)
  if (blocker !== undefined) return no(circuits, circuit, now, "Dependency", observes, blocker)
  if (hasSpareLease(circuit, now)) return admit.Probe
  switch (Circuit.admission(holds, now, circuit.policy)) {
    case "Normal":
      return admit.Normal
    case "Ramp":
      return admit.Ramp
    case "Probe":
      return isAskingForLease(circuit) ? no(circuits, circuit, now, "ProbesBusy", observes) : admit.Probe
    default:
      return no(circuits, circuit, now, holds._tag === "HalfOpen" ? "ProbesBusy" : "Cooldown", observes)
  }
}

/** The rejection that a call finds out by itself: its share of a ramp is used up, or the fleet gives it no lease. */
export const refused = (
  circuits: Circuits,
  circuit: LiveCircuit,
  now: number,
  reason: "Ramping" | "ProbesBusy"
): Pass | Reject => no(circuits, circuit, now, reason, circuit.policy.mode === "observe")

/** The wait while a lease is being asked for: the answer is not known yet. */
const askedAgainMillis = 50

const no = (
  circuits: Circuits,
  circuit: LiveCircuit,
  now: number,
  reason: Reject["reason"],
  observes: boolean,
  by = circuit
): Pass | Reject => {
  if (observes) return pass.Observed
  const wait = waitOf(circuits, circuit, now)
  return { _tag: "Reject", reason, by, wait: reason === "ProbesBusy" && wait === 0 ? askedAgainMillis : wait }
}

/**
 * Milliseconds until a call passes, as far as is known now: the longest wait of all that rejects calls, which are overrides,
 * dependencies and the circuit's own state. Rounded up, because timers know only whole ones.
 */
const waitOf = (circuits: Circuits, circuit: LiveCircuit, now: number): number => {
  let at = now
  for (;;) {
    const holds = effective(circuit, at)
    if (holds._tag === "Disabled") return Math.ceil(at - now)
    let until = rejectsUntil(holds)
    if (until <= at) {
      const blocker = blockerOf(circuits, circuit, at)
      if (blocker === undefined) return Math.ceil(Math.max(at - now, Circuit.retryAfter(holds, now, circuit.policy)))
      until = rejectsUntil(effective(blocker, at))
    }
    if (until === Infinity) return Infinity
    at = until
  }
}

/**
 * {@link Reject.wait}, and 0 if a call would pass now, by the state alone. While a ramp lets a share of calls pass it is a second at
 * most, the time at which another call is worth a try.
 */
export const retryAfter = (circuits: Circuits, circuit: LiveCircuit, now: number): number => {
  const told = enforced(circuits, circuit, now)
  if (told._tag === "Reject") return told.wait
  return told === admit.Ramp ? waitOf(circuits, circuit, now) : 0
}

/** The time until which a state rejects every call. */
const rejectsUntil = (holds: Circuit.Circuit): number =>
  holds._tag === "Open" || holds._tag === "Isolated" ? holds.until : Number.NEGATIVE_INFINITY

/**
 * The first circuit on which `circuit` depends, directly or not, that rejects every call. A circuit whose cooldown is over lets a
 * probe through, so that it can close.
 */
export const blockerOf = (circuits: Circuits, circuit: LiveCircuit, now: number): LiveCircuit | undefined =>
  circuit.policy.dependsOn.length === 0
    ? undefined
    : blockerBeneath(circuits, circuit, now, new Set([circuit.group.name]))

/** Each name is looked at once. A circuit that lets every call pass blocks nothing, nor does what it depends on. */
const blockerBeneath = (
  circuits: Circuits,
  circuit: LiveCircuit,
  now: number,
  seen: Set<string>
): LiveCircuit | undefined => {
  for (const name of circuit.policy.dependsOn) {
    if (seen.has(name)) continue
    seen.add(name)
    for (const other of named(circuits, name, circuit.key)) {
      if (other.policy.mode === "observe" || other.policy.enabled === false) continue
      const holds = effective(other, now)
      if (holds._tag === "Disabled") continue
      if (now < rejectsUntil(holds)) return other
      const deeper = blockerBeneath(circuits, other, now, seen)
      if (deeper !== undefined) return deeper
    }
  }
  return undefined
}

/** Whether a lease of the fleet is there that came too late for the call that asked for it: the next call takes it. */
const hasSpareLease = (circuit: LiveCircuit, now: number): boolean => {
  const spare = circuit.fleetState?.lease.spare
  return spare !== undefined && spare.epoch === circuit.control.value.epoch && now < spare.until
}

/** Whether another call is asking the fleet for a lease: a process asks for one at a time. */
const isAskingForLease = ({ control, fleetState }: LiveCircuit): boolean =>
  fleetState?.lease.asking === true && fleetState.isFleets(control.value)

/** Whether every call that came now would pass, and not only a probe. */
export const passesAll = (circuits: Circuits, circuit: LiveCircuit, now: number): boolean => {
  if (circuit.policy.mode === "observe") return true
  const told = answer(circuits, circuit, now)
  return told._tag !== "Reject" && told !== admit.Probe
}

/** Whether calls are rejected until the time of a rejection, whatever the calls in flight find. A health check may close a circuit. */
export const isLasting = ({ by, reason }: Reject): boolean => {
  switch (reason) {
    case "Isolated":
      return true
    case "Cooldown":
    case "Dependency":
      return by.policy.probe === undefined
    default:
      return false
  }
}

// ---- The hot paths --------------------------------------------------------------------------------------------------

/** Whether nothing but the circuit's own state decides: not a flag, a dependency or an override. */
const decidesAlone = (circuit: LiveCircuit): boolean => circuit.plain && !circuit.group.forced

/** The time now if the circuit admits a call at once, as a normal call. Otherwise `undefined`: {@link answer} decides. */
export const admitsAt = (circuit: LiveCircuit, time: Time): number | undefined => {
  const control = circuit.control.value
  if (control._tag !== "Closed" || !decidesAlone(circuit)) return undefined
  const now = time.now()
  return now >= control.rampUntil ? now : undefined
}

/** The time now if the circuit rejects a call at once, because of its cooldown. Otherwise `undefined`: {@link answer} decides. */
export const rejectsAt = (circuit: LiveCircuit, time: Time): number | undefined => {
  const control = circuit.control.value
  if (control._tag !== "Open" || !decidesAlone(circuit)) return undefined
  const now = time.now()
  return now < control.until ? now : undefined
}

/** Milliseconds until the end of the opening that a circuit is in, whole ones. */
export const cooldownWait = ({ control: { value } }: LiveCircuit, now: number): number =>
  value._tag === "Open" ? Math.ceil(value.until - now) : 0

/** Whether the switch of a circuit's policy is on. A switch that cannot be read counts as on. */
export const switchedOn = ({ group: { name }, key, policy: { enabled } }: LiveCircuit): Effect.Effect<boolean> =>
  Effect.matchCause(
    Effect.suspend(() => {
      const said = typeof enabled === "function" ? enabled({ name, key }) : enabled
      return Effect.isEffect(said) ? said : Effect.succeed(said)
    }),
    { onFailure: () => true, onSuccess: (on: unknown) => on !== false }
  )
