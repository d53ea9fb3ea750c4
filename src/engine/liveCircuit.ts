import * as Circuit from "../core/Circuit.ts"
import { LiveEvidence } from "../core/evidence.ts"
import { AdaptiveLimit } from "../core/limit.ts"
import type { NameEvidence } from "../core/nameEvidence.ts"
import * as Trip from "../core/Trip.ts"
import type { Policy } from "../policy/policy.ts"
import type { Policies } from "../policy/settings.ts"
import type { Transition } from "../shapes/BreakerEvent.ts"
import type { RetryBudget } from "./budget.ts"
import { ControlRef } from "./controlRef.ts"
import type { Durations } from "./durations.ts"
import type { EventLoop } from "./eventLoop.ts"
import type { FleetState } from "./fleetState.ts"
import type { Interruptions } from "./misuse.ts"
import type { RecentDurations } from "./recentDurations.ts"

export interface InFlight {
  readonly start: number
  readonly lapsed: () => void
}

/** One of the last failures, as text, so that no error object is kept in memory. */
export interface LastFailure {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly error: string
}

/** The counts of one tenant on a circuit that all tenants share. */
export interface TenantCounts {
  calls: number
  failures: number
  rejected: number
  /** The latest failure of the tenant's calls; `undefined` if no call has failed. */
  lastFailure: LastFailure | undefined
}

export class Permits {
  private readonly untils = new Map<InFlight, number>()
  /** No permit expires before this time. */
  private first = Infinity

  add(permit: InFlight, until: number): void {
    this.untils.set(permit, until)
    this.first = Math.min(this.first, until)
  }

  /** Returns whether the permit had not expired. */
  delete(permit: InFlight): boolean {
    return this.untils.delete(permit)
  }

  /** How many permits have expired, and are still kept. */
  expired(now: number): number {
    if (now < this.first) return 0
    let found = 0
    for (const until of this.untils.values()) if (now >= until) found++
    return found
  }

  lapsed(now: number): ReadonlyArray<InFlight> {
    if (now < this.first) return []
    const found: Array<InFlight> = []
    this.first = Infinity
    for (const [permit, until] of this.untils) {
      if (now < until) this.first = Math.min(this.first, until)
      else found.push(permit)
    }
    for (const permit of found) this.untils.delete(permit)
    return found
  }
}

/** The key of the circuit that many keys share, for inspection and operator actions. */
export const overflowKey = "(overflow)"

const maxLastFailures = 5
const maxTenants = 1_000

/** The circuits of one name: they have one policy, and each key has a circuit. */
export interface Group {
  readonly name: string
  policy: Policy
  policyOf(key: string | undefined): Policy
  /** Whether an earlier call with the same declaration had the policy of this name. */
  hasAgreed(policies: Policies, inline: Partial<Policy> | undefined): boolean
  /** The circuit without a key. An override on it applies to all keys. */
  single: LiveCircuit | undefined
  keyed: Map<string, LiveCircuit> | undefined
  /** The circuit of all keys for which there was no room. */
  overflow: LiveCircuit | undefined
  /** Whether `single` is Isolated or Disabled. */
  forced: boolean
  /** Whether `single` also decides for the circuits with keys, and calls with keys may count for it. See `nameCircuit.ts`. */
  governs: boolean
  /** Whether `single` can now reject calls of all keys: it governs, and it is not Closed or its ramp is not over. */
  held: boolean
  readonly declared: boolean
  /**
   * How many of the next calls announce themselves to the calls inside them. `Infinity` after two calls of one circuit have overlapped,
   * because nested calls overlap. Names whose calls never overlap do not pay for this.
   */
  enclosing: number
  readonly moves: Record<Circuit.State, number>
  outages: number
  /** The durations of the calls, if metrics are collected. */
  durations: Durations | undefined
  /** Returns random numbers from 0 to below 1. */
  readonly random: () => number
}

export interface Totals {
  calls: number
  successes: number
  failures: number
  ignored: number
  slow: number
  rejected: number
  passed: number
}

export const noTotals: Readonly<Totals> = {
  calls: 0,
  successes: 0,
  failures: 0,
  ignored: 0,
  slow: 0,
  rejected: 0,
  passed: 0
}

/** What calls with keys mean for the circuit of their name, see `nameCircuit.ts`. */
export interface NameState {
  /** The outcomes of all keys. Empty without `span`. */
  readonly keys: NameEvidence
  /** Whether a call with a key has ever failed with the scope `name`. */
  hasFailed: boolean
  /** Whether such failures still count. If so, the successes of all keys count, too. */
  countsKeys: boolean
}

/**
 * One circuit of this process. Its state is a `TxRef` that only transactions change. Its counts are plain fields.
 */
export class LiveCircuit implements Totals {
  readonly group: Group
  readonly key: string | undefined
  readonly control = new ControlRef()
  private readonly evidence: LiveEvidence
  private evidenceEpoch = 0
  private evidenceBegan = 0
  policy: Policy
  /** The policy of the name from which `policy` was made. */
  basis: Policy
  /** Whether only the state and the limit decide, and no flag, mode, dependency or call in flight. */
  plain = true
  /** `undefined` if the policy has no limit. */
  limit: AdaptiveLimit | undefined = undefined
  /** The calls in flight, oldest first. Kept only if the trip has a rule about stuck calls. */
  runningSince: Map<InFlight, number> | undefined = undefined
  permits: Permits | undefined = undefined
  tenants: Map<string, TenantCounts> | undefined = undefined
  lastFailures: Array<LastFailure> | undefined = undefined
  watching: { readonly probe: Policy["probe"]; readonly down: boolean; readonly stop: () => void } | undefined =
    undefined
  /** The number of calls that wait for the flag of the policy. */
  pending = 0
  rampCredit = 0
  inFlight = 0
  calls = 0
  successes = 0
  failures = 0
  ignored = 0
  slow = 0
  rejected = 0
  /** Calls that ran uncounted, because of an override, the flag, or mode `observe`. */
  passed = 0
  /** The part of `passed` that mode `enforce` would have rejected. */
  wouldReject = 0
  /** What has been reported, so that it is reported only once. */
  reported: Set<"trip" | "classify" | "fleet"> | undefined = undefined
  /** When the state began, in milliseconds since 1970. 0 before the first transition. */
  movedAt = 0
  budget: RetryBudget | undefined = undefined
  /** The durations of successful calls with a deadline; `undefined` if there was no such call. */
  durations: RecentDurations | undefined = undefined
  /** `undefined` while the circuit is healthy. */
  fleetState: FleetState | undefined = undefined

  // The ring in which the registry looks for a circuit to evict.
  next: LiveCircuit | undefined = undefined
  previous: LiveCircuit | undefined = undefined
  callsWhenPassed = -1

  interruptions: Interruptions | undefined = undefined

  /** When the limit began, if that was announced. */
  limitedSince: number | undefined = undefined
  /** Called when a call of a circuit with a limit leaves, so that a waiting call can begin. */
  onLeft: (() => void) | undefined = undefined
  /** A circuit without a key collects evidence from calls with keys here. `undefined` until the first such call counts. */
  asName: NameState | undefined = undefined

  constructor(group: Group, key: string | undefined) {
    this.group = group
    this.key = key
    this.basis = group.policy
    this.policy = group.policyOf(key)
    this.evidence = new LiveEvidence(Trip.windows(this.policy.trip))
    this.adopt(this.policy)
  }

  /** Applies a new policy of the name. The state stays, and the windows keep the calls that fit. */
  change(now: number): void {
    this.basis = this.group.policy
    const policy = this.group.policyOf(this.key)
    this.evidence.resize(Trip.windows(policy.trip), now)
    const { limit } = this
    this.adopt(policy)
    if (limit === undefined) this.limit?.began(now)
  }

  private adopt(policy: Policy): void {
    this.policy = policy
    const watches = Trip.watchesRunning(policy.trip)
    if (!watches) this.runningSince = undefined
    else this.runningSince ??= new Map()
    if (policy.limit === false) this.limit = undefined
    else if (this.limit === undefined) this.limit = new AdaptiveLimit(policy.limit, this.group.random)
    else this.limit.change(policy.limit)
    this.plain =
      policy.enabled === true &&
      policy.mode === "enforce" &&
      policy.dependsOn.length === 0 &&
      policy.tenants !== "counted" &&
      !watches
  }

  /** A call has left, with or without an outcome. */
  left(start: number): void {
    this.limit?.left(start)
    this.onLeft?.()
  }

  /** How many calls may be in flight while the circuit is Closed; `undefined` if nothing limits them. */
  get limitNow(): number | undefined {
    const value = this.control.value._tag === "Closed" ? this.limit?.value : undefined
    return value === undefined || value === Infinity ? undefined : Math.floor(value)
  }

  /** Failures in a row. With a limit, a streak counts only after it has lasted for a while. */
  streakAt(now: number): number {
    return this.limit === undefined || this.limit.streakCounts(now) ? this.seen().streakAt(now) : 0
  }

  /** The evidence of an epoch. That of any other epoch is cleared, because a window never spans a transition. */
  seenIn(epoch: number): LiveEvidence {
    if (this.evidenceEpoch !== epoch) {
      this.evidence.clear()
      this.asName?.keys.clear()
      // Calls of an older epoch change nothing, even if they hang.
      this.runningSince?.clear()
      this.evidenceEpoch = epoch
      this.evidenceBegan = epoch
    }
    return this.evidence
  }

  /** Keeps the evidence of an epoch for the next one, except for the calls in flight. */
  carry(from: number, to: number): void {
    if (this.evidenceEpoch !== from) return
    this.evidenceEpoch = to
    this.runningSince?.clear()
  }

  /** The epoch in which the current evidence began to be counted. It is older than the current epoch after an override. */
  get countingSince(): number {
    this.seen()
    return this.evidenceBegan
  }

  seen(): LiveEvidence {
    return this.seenIn(this.control.value.epoch)
  }

  /** The counts of an epoch that has just ended; `undefined` if there are none. */
  lastSeen(epoch: number, now: number): Transition["counts"] {
    if (this.evidenceEpoch !== epoch) return undefined
    const { streak } = this.evidence
    const { calls, failures, slow } = this.evidence.recent(now)
    return streak === 0 && calls === 0 ? undefined : { calls, failures, slow, streak }
  }

  unwatch(): void {
    this.watching?.stop()
    this.watching = undefined
  }

  noteFailure(at: number, error: string, tenant: string | undefined): void {
    this.failures++
    const failure = { at, error }
    this.keepFailure(failure)
    if (tenant === undefined || this.policy.tenants !== "counted") return
    const counts = this.tenant(tenant)
    counts.failures++
    counts.lastFailure = failure
  }

  keepFailure(failure: LastFailure): void {
    this.lastFailures ??= []
    if (this.lastFailures.length >= maxLastFailures) this.lastFailures.shift()
    this.lastFailures.push(failure)
  }

  /** The counts of a tenant. Tenants after the first thousand are counted together. */
  tenant(id: string): TenantCounts {
    this.tenants ??= new Map()
    const known = this.tenants.get(id)
    if (known !== undefined) return known
    const name = this.tenants.size < maxTenants ? id : "(others)"
    const counts = this.tenants.get(name) ?? { calls: 0, failures: 0, rejected: 0, lastFailure: undefined }
    this.tenants.set(name, counts)
    return counts
  }

  /** Returns true the first time, so that something is reported once. */
  reportsFirst(what: "trip" | "classify" | "fleet"): boolean {
    this.reported ??= new Set()
    if (this.reported.has(what)) return false
    this.reported.add(what)
    return true
  }

  /** The calls in flight at a time, without those whose permits have expired by then. It changes nothing. */
  inFlightAt(now: number): number {
    return this.permits === undefined ? this.inFlight : this.inFlight - this.permits.expired(now)
  }

  /** Ends the permits that have expired, as Ignored. */
  lapse(now: number): void {
    if (this.permits === undefined) return
    for (const permit of this.permits.lapsed(now)) {
      this.runningSince?.delete(permit)
      permit.lapsed()
      this.inFlight--
      this.left(permit.start)
      this.ignored++
    }
  }

  /** Whether the circuit can be evicted without losing anything except totals. */
  isIdle(now: number): boolean {
    this.lapse(now)
    const control = this.control.value
    return (
      control._tag === "Closed" &&
      now >= control.rampUntil &&
      Circuit.openings(control, now) === 0 &&
      this.inFlight === 0 &&
      this.limit?.isIdle(now) !== false &&
      this.pending === 0 &&
      this.fleetState === undefined &&
      // A new budget would allow the same retries again.
      (this.budget === undefined || this.budget.view(now).retries === 0) &&
      this.seen().isQuiet(now)
    )
  }

  trips(now: number, wall: number, loop: EventLoop): Trip.Evidence {
    const evidence = this.seen().at(now, {
      running: this.inFlight,
      runningSince: this.runningSince,
      stalledSince: (since) => loop.stalledBetween(since, now),
      openings: Circuit.openings(this.control.value, now),
      time: wall
    })
    const { limit } = this
    return limit === undefined || limit.streakCounts(now) ? evidence : { ...evidence, streak: 0 }
  }
}
