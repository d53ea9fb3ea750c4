import * as Duration from "effect/Duration"
import * as Circuit from "../core/Circuit.ts"
import type * as Window from "../core/Window.ts"
import type { Override } from "../shapes/BreakerEvent.ts"
import { overridesOf } from "../shapes/overrides.ts"
import { blockerOf, retryAfter } from "./answer.ts"
import type { BudgetView } from "./budget.ts"
import type { LastFailure, LiveCircuit, TenantCounts } from "./liveCircuit.ts"
import type { Registry } from "./registry.ts"
import { effective, scopeOf } from "./standing.ts"

/** What a window of a circuit's trip holds now. */
export interface WindowView extends Window.Counts {
  /** A number of calls, or a duration. */
  readonly over: number | Duration.Duration
  readonly failureRate: number
  readonly slowRate: number
}

/** Everything about one circuit, at one moment. */
export interface Inspection {
  readonly circuit: string
  readonly key: string | undefined
  readonly state: Circuit.State
  /** Whose state it is: this process's own, or the fleet's. */
  readonly scope: "local" | "fleet"
  readonly mode: "enforce" | "observe"
  /** `false` where the policy switches it off: every call passes, whatever the state. An effect counts as `true`. */
  readonly enabled: boolean
  /** The name of a circuit that this one depends on and that lets no calls through now. */
  readonly blockedBy: string | undefined
  readonly epoch: number
  /** Why it opened, while it is Open or HalfOpen; who forced it and why, while it is Isolated or Disabled. */
  readonly cause: { readonly why: Circuit.Why; readonly detail: string; readonly actor: string | undefined } | undefined
  /**
   * When the state began: the wall clock of the latest move, in milliseconds since 1970; 0 if there was none. Of several overrides it is
   * the start of the one that decides.
   */
  readonly since: number
  /** The overrides of this circuit that operators have set and that have not ended: first the one that decides. */
  readonly overrides: ReadonlyArray<Override>
  /**
   * The outage that the circuit is in, also beneath an override; `undefined` while it is Closed. `since` is the start of its first
   * opening by the wall clock, in milliseconds since 1970, and `openings` is the number of its openings.
   */
  readonly outage: { readonly since: number; readonly openings: number } | undefined
  /**
   * How long until a call passes by the state of the circuit, zero if it passes now, infinite while isolated without expiry. A second
   * at most while probes or a ramp decide: a call may pass before. A policy that only observes or is switched off lets calls pass
   * nevertheless.
   */
  readonly retryAfter: Duration.Duration
  readonly openings: number
  /** Failures in a row. */
  readonly streak: number
  readonly inFlight: number
  /** Calls that hold a probe's place. */
  readonly probing: number
  readonly windows: ReadonlyArray<WindowView>
  /**
   * The share of recent calls that failed, from 0 to 1: in the window of the trip that holds the most calls, or in the last 10
   * seconds if the trip reads no window. 1 while the circuit is Open or HalfOpen. `undefined` if no recent call is counted.
   */
  readonly failureRate: number | undefined
  /** Since the circuit was made. `calls` were admitted and counted; `passed` ran uncounted; `rejected` did not run. */
  readonly totals: {
    readonly calls: number
    readonly successes: number
    readonly failures: number
    readonly ignored: number
    readonly slow: number
    readonly rejected: number
    readonly passed: number
    /** What `enforce` would have rejected; part of `passed`. */
    readonly wouldReject: number
  }
  /** What its retry budget has counted lately, and refused since it was made; nothing where it has none. */
  readonly retries: BudgetView | undefined
  /** The latest few, oldest first. */
  readonly lastFailures: ReadonlyArray<LastFailure>
  /** By tenant, where the policy counts a shared circuit's tenants. */
  readonly tenants: Readonly<Record<string, Readonly<TenantCounts>>>
}

const causeOf = (control: Circuit.Circuit): Inspection["cause"] => {
  switch (control._tag) {
    case "Closed":
      return undefined
    case "Open":
    case "HalfOpen":
      return control.cause
    default:
      return { why: control._tag, detail: control.reason, actor: control.actor }
  }
}

const outageOf = (control: Circuit.Circuit): Inspection["outage"] => {
  const outage = Circuit.outage(control)
  return outage && { since: Math.round(outage.at), openings: outage.openings }
}

const failureRateOf = (circuit: LiveCircuit, state: Circuit.State, now: number): number | undefined => {
  if (state === "Open" || state === "HalfOpen") return 1
  const { calls, failures } = circuit.seen().recent(now)
  return calls === 0 ? undefined : failures / calls
}

/** Reads a circuit; nothing in it changes but what time has made obsolete. */
export const inspect = (registry: Registry, circuit: LiveCircuit): Inspection => {
  const now = registry.runtime.time.now()
  circuit.lapse(now)
  const control = effective(circuit, now)
  const blocker = control._tag === "Disabled" ? undefined : blockerOf(registry, circuit, now)
  // What an override on the name hides is still this circuit's own.
  const own = Circuit.expire(circuit.control.value, now)
  return {
    circuit: circuit.group.name,
    key: circuit.key,
    state: control._tag,
    scope: scopeOf(circuit, now),
    mode: circuit.policy.mode,
    enabled: circuit.policy.enabled !== false,
    blockedBy: blocker?.group.name,
    epoch: own.epoch,
    cause: causeOf(control),
    since: circuit.movedAt,
    overrides: overridesOf(own, now, registry.runtime.time.wall()),
    outage: outageOf(own),
    retryAfter: Duration.millis(retryAfter(registry, circuit, now)),
    openings: Circuit.openings(own, now),
    streak: circuit.seen().streakAt(now),
    inFlight: circuit.inFlight,
    probing: own._tag === "HalfOpen" ? own.leases.filter((lease) => now < lease.until).length : 0,
    windows: circuit
      .seen()
      .counts(now)
      .map(({ counts, over }) => ({
        over: over._tag === "Calls" ? over.calls : Duration.millis(over.millis),
        ...counts,
        failureRate: counts.calls === 0 ? 0 : counts.failures / counts.calls,
        slowRate: counts.calls === 0 ? 0 : counts.slow / counts.calls
      })),
    failureRate: failureRateOf(circuit, control._tag, now),
    totals: {
      calls: circuit.calls,
      successes: circuit.successes,
      failures: circuit.failures,
      ignored: circuit.ignored,
      slow: circuit.slow,
      rejected: circuit.rejected,
      passed: circuit.passed,
      wouldReject: circuit.wouldReject
    },
    retries: circuit.budget?.view(now),
    lastFailures: circuit.lastFailures === undefined ? [] : [...circuit.lastFailures],
    tenants: Object.fromEntries([...(circuit.tenants ?? [])].map(([id, counts]) => [id, { ...counts }]))
  }
}
