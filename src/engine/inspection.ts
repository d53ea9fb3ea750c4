import * as Duration from "effect/Duration"
import * as Circuit from "../core/Circuit.ts"
import type * as Window from "../core/Window.ts"
import type { Override } from "../shapes/BreakerEvent.ts"
import { overridesOf } from "../shapes/overrides.ts"
import { blockerOf, retryAfter } from "./answer.ts"
import type { BudgetView } from "./budget.ts"
import type { LastFailure, LiveCircuit, TenantCounts } from "./liveCircuit.ts"
import type { Registry } from "./registry.ts"
import { deciding, effective, scopeOf } from "./standing.ts"

/** The counts of one window of the trip. */
export interface WindowView extends Window.Counts {
  /** A number of calls, or a duration. */
  readonly over: number | Duration.Duration
  readonly failureRate: number
  readonly slowRate: number
}

/** The state and the counts of one circuit at one moment. */
export interface Inspection {
  readonly circuit: string
  readonly key: string | undefined
  readonly state: Circuit.State
  /** `local` if this process decided the state, `fleet` if all processes share it. */
  readonly scope: "local" | "fleet"
  readonly mode: "enforce" | "observe"
  /** `false` if the policy says `enabled: false`: every call runs uncounted. A flag that is an effect or a function counts as `true`. */
  readonly enabled: boolean
  /** The name of a dependency that rejects every call now. */
  readonly blockedBy: string | undefined
  readonly epoch: number
  /** While Open or HalfOpen: why the circuit opened. While Isolated or Disabled: the reason and the operator. */
  readonly cause: { readonly why: Circuit.Why; readonly detail: string; readonly actor: string | undefined } | undefined
  /**
   * When the state began, in milliseconds since 1970. 0 before the first transition. With several overrides it is the start of the one that
   * decides.
   */
  readonly since: number
  /** The overrides in force on this circuit. The first one decides. */
  readonly overrides: ReadonlyArray<Override>
  /**
   * The outage that the circuit is in, also under an override; `undefined` if it is Closed. `since` is its start in milliseconds since
   * 1970, and `openings` counts its openings.
   */
  readonly outage: { readonly since: number; readonly openings: number } | undefined
  /**
   * How long until a call can run, by the state and the limit: zero if it can run now, infinite if the circuit is isolated without expiry.
   * While probes or a ramp decide, it is at most one second, and a call may run earlier. `mode` and `enabled` are not considered.
   */
  readonly retryAfter: Duration.Duration
  readonly openings: number
  /** Failures in a row. */
  readonly streak: number
  readonly inFlight: number
  /** How many calls may be in flight at once, if the `limit` of the policy limits them now. `undefined` if it does not. */
  readonly limit: number | undefined
  /** Calls that hold a lease. */
  readonly probing: number
  readonly windows: ReadonlyArray<WindowView>
  /**
   * The share of recent calls that failed, from 0 to 1, in the window of the trip with the most calls, or in the last 10 seconds if the
   * trip reads no window. 1 while the circuit is Open or HalfOpen. `undefined` if there is no recent call.
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
    /** The part of `passed` that mode `enforce` would have rejected. */
    readonly wouldReject: number
  }
  /** The retry budget of the circuit; `undefined` if it has none. */
  readonly retries: BudgetView | undefined
  /** The latest failures, at most five, oldest first. */
  readonly lastFailures: ReadonlyArray<LastFailure>
  /** The counts by tenant, if the policy has `tenants: "counted"`. */
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

/** Reads a circuit. It only removes expired permits. */
export const inspect = (registry: Registry, circuit: LiveCircuit): Inspection => {
  const now = registry.runtime.time.now()
  circuit.lapse(now)
  const control = effective(circuit, now)
  const blocker = control._tag === "Disabled" ? undefined : blockerOf(registry, circuit, now)
  // The state of this circuit itself, also under an override on the whole name.
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
    since: deciding(circuit, now).movedAt,
    overrides: overridesOf(own, now, registry.runtime.time.wall()),
    outage: outageOf(own),
    retryAfter: Duration.millis(retryAfter(registry, circuit, now)),
    openings: Circuit.openings(own, now),
    streak: circuit.seen().streakAt(now),
    inFlight: circuit.inFlight,
    limit: circuit.limitNow,
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
