import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import type { Reason } from "../shapes/CircuitOpen.ts"
import { type Circuits, named } from "./dependencies.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { deciding, effective, rampingName } from "./standing.ts"
import type { Time } from "./time.ts"

/**
 * The call runs, and its outcome counts. Only a share of the calls that are admitted as `Ramp` runs: the others are rejected as
 * `Ramping`. A `NameProbe` is a probe of the circuit of the name.
 */
export interface Admit {
  readonly _tag: "Admit"
  readonly as: "Normal" | "Ramp" | "Probe" | "NameProbe"
}

/**
 * The call runs, and its outcome does not count: an operator has disabled the circuit, `enabled` is false, or the policy observes and
 * would otherwise reject the call.
 */
export interface Pass {
  readonly _tag: "Pass"
  readonly why: "Disabled" | "SwitchedOff" | "Observed"
  /** Whether the limit would reject the call in mode `enforce`. */
  readonly overLimit?: true
}

/** The call does not run. */
export interface Reject {
  readonly _tag: "Reject"
  /** `ProbeTimedOut` is the end of an admitted call, and never an answer. */
  readonly reason: Exclude<Reason, "ProbeTimedOut">
  /** The circuit that decides: the circuit of the call, the circuit of its name, or a dependency. */
  readonly by: LiveCircuit
  /** Whole milliseconds until a call could run. `Infinity` if no end is known. */
  readonly wait: number
}

export type Answer = Admit | Pass | Reject

// Constants, so that a call that is not rejected allocates nothing.
const admit = {
  Normal: { _tag: "Admit", as: "Normal" },
  Ramp: { _tag: "Admit", as: "Ramp" },
  Probe: { _tag: "Admit", as: "Probe" },
  NameProbe: { _tag: "Admit", as: "NameProbe" }
} as const satisfies Record<Admit["as"], Admit>

const pass = {
  Disabled: { _tag: "Pass", why: "Disabled" },
  SwitchedOff: { _tag: "Pass", why: "SwitchedOff" },
  Observed: { _tag: "Pass", why: "Observed" }
} as const satisfies Record<Pass["why"], Pass>

const overLimit: Pass = { _tag: "Pass", why: "Observed", overLimit: true }

/**
 * Decides about a call of a circuit at the time `now`. It reads `enabled`, the overrides, the dependencies, the state of the circuit,
 * and the limit, in this order. The first one that rejects the call gives the reason.
 *
 * The hot paths below are shortcuts with the same result. This function changes nothing and does not ask the store. If `enabled` is an
 * effect or a function, it counts as true here: only a call runs it, see {@link switchedOn}.
 */
export const answer = (circuits: Circuits, circuit: LiveCircuit, now: number): Answer =>
  circuit.policy.enabled === false
    ? pass.SwitchedOff
    : byState(circuits, circuit, now, circuit.policy.mode === "observe")

/** {@link answer} as if `mode` were `enforce` and `enabled` were true. */
export const enforced = (circuits: Circuits, circuit: LiveCircuit, now: number): Answer =>
  byState(circuits, circuit, now, false)

const byState = (circuits: Circuits, circuit: LiveCircuit, now: number, observes: boolean): Answer => {
  const by = deciding(circuit, now)
  const state = Circuit.expire(by.control.value, now)
  if (state._tag === "Disabled") return pass.Disabled
  if (state._tag === "Isolated") return reject(circuits, circuit, now, "Isolated", observes, by)
  const blocker = blockerOf(circuits, circuit, now)
  if (blocker !== undefined) return reject(circuits, circuit, now, "Dependency", observes, blocker)
  const result = ofState(circuits, circuit, by, state, now, observes)
  if (result._tag === "Reject" || result._tag === "Pass") return result
  // A probe of the name has to pass the circuit of its key, too.
  if (by !== circuit) {
    const own = ofState(circuits, circuit, circuit, Circuit.expire(circuit.control.value, now), now, observes)
    return own._tag === "Admit" ? admit.NameProbe : own
  }
  return result === admit.Normal && rampingName(circuit, now) !== undefined ? admit.Ramp : result
}

/** The answer by the state of `by`: the circuit itself, or the circuit of its name. */
const ofState = (
  circuits: Circuits,
  circuit: LiveCircuit,
  by: LiveCircuit,
  state: Circuit.Circuit,
  now: number,
  observes: boolean
): Answer => {
  if (hasSpareLease(by, now)) return admit.Probe
  switch (Circuit.admission(state, now, by.policy)) {
    case "Normal":
      if (circuit.limit === undefined || circuit.limit.admits(circuit.inFlightAt(now), now)) return admit.Normal
      if (observes) return overLimit
      return { _tag: "Reject", reason: "Limited", by: circuit, wait: circuit.limit.retryAfter(now) }
    case "Ramp":
      return admit.Ramp
    case "Probe":
      return isAskingForLease(by) ? reject(circuits, circuit, now, "ProbesBusy", observes, by) : admit.Probe
    default:
      return reject(circuits, circuit, now, state._tag === "HalfOpen" ? "ProbesBusy" : "Cooldown", observes, by)
  }
}

/** The answer to a call that was admitted but cannot run: the share of the ramp is used up, or the fleet has no lease for it. */
export const refused = (
  circuits: Circuits,
  circuit: LiveCircuit,
  now: number,
  reason: "Ramping" | "ProbesBusy",
  by = circuit
): Pass | Reject => reject(circuits, circuit, now, reason, circuit.policy.mode === "observe", by)

/**
 * The circuit that the error of a rejection is about: the circuit of the call, or the circuit of its name if that circuit decided.
 */
export const subjectOf = (circuit: LiveCircuit, { by, reason }: Reject): LiveCircuit =>
  reason === "Isolated" || reason === "Dependency" ? circuit : by

/** The wait while another call of this process asks the fleet for a lease. */
const askedAgainMillis = 50

const reject = (
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
 * Milliseconds until a call runs, as far as is known now: the longest wait of the overrides, the dependencies and the state of the
 * circuit. Rounded up, because timers take whole milliseconds.
 */
const waitOf = (circuits: Circuits, circuit: LiveCircuit, now: number): number => {
  let at = now
  for (;;) {
    const by = deciding(circuit, at)
    const state = Circuit.expire(by.control.value, at)
    if (state._tag === "Disabled") return Math.ceil(at - now)
    let until = rejectsUntil(state)
    // After the name, the circuit of the key decides.
    const own = by === circuit ? state : Circuit.expire(circuit.control.value, at)
    if (until <= at) until = rejectsUntil(own)
    if (until <= at) {
      const blocker = blockerOf(circuits, circuit, at)
      if (blocker === undefined) {
        const name = by === circuit ? rampingName(circuit, now)?.control.value : state
        const waits = [own, ...(name === undefined ? [] : [name])]
        return Math.ceil(Math.max(at - now, ...waits.map((one) => Circuit.retryAfter(one, now, by.policy))))
      }
      until = rejectsUntil(effective(blocker, at))
    }
    if (until === Infinity) return Infinity
    at = until
  }
}

/**
 * {@link Reject.wait} by the state alone, and 0 if a call would run now. During a ramp it is at most one second, because any call may
 * run then.
 */
export const retryAfter = (circuits: Circuits, circuit: LiveCircuit, now: number): number => {
  const result = enforced(circuits, circuit, now)
  if (result._tag === "Reject") return result.wait
  return result === admit.Ramp ? waitOf(circuits, circuit, now) : 0
}

const rejectsUntil = (state: Circuit.Circuit): number =>
  state._tag === "Open" || state._tag === "Isolated" ? state.until : Number.NEGATIVE_INFINITY

/**
 * The first direct or indirect dependency of `circuit` that rejects every call. A dependency whose cooldown is over does not block
 * calls, because one of them may be the probe that closes it.
 */
export const blockerOf = (circuits: Circuits, circuit: LiveCircuit, now: number): LiveCircuit | undefined =>
  circuit.policy.dependsOn.length === 0
    ? undefined
    : blockerBeneath(circuits, circuit, now, new Set([circuit.group.name]))

/** Visits each name once. A dependency that lets every call run does not block, and its own dependencies are not visited. */
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
      const state = effective(other, now)
      if (state._tag === "Disabled") continue
      if (now < rejectsUntil(state)) return other
      const deeper = blockerBeneath(circuits, other, now, seen)
      if (deeper !== undefined) return deeper
    }
  }
  return undefined
}

/** Whether the fleet has given a lease that came too late for the call that asked for it. The next call takes it. */
const hasSpareLease = (circuit: LiveCircuit, now: number): boolean => {
  const spare = circuit.fleetState?.lease.spare
  return spare !== undefined && spare.epoch === circuit.control.value.epoch && now < spare.until
}

/** Whether another call is asking the fleet for a lease. A process asks for one lease at a time. */
const isAskingForLease = ({ control, fleetState }: LiveCircuit): boolean =>
  fleetState?.lease.asking === true && fleetState.isFleets(control.value)

/** Whether every call would run now, and not only a probe. A ramp or a limit rejects only some calls, so it counts as passing. */
export const passesAll = (circuits: Circuits, circuit: LiveCircuit, now: number): boolean => {
  if (circuit.policy.mode === "observe") return true
  const result = answer(circuits, circuit, now)
  if (result._tag === "Reject") return result.reason === "Limited"
  return result !== admit.Probe && result !== admit.NameProbe
}

/** Whether the circuit rejects calls for the whole wait of a rejection. Calls in flight or a health check may end other waits earlier. */
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

/** Whether only the state and the limit of the circuit decide, and no flag, dependency or override. */
const decidesAlone = ({ group, key, plain }: LiveCircuit): boolean =>
  plain && !group.forced && (!group.held || key === undefined)

/** The time now if the circuit admits a normal call. Otherwise `undefined`, and {@link answer} has to decide. */
export const admitsAt = (circuit: LiveCircuit, time: Time): number | undefined => {
  const control = circuit.control.value
  if (control._tag !== "Closed" || !decidesAlone(circuit)) return undefined
  const now = time.now()
  if (circuit.limit?.admits(circuit.inFlight, now) === false) return undefined
  return now >= control.rampUntil ? now : undefined
}

/** The time now if the circuit rejects a call because of its cooldown. Otherwise `undefined`, and {@link answer} has to decide. */
export const rejectsAt = (circuit: LiveCircuit, time: Time): number | undefined => {
  const control = circuit.control.value
  if (control._tag !== "Open" || !decidesAlone(circuit)) return undefined
  const now = time.now()
  return now < control.until ? now : undefined
}

/** {@link answer} of a circuit that is Open or HalfOpen, if only the state decides. Otherwise `undefined`. */
export const answerAlone = (circuits: Circuits, circuit: LiveCircuit, now: number): Answer | undefined => {
  const { _tag } = circuit.control.value
  return (_tag === "Open" || _tag === "HalfOpen") && decidesAlone(circuit) ? answer(circuits, circuit, now) : undefined
}

export const cooldownWait = ({ control: { value } }: LiveCircuit, now: number): number =>
  value._tag === "Open" ? Math.ceil(value.until - now) : 0

/** Runs the flag `enabled` of a policy. A flag that fails counts as true. */
export const switchedOn = ({ group: { name }, key, policy: { enabled } }: LiveCircuit): Effect.Effect<boolean> =>
  Effect.matchCause(
    Effect.suspend(() => {
      const value = typeof enabled === "function" ? enabled({ name, key }) : enabled
      return Effect.isEffect(value) ? value : Effect.succeed(value)
    }),
    { onFailure: () => true, onSuccess: (on: unknown) => on !== false }
  )
