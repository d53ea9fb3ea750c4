import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Circuit from "../core/Circuit.ts"
import * as Outcome from "../core/Outcome.ts"
import { show } from "../core/printable.ts"
import { reportOnce } from "./announce.ts"
import {
  asked,
  type Classify,
  defaultOutcome,
  endingOf,
  failureText,
  hintMillis,
  isOutcome,
  type Restore,
  withoutFailure
} from "./classify.ts"
import { inTurn } from "./inTurn.ts"
import { limitSees, withLimitNews } from "./limits.ts"
import { type InFlight, type LiveCircuit, Permits } from "./liveCircuit.ts"
import { failed, failedAsName, isLate, succeeded } from "./nameCircuit.ts"
import type { Enclosing } from "./nesting.ts"
import { noteAsked, opensAtOnce } from "./opening.ts"
import { type Lease, type ProbeOutcome, settleProbe } from "./probes.ts"
import type { Registry } from "./registry.ts"
import { judge, judgeFailure } from "./tripping.ts"

/** `Waiting`: not admitted yet. `Asking`: not admitted yet, the flag of the policy is running. */
type Kind = "Waiting" | "Asking" | "Normal" | "Probe" | "Pass" | "Settled"

/** Only some permits need these fields: probes, permits that expire, calls of a tenant, and calls that may contain other calls. */
export class PermitDetails {
  readonly tenant: string | undefined
  /** After how many milliseconds the permit of a caller that settles the call itself expires. 0 for calls that are effects. */
  readonly permitMillis: number
  lease = 0
  /** Whether the lease is from the fleet. */
  shared = false
  /** The context of the fiber before the call began; `undefined` if calls inside this one do not see it. */
  outside: Context.Context<never> | undefined = undefined
  around: Enclosing | undefined = undefined
  /** When the call entered the queue of this process in which it waits. */
  queuedAt: number | undefined = undefined
  /** How long the call waited in earlier queues, in milliseconds. */
  queuedMillis = 0

  constructor(tenant: string | undefined, permitMillis: number) {
    this.tenant = tenant
    this.permitMillis = permitMillis
  }
}

/**
 * The permit of an admitted call: it counts the beginning of the call, and settles its end. Calls that are effects and calls that are only
 * promises share this class.
 */
export class Permit implements InFlight {
  // `declare` emits no field definition, which saves 15 ns for each call.
  /** The circuit of the call. A probe of the circuit of its name changes it to that one. */
  declare circuit: LiveCircuit
  declare start: number
  declare protected kind: Kind
  declare protected epoch: number
  declare protected readonly registry: Registry
  declare private classify: Classify | undefined
  declare protected details: PermitDetails | undefined

  constructor(
    registry: Registry,
    circuit: LiveCircuit,
    classify: Classify | undefined,
    tenant: string | undefined,
    permitMillis: number
  ) {
    this.circuit = circuit
    this.start = 0
    this.kind = "Waiting"
    this.epoch = 0
    this.registry = registry
    this.classify = classify
    this.details = tenant === undefined && permitMillis === 0 ? undefined : new PermitDetails(tenant, permitMillis)
  }

  protected get tenant(): string | undefined {
    return this.details?.tenant
  }

  protected detailed(): PermitDetails {
    this.details ??= new PermitDetails(undefined, 0)
    return this.details
  }

  /** Whether the call was admitted and has not ended. */
  get isAdmitted(): boolean {
    return this.kind === "Normal" || this.kind === "Probe"
  }

  begin(kind: "Normal" | "Probe", epoch: number, now: number): void {
    const { circuit } = this
    this.kind = kind
    this.epoch = epoch
    this.start = now
    this.registry.runtime.loop.began(now)
    circuit.inFlight++
    if (circuit.limit !== undefined) circuit.limit.began(now)
    circuit.calls++
    if (circuit.runningSince !== undefined) circuit.runningSince.set(this, now)
    if (this.details !== undefined) this.note(this.details, kind, now)
  }

  /** {@link begin} for a probe with a lease of this process. */
  beginProbe({ epoch, lease, now }: Lease): void {
    this.detailed().lease = lease
    this.begin("Probe", epoch, now)
  }

  /** Counts the call for its tenant, and lets the permit expire. */
  private note({ permitMillis, tenant }: PermitDetails, kind: Kind, now: number): void {
    const { circuit } = this
    if (tenant !== undefined && circuit.policy.tenants === "counted") circuit.tenant(tenant).calls++
    if (permitMillis === 0) return
    circuit.lapse(now)
    circuit.permits ??= new Permits()
    circuit.permits.add(this, now + (kind === "Probe" ? circuit.policy.probeTimeoutMillis : permitMillis))
  }

  /** Ends the permit. Returns whether it was still valid. `due`: the timeout of the probe is the reason. */
  protected end(due = false): boolean {
    const { circuit, details, kind } = this
    this.kind = "Settled"
    if (kind === "Asking") circuit.pending--
    if (kind !== "Normal" && kind !== "Probe") return false
    if (details !== undefined && details.permitMillis > 0) {
      if (!due) circuit.lapse(this.registry.runtime.time.now())
      if (circuit.permits?.delete(this) !== true) return false
    }
    circuit.inFlight--
    if (circuit.limit !== undefined) circuit.left(this.start)
    this.lapsed()
    if (circuit.runningSince !== undefined) circuit.runningSince.delete(this)
    return true
  }

  queued(): void {
    this.detailed().queuedAt = this.registry.runtime.time.now()
    if (this.circuit.runningSince !== undefined) this.circuit.runningSince.delete(this)
  }

  dequeued(): void {
    const details = this.detailed()
    const now = this.registry.runtime.time.now()
    details.queuedMillis = this.queuedFor(details, now)
    details.queuedAt = undefined
    const isRunning = this.kind === "Normal" || this.kind === "Probe"
    if (isRunning && this.circuit.runningSince !== undefined) this.circuit.runningSince.set(this, now)
  }

  private queuedFor({ queuedAt = Infinity, queuedMillis }: PermitDetails, now: number): number {
    return queuedMillis + Math.max(0, now - queuedAt)
  }

  /** Returns how long the dependency had the call, in milliseconds. */
  timeAt(now: number): number {
    return now - this.start - (this.details === undefined ? 0 : this.queuedFor(this.details, now))
  }

  lapsed(): void {
    this.registry.runtime.loop.ended()
  }

  /** Counts the end of a call. Run it uninterruptibly. It does nothing the second time, and for a call that was rejected or passed. */
  settle(exit: Exit.Exit<unknown, unknown>, restore?: Restore): Effect.Effect<void> | undefined {
    const probe = this.kind === "Probe"
    if (!this.end()) return undefined
    // The classifier may take time, which does not belong to the call.
    const now = this.registry.runtime.time.now()
    if (exit._tag === "Failure" && Cause.hasInterruptsOnly(exit.cause)) {
      if (!probe) return this.registry.interrupted(this.circuit, now - this.start, now)
      return this.record(probe, Outcome.ignored, exit, now)
    }
    if (this.classify === undefined) return this.record(probe, defaultOutcome(exit), exit, now)
    let outcome: Outcome.Outcome | Effect.Effect<Outcome.Outcome>
    try {
      outcome = this.classify(exit)
    } catch (defect) {
      return this.useDefault(probe, exit, now, Cause.die(defect))
    }
    if (outcome === Outcome.success) return this.record(probe, Outcome.success, exit, now)
    if (!Effect.isEffect(outcome)) return this.read(probe, exit, now, outcome)
    return Effect.matchCauseEffect(asked(outcome, restore), {
      onFailure: (cause) => this.useDefault(probe, exit, now, cause),
      onSuccess: (outcome) => this.read(probe, exit, now, outcome) ?? Effect.void
    })
  }

  private read(
    probe: boolean,
    exit: Exit.Exit<unknown, unknown>,
    now: number,
    outcome: unknown
  ): Effect.Effect<void> | undefined {
    if (isOutcome(outcome)) return this.record(probe, outcome, exit, now)
    return this.useDefault(
      probe,
      exit,
      now,
      Cause.die(new TypeError(`classify must give an Outcome, got ${show(outcome)}`))
    )
  }

  /** A classifier that fails must not change the result of the call. It is reported once, and the default classification is used. */
  private useDefault(
    probe: boolean,
    exit: Exit.Exit<unknown, unknown>,
    now: number,
    cause: Cause.Cause<never>
  ): Effect.Effect<void> {
    const { circuit } = this
    const settled = this.record(probe, defaultOutcome(exit), exit, now) ?? Effect.void
    const report = reportOnce(circuit, "classify", "failed; the default classification is used", cause)
    return report === undefined ? settled : Effect.andThen(settled, report)
  }

  /** {@link settle}, but a Failure is Ignored. */
  settleWithoutFailure(exit: Exit.Exit<unknown, unknown>, restore?: Restore): Effect.Effect<void> | undefined {
    this.classify = withoutFailure(this.classify)
    return this.settle(exit, restore)
  }

  /** {@link settle} for a caller that passes the outcome. For a Failure, `exit` may have its text and its `retryAfter`. */
  settleAs(outcome: Outcome.Outcome, exit?: Exit.Exit<unknown, unknown>): Effect.Effect<void> | undefined {
    const probe = this.kind === "Probe"
    if (!this.end()) return undefined
    return this.record(probe, outcome, exit, this.registry.runtime.time.now())
  }

  private record(
    probe: boolean,
    outcome: Outcome.Outcome,
    exit: Exit.Exit<unknown, unknown> | undefined,
    now: number
  ): Effect.Effect<void> | undefined {
    const { circuit } = this
    if (outcome._tag === "Ignored") return this.ignore(probe)
    if (outcome._tag === "Failure" && this.registry.runtime.loop.excuses(this.start, now)) return this.excused(probe)
    const slow = this.isSlow(now)
    if (outcome._tag === "Success") {
      circuit.successes++
      if (probe) return this.endProbe(outcome)
      if (circuit.control.value.epoch !== this.epoch) return undefined
      if (circuit.group.governs && circuit.key !== undefined) {
        if (isLate(this)) return undefined
        succeeded(this.registry, this, slow, now)
      }
      circuit.seenIn(this.epoch).recordSuccess(now, slow)
      if (circuit.limit !== undefined) limitSees(this.registry.runtime, circuit, "Success", this, 0, now)
      if (circuit.fleetState !== undefined) this.registry.runtime.peers?.succeeded(circuit, now)
      const opening = slow ? judge(this.registry.runtime, circuit, this.epoch, now, circuit.policy.trip) : undefined
      return circuit.limit === undefined
        ? (opening as Effect.Effect<void> | undefined)
        : withLimitNews(this.registry.runtime, circuit, now, opening)
    }
    const detail = failureText(outcome.detail, exit)
    circuit.noteFailure(this.registry.runtime.time.wall(), detail, this.tenant)
    const hint = hintMillis(outcome, exit, this.registry.runtime.time)
    const ending = circuit.limit === undefined ? "Neutral" : endingOf(outcome, exit)
    const isCurrent = circuit.control.value.epoch === this.epoch
    if (ending === "TimedOut" && (probe || !isCurrent)) circuit.limit?.stoppedWaiting(this.timeAt(now))
    if (outcome.scope === "name" && circuit.key !== undefined) {
      const ended = probe ? this.endProbe({ _tag: "Ignored" }) : undefined
      const opening = failedAsName(this.registry, this, outcome, slow, now, hint, detail)
      return inTurn(ended, opening)
    }
    if (!isCurrent) return undefined
    if (probe) {
      // A probe that has lost its lease changes nothing.
      if (hint > 0 && Circuit.holdsLease(circuit.control.value, this.detailed().lease)) this.heed(outcome, hint, now)
      return this.endProbe({ _tag: "Failure", why: "ProbeFailed", detail })
    }
    const { runtime } = this.registry
    const isOfKey = circuit.group.governs && circuit.key !== undefined
    if (isOfKey && isLate(this)) return undefined
    const counts = circuit.limit === undefined || limitSees(runtime, circuit, ending, this, hint, now)
    let opening = isOfKey ? failed(this.registry, this, now, hint, detail, ending !== "Neutral") : undefined
    // If other calls succeed, overload lowers the limit, but does not prove that the dependency is down.
    if (!counts && !opensAtOnce(outcome, hint)) return withLimitNews(runtime, circuit, now, opening)
    circuit.seenIn(this.epoch).recordFailure(now, slow, outcome.weight, hint)
    // If the name opens, the circuit of the key keeps its streak.
    opening ??= judgeFailure(runtime, circuit, this.epoch, now, outcome, hint)
    if (opening === undefined) runtime.peers?.failed(circuit, now)
    return circuit.limit === undefined
      ? (opening as Effect.Effect<void> | undefined)
      : withLimitNews(runtime, circuit, now, opening)
  }

  /** Notes the `retryAfter` of a failed probe. */
  private heed(failure: Outcome.Failure, hint: number, now: number): void {
    this.circuit.seenIn(this.epoch).heed(now, now + hint)
    if (opensAtOnce(failure, hint)) noteAsked(this.circuit, this.epoch, now, hint)
  }

  protected ignore(probe: boolean): Effect.Effect<void> | undefined {
    this.circuit.ignored++
    return probe ? this.endProbe({ _tag: "Ignored" }) : undefined
  }

  /** Ignores a failure that may be due to a stall. */
  protected excused(probe: boolean): Effect.Effect<void> | undefined {
    this.registry.stalls.ignored(this.circuit.group.name)
    return this.ignore(probe)
  }

  /** Records the duration of the call. Returns whether the call was slow. */
  protected isSlow(now: number): boolean {
    const { circuit } = this
    const took = this.timeAt(now)
    circuit.group.durations?.record(took)
    const { slowCallMillis } = circuit.policy
    const slow =
      took >= slowCallMillis && took - this.registry.runtime.loop.stalledBetween(this.start, now) >= slowCallMillis
    if (slow) circuit.slow++
    return slow
  }

  protected endProbe(outcome: ProbeOutcome): Effect.Effect<void> | undefined {
    const { circuit, epoch } = this
    const { lease, shared } = this.detailed()
    const isOfKey = circuit.group.governs && circuit.key !== undefined
    // A probe that began before the name opened or closed only returns its lease.
    const counted: ProbeOutcome = isOfKey && isLate(this) ? { _tag: "Ignored" } : outcome
    const opening = isOfKey ? this.probeOfKey(counted, lease) : undefined
    const settled = settleProbe(this.registry.runtime, { circuit, epoch, lease, shared }, counted)
    return inTurn(settled, opening)
  }

  /** Counts the end of a probe of a key for the name, if it counts for the key. */
  private probeOfKey(outcome: ProbeOutcome, lease: number): Effect.Effect<unknown> | undefined {
    const { circuit, epoch, registry } = this
    const control = circuit.control.value
    if (outcome._tag === "Ignored" || control.epoch !== epoch || !Circuit.holdsLease(control, lease)) return undefined
    const now = registry.runtime.time.now()
    if (outcome._tag === "Failure") return failed(registry, this, now, 0, outcome.detail, false)
    succeeded(registry, this, false, now)
    return undefined
  }
}
