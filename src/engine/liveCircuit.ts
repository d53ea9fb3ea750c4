import * as TxRef from "effect/TxRef"
import * as Circuit from "../core/Circuit.ts"
import { LiveEvidence } from "../core/evidence.ts"
import * as Trip from "../core/Trip.ts"
import type { Policy } from "../policy/policy.ts"
import type { Policies } from "../policy/settings.ts"
import type { Transition } from "../shapes/BreakerEvent.ts"
import type { RetryBudget } from "./budget.ts"
import type { Durations } from "./durations.ts"
import type { EventLoop } from "./eventLoop.ts"
import type { FleetState } from "./fleetState.ts"
import type { Interruptions } from "./misuse.ts"

/** A call in flight, as far as its circuit must know it. */
export interface InFlight {
  readonly start: number
  /** Its permit has lapsed. */
  readonly lapsed: () => void
}

/** One of the last failures, kept as text so that no error object outlives its call. */
export interface LastFailure {
  /** Wall clock, milliseconds since 1970. */
  readonly at: number
  readonly error: string
}

/** The calls of one tenant on a circuit that all tenants share. */
export interface TenantCounts {
  calls: number
  failures: number
  rejected: number
  /** The latest failure of the tenant's calls; `undefined` if no call has failed. */
  lastFailure: LastFailure | undefined
}

/** Permits and when each lapses. */
export class Permits {
  private readonly untils = new Map<InFlight, number>()
  /** None lapses before this, so that none is looked at before. */
  private first = Infinity

  add(permit: InFlight, until: number): void {
    this.untils.set(permit, until)
    this.first = Math.min(this.first, until)
  }

  /** Whether it was still there. */
  delete(permit: InFlight): boolean {
    return this.untils.delete(permit)
  }

  /** Takes out those that have lapsed. */
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

/** The key by which the circuit that many keys share is looked at and steered. */
export const overflowKey = "(overflow)"

const maxLastFailures = 5
const maxTenants = 1_000

/** All circuits of one name: one policy, and a circuit for each key. */
export interface Group {
  readonly name: string
  policy: Policy
  policyOf(key: string | undefined): Policy
  /** Whether a call that said this was found to mean the policy of this name. */
  hasAgreed(policies: Policies, inline: Partial<Policy> | undefined): boolean
  /** The circuit without a key; an override on it holds for all keys. */
  single: LiveCircuit | undefined
  keyed: Map<string, LiveCircuit> | undefined
  /** Shared by the keys for which there was no room. */
  overflow: LiveCircuit | undefined
  /** Whether `single` is Isolated or Disabled. */
  forced: boolean
  /** Whether a call has said what the policy is. */
  readonly declared: boolean
  /**
   * How many of the next calls are made known to the calls inside them: `Infinity` once two calls of one circuit have overlapped.
   * A call inside another one overlaps it, so a name whose calls never overlap need not pay for it.
   */
  enclosing: number
  /** How often one of them came into a state. */
  readonly moves: Record<Circuit.State, number>
  /** The number of outages of its circuits that have begun. */
  outages: number
  /** How long their calls took, where somebody wants to know. */
  durations: Durations | undefined
}

/** What a circuit counts for as long as it is kept. */
export interface Totals {
  calls: number
  successes: number
  failures: number
  ignored: number
  slow: number
  rejected: number
  passed: number
}

/**
 * One circuit of this process. Its control state is a `TxRef`, changed only by transactions that check the epoch; its
 * counts are plain fields, changed only by the call that is being settled.
 */
export class LiveCircuit implements Totals {
  readonly group: Group
  readonly key: string | undefined
  readonly control: TxRef.TxRef<Circuit.Circuit> = TxRef.makeUnsafe<Circuit.Circuit>(Circuit.initial)
  private readonly evidence: LiveEvidence
  private evidenceEpoch = 0
  private evidenceBegan = 0
  policy: Policy
  /** The policy of the name from which {@link policy} was made. */
  basis: Policy
  /** Nothing but its own state decides: not a flag, not an observation, not a dependency, not the calls in flight. */
  plain = true
  /** Calls in flight, oldest first; kept only for a trip that asks how long they have been running. */
  runningSince: Map<InFlight, number> | undefined = undefined
  /** The permits of callers that admit and settle by themselves. */
  permits: Permits | undefined = undefined
  tenants: Map<string, TenantCounts> | undefined = undefined
  lastFailures: Array<LastFailure> | undefined = undefined
  /** The policy's health check, while it runs. */
  watching: { readonly probe: Policy["probe"]; readonly down: boolean; readonly stop: () => void } | undefined =
    undefined
  /** Calls that wait for the policy's flag. */
  pending = 0
  rampCredit = 0
  inFlight = 0
  calls = 0
  successes = 0
  failures = 0
  ignored = 0
  slow = 0
  rejected = 0
  /** Calls that ran uncounted: disabled, switched off, or let through by `observe`. */
  passed = 0
  /** Of these, the ones that `enforce` would have rejected. */
  wouldReject = 0
  /** What has been reported once and is not again. */
  reported: Set<"trip" | "classify" | "fleet"> | undefined = undefined
  /** Wall clock of the latest transition; for a state of the fleet, when that state began. 0 before the first transition. */
  movedAt = 0
  /** What its callers may spend on calling again, where somebody asked for that to be bounded. */
  budget: RetryBudget | undefined = undefined
  /** What it has with the fleet; nothing while all is well. */
  fleetState: FleetState | undefined = undefined

  // Its place among the circuits that may be evicted.
  next: LiveCircuit | undefined = undefined
  previous: LiveCircuit | undefined = undefined
  callsWhenPassed = -1

  /** Calls that were interrupted after about the same time. */
  interruptions: Interruptions | undefined = undefined

  constructor(group: Group, key: string | undefined) {
    this.group = group
    this.key = key
    this.basis = group.policy
    this.policy = group.policyOf(key)
    this.evidence = new LiveEvidence(Trip.windows(this.policy.trip))
    this.adopt(this.policy)
  }

  /** Takes on the policy of its name. The state stays, and of the windows what the new trip can use. */
  change(now: number): void {
    this.basis = this.group.policy
    const policy = this.group.policyOf(this.key)
    this.evidence.resize(Trip.windows(policy.trip), now)
    this.adopt(policy)
  }

  private adopt(policy: Policy): void {
    this.policy = policy
    const watches = Trip.watchesRunning(policy.trip)
    if (!watches) this.runningSince = undefined
    else this.runningSince ??= new Map()
    this.plain =
      policy.enabled === true &&
      policy.mode === "enforce" &&
      policy.dependsOn.length === 0 &&
      policy.tenants !== "counted" &&
      !watches
  }

  /** What was seen in an epoch. What belongs to another is forgotten: a window never spans a transition. */
  seenIn(epoch: number): LiveEvidence {
    if (this.evidenceEpoch !== epoch) {
      this.evidence.clear()
      // Calls of an older epoch change nothing: not even by hanging.
      this.runningSince?.clear()
      this.evidenceEpoch = epoch
      this.evidenceBegan = epoch
    }
    return this.evidence
  }

  /** What was seen in an epoch goes on counting in the next one. Calls in flight do not: theirs is the old one. */
  carry(from: number, to: number): void {
    if (this.evidenceEpoch !== from) return
    this.evidenceEpoch = to
    this.runningSince?.clear()
  }

  /** The epoch in which the evidence of the current epoch began to be counted: an earlier one if an override came between. */
  get countingSince(): number {
    this.seen()
    return this.evidenceBegan
  }

  /** What was seen in the current epoch. */
  seen(): LiveEvidence {
    return this.seenIn(this.control.value.epoch)
  }

  /** What was seen in an epoch that has just ended, and is not forgotten yet; nothing where that was nothing. */
  lastSeen(epoch: number, now: number): Transition["counts"] {
    if (this.evidenceEpoch !== epoch) return undefined
    const { streak } = this.evidence
    const { calls, failures, slow } = this.evidence.recent(now)
    return streak === 0 && calls === 0 ? undefined : { calls, failures, slow, streak }
  }

  /** Stops the policy's health check. */
  unwatch(): void {
    this.watching?.stop()
    this.watching = undefined
  }

  /** Counts a failed call, and keeps its error as text. */
  noteFailure(at: number, error: string, tenant: string | undefined): void {
    this.failures++
    const failure = { at, error }
    this.lastFailures ??= []
    if (this.lastFailures.length >= maxLastFailures) this.lastFailures.shift()
    this.lastFailures.push(failure)
    if (tenant === undefined || this.policy.tenants !== "counted") return
    const counts = this.tenant(tenant)
    counts.failures++
    counts.lastFailure = failure
  }

  /** The counts of a tenant; those beyond a thousand are counted together. */
  tenant(id: string): TenantCounts {
    this.tenants ??= new Map()
    const known = this.tenants.get(id)
    if (known !== undefined) return known
    const name = this.tenants.size < maxTenants ? id : "(others)"
    const counts = this.tenants.get(name) ?? { calls: 0, failures: 0, rejected: 0, lastFailure: undefined }
    this.tenants.set(name, counts)
    return counts
  }

  /** Says something once; whether it was not said before. */
  reportsFirst(what: "trip" | "classify" | "fleet"): boolean {
    this.reported ??= new Set()
    if (this.reported.has(what)) return false
    this.reported.add(what)
    return true
  }

  /** Forgets the permits that lapsed: their callers are not heard of again. */
  lapse(now: number): void {
    for (const permit of this.permits?.lapsed(now) ?? []) {
      this.runningSince?.delete(permit)
      permit.lapsed()
      this.inFlight--
      this.ignored++
    }
  }

  /** Whether forgetting it would lose nothing but counts. */
  isIdle(now: number): boolean {
    this.lapse(now)
    const control = this.control.value
    return (
      control._tag === "Closed" &&
      now >= control.rampUntil &&
      Circuit.openings(control, now) === 0 &&
      this.inFlight === 0 &&
      this.pending === 0 &&
      this.fleetState === undefined &&
      // Forgetting what was spent would give it out again.
      (this.budget === undefined || this.budget.view(now).retries === 0) &&
      this.seen().isQuiet(now)
    )
  }

  /** What a trip is evaluated on. */
  trips(now: number, wall: number, loop: EventLoop): Trip.Evidence {
    return this.seen().at(now, {
      running: this.inFlight,
      runningSince: this.runningSince,
      stalledSince: (since) => loop.stalledBetween(since, now),
      openings: Circuit.openings(this.control.value, now),
      time: wall
    })
  }
}
