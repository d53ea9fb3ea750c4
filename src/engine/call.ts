import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Circuit from "../core/Circuit.ts"
import * as Outcome from "../core/Outcome.ts"
import { show } from "../core/printable.ts"
import * as Trip from "../core/Trip.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import {
  type Admit,
  answer,
  blockerOf,
  decidesAlone,
  type Pass,
  type Reject,
  refused,
  retryAfter,
  switchedOn
} from "./answer.ts"
import { asked, type Classify, defaultOutcome, failureText, hintMillis, isOutcome, type Restore } from "./classify.ts"
import { dependencies } from "./dependencies.ts"
import type { Granted } from "./fleetState.ts"
import { type InFlight, type LiveCircuit, Permits } from "./liveCircuit.ts"
import { expire, move, type Next, reportOnce } from "./move.ts"
import { Enclosing } from "./nesting.ts"
import type { Peers } from "./peers.ts"
import type { Registry } from "./registry.ts"
import { rejection } from "./rejection.ts"
import { noteRejection } from "./spans.ts"
import { sleep, timeoutOrElse } from "./timeout.ts"
import { judge, type ProbeOutcome, settleProbe } from "./verdict.ts"

type Kind = "Waiting" | "Asking" | "Normal" | "Probe" | "Pass" | "Settled"

/**
 * One call from its admission to its outcome: the permit, and the effect that admits it and goes on with the call.
 *
 * It must be run inside an `onExit` that calls {@link settle}. That is registered before anything is taken, so that no
 * interruption, wherever it comes, can leave a place taken.
 */
export class Call extends Enclosing implements InFlight {
  start = 0
  private kind: Kind = "Waiting"
  private epoch = 0
  private lease = 0
  /** Whether the lease is one of the fleet's. */
  private shared = false
  private readonly registry: Registry
  private readonly self: Effect.Effect<unknown, unknown>
  private readonly classify: Classify | undefined
  private readonly tenant: string | undefined
  /** How long the permit of a caller that settles by itself lasts; 0 for a call whose end is always seen. */
  private readonly permitMillis: number

  constructor(
    registry: Registry,
    circuit: LiveCircuit,
    self: Effect.Effect<unknown, unknown>,
    classify: Classify | undefined,
    tenant: string | undefined,
    permitMillis: number,
    fiber?: Fiber.Fiber<unknown, unknown>,
    around?: Enclosing
  ) {
    super(circuit, fiber, around)
    this.registry = registry
    this.self = self
    this.classify = classify
    this.tenant = tenant
    this.permitMillis = permitMillis
  }

  protected override get isCurrent(): boolean {
    const { circuit, epoch, kind } = this
    if (circuit.control.value.epoch !== epoch) return false
    return kind === "Pass" || ((kind === "Normal" || kind === "Probe") && !circuit.group.forced)
  }

  protected override get isOver(): boolean {
    return this.kind === "Settled"
  }

  override asEffect(): Effect.Effect<unknown, unknown> {
    const { circuit } = this
    const control = circuit.control.value
    if (control._tag === "Closed" && decidesAlone(circuit)) {
      const now = this.registry.runtime.time.now()
      if (now >= control.rampUntil) return this.begin("Normal", control.epoch, now)
    }
    const { enabled } = circuit.policy
    if (enabled === false) return this.pass()
    if (enabled === true) return this.decide()
    // Who waits for it keeps the circuit from being forgotten.
    this.kind = "Asking"
    circuit.pending++
    return Effect.flatMap(switchedOn(circuit), (on) => {
      this.kind = "Waiting"
      circuit.pending--
      return on ? this.decide() : this.pass()
    })
  }

  /** Asks for the {@link answer} and does what it says. */
  private decide(): Effect.Effect<unknown, unknown> {
    const { circuit, registry } = this
    const { runtime } = registry
    const now = runtime.time.now()
    const expired = this.expired(now)
    if (expired !== undefined) {
      return Effect.flatMap(expire(runtime, expired), () => this.decide())
    }
    const told = answer(registry, circuit, now)
    return told._tag === "Admit" ? this.admitted(told, now) : this.refused(told, now)
  }

  private admitted({ as }: Admit, now: number): Effect.Effect<unknown, unknown> {
    const { circuit, registry } = this
    const control = circuit.control.value
    switch (as) {
      case "Normal":
        return this.arrive(control.epoch, now)
      case "Ramp": {
        circuit.rampCredit += control._tag === "Closed" ? Circuit.rampShare(control, now) : 1
        if (circuit.rampCredit < 1) return this.refused(refused(registry, circuit, now, "Ramping"), now)
        circuit.rampCredit -= 1
        return this.arrive(control.epoch, now)
      }
      case "Probe":
        return this.probe()
    }
  }

  /** The circuit whose override has run out and is to end before anything else is decided. */
  private expired(now: number): LiveCircuit | undefined {
    const { circuit } = this
    const { single } = circuit.group
    return [circuit, single].find(
      (one) => one !== undefined && Circuit.expire(one.control.value, now) !== one.control.value
    )
  }

  /** While everything hangs nothing is settled: calls that are stuck are looked for when another one comes. */
  private arrive(epoch: number, now: number): Effect.Effect<unknown, unknown> {
    const { circuit } = this
    if (circuit.runningSince === undefined) return this.begin("Normal", epoch, now)
    circuit.lapse(now)
    const opening = judge(this.registry.runtime, circuit, epoch, now, Trip.onArrival(circuit.policy.trip))
    return opening === undefined ? this.begin("Normal", epoch, now) : Effect.flatMap(opening, () => this.decide())
  }

  private begin(kind: "Normal" | "Probe", epoch: number, now: number): Effect.Effect<unknown, unknown> {
    const { circuit } = this
    this.kind = kind
    this.epoch = epoch
    this.start = now
    const { group } = circuit
    this.registry.runtime.loop.began(now)
    if (circuit.inFlight > 0) group.enclosing = Infinity
    if (kind === "Probe" || group.enclosing > 0) this.enter()
    circuit.inFlight++
    circuit.calls++
    if (circuit.runningSince !== undefined) circuit.runningSince.set(this, now)
    if (this.tenant !== undefined && circuit.policy.tenants === "counted") circuit.tenant(this.tenant).calls++
    if (this.permitMillis > 0) {
      circuit.lapse(now)
      circuit.permits ??= new Permits()
      circuit.permits.add(this, now + (kind === "Probe" ? circuit.policy.probeTimeoutMillis : this.permitMillis))
    }
    return this.self
  }

  private pass(): Effect.Effect<unknown, unknown> {
    this.kind = "Pass"
    this.epoch = this.circuit.control.value.epoch
    if (this.circuit.group.enclosing > 0) this.enter()
    this.circuit.passed++
    return this.self
  }

  private refused(told: Pass | Reject, now: number): Effect.Effect<unknown, unknown> {
    const { circuit } = this
    if (told._tag === "Pass") {
      if (told.why === "Observed") circuit.wouldReject++
      return this.pass()
    }
    circuit.rejected++
    if (this.tenant !== undefined && circuit.policy.tenants === "counted") circuit.tenant(this.tenant).rejected++
    const dependency = told.reason === "Dependency" ? told.by : undefined
    return this.rejected(rejection(circuit, now, told.reason, told.wait, dependency))
  }

  private rejected(open: CircuitOpen): Effect.Effect<never, CircuitOpen> {
    return Effect.withFiber((fiber) => {
      noteRejection(fiber, this.registry.runtime.time, open)
      return Effect.fail(open)
    })
  }

  private probe(): Effect.Effect<unknown, unknown> {
    const { circuit } = this
    const { peers } = this.registry.runtime
    const { fleetState } = circuit
    if (peers === undefined || fleetState === undefined) return this.localProbe()
    const spare = fleetState.lease.spare === undefined ? undefined : peers.spare(circuit)
    if (spare !== undefined) return this.take(spare)
    return fleetState.isFleets(circuit.control.value) ? this.sharedProbe(peers) : this.localProbe()
  }

  private localProbe(): Effect.Effect<unknown, unknown> {
    const { circuit, registry } = this
    const { runtime } = registry
    const { policy } = circuit
    let taken = false
    const take: Next = (current, now) => {
      taken =
        (current._tag === "Open" || current._tag === "HalfOpen") &&
        Circuit.admission(current, now, policy) === "Probe" &&
        blockerOf(registry, circuit, now) === undefined
      return taken ? Circuit.probe(current as Circuit.Open | Circuit.HalfOpen, now, policy) : current
    }
    const reads = dependencies(registry, circuit).map((other) => other.control)
    // The lease is noted in the same breath as it is taken, or an interruption in between would lose it.
    const admitted = Effect.uninterruptible(
      Effect.map(move(runtime, circuit, "CooldownOver", take, {}, reads), (moved) => {
        if (!taken || moved?.to._tag !== "HalfOpen") return false
        this.lease = moved.to.nextLease - 1
        this.begin("Probe", moved.to.epoch, moved.now)
        return true
      })
    )
    return Effect.flatMap(admitted, (admitted) => (admitted ? this.run(policy.probeTimeoutMillis) : this.decide()))
  }

  /** A probe for all processes: its place is asked for, which is the one time that a call waits for a store. */
  private sharedProbe(peers: Peers): Effect.Effect<unknown, unknown> {
    const { circuit } = this
    const { time } = this.registry.runtime
    const asked = Effect.uninterruptibleMask((restore) =>
      Effect.map(peers.grant(circuit, restore), (grant) => {
        if (grant._tag !== "Granted") return { run: undefined, grant }
        // A stall may have ended it before its probe could begin.
        if (circuit.control.value.epoch === grant.epoch && time.now() < grant.until)
          return { run: this.take(grant), grant }
        peers.settled(circuit, grant.lease, { _tag: "Ignored" })
        return { run: undefined, grant: { _tag: "Denied" } as const }
      })
    )
    return Effect.flatMap(asked, ({ grant, run }) => {
      if (run !== undefined) return run
      const now = time.now()
      const isDenied =
        grant._tag === "Denied" && Circuit.admission(circuit.control.value, now, circuit.policy) === "Probe"
      return isDenied ? this.refused(refused(this.registry, circuit, now, "ProbesBusy"), now) : this.decide()
    })
  }

  /** Begins as a probe in a place of the fleet's. */
  private take(grant: Granted): Effect.Effect<unknown, unknown> {
    const now = this.registry.runtime.time.now()
    this.lease = grant.lease
    this.shared = true
    this.begin("Probe", grant.epoch, now)
    return this.run(Math.max(0, grant.until - now))
  }

  /** Runs a probe, at most this long. */
  private run(millis: number): Effect.Effect<unknown, unknown> {
    // Who observes interrupts nobody, and a permit alone has nothing that could be: their leases lapse.
    if (this.circuit.policy.mode === "observe" || this.self === Effect.void) return this.self
    return Effect.uninterruptibleMask((restore) =>
      restore(this.self) === this.self
        ? this.untilDue(millis)
        : restore(timeoutOrElse(this.self, millis, () => this.probeTimedOut()))
    )
  }

  /** Where the caller cannot be interrupted the probe must not be either, though a race would: it goes on, and has failed. */
  private untilDue(millis: number): Effect.Effect<unknown, unknown> {
    const due = this.registry.runtime.background(Effect.andThen(sleep(millis), this.timedOut))
    return Effect.onExitPrimitive(this.self, () => {
      due.interruptUnsafe()
      return undefined
    })
  }

  private probeTimedOut(): Effect.Effect<never, CircuitOpen> {
    const { circuit, registry } = this
    return Effect.flatMap(this.timedOut, () => {
      const now = registry.runtime.time.now()
      return this.rejected(rejection(circuit, now, "ProbeTimedOut", retryAfter(registry, circuit, now)))
    })
  }

  /** Settles a probe whose time is over, if it has not ended just now. */
  private get timedOut(): Effect.Effect<void> {
    const { circuit } = this
    const after = Duration.format(Duration.millis(circuit.policy.probeTimeoutMillis))
    const detail = `a probe did not end within ${after}`
    return Effect.uninterruptible(
      Effect.suspend(() => {
        if (this.kind !== "Probe") return Effect.void
        this.end(true)
        const { loop, time } = this.registry.runtime
        const now = time.now()
        if (loop.excuses(this.start, now)) return this.excused(true) ?? Effect.void
        this.isSlow(now)
        circuit.noteFailure(time.wall(), detail, this.tenant)
        return this.endProbe({ _tag: "Failure", why: "ProbeTimedOut", detail })
      })
    )
  }

  /** Whether it still holds what it was admitted with, which it then no longer does; `due`: its time ends just now. */
  private end(due = false): boolean {
    const { circuit, kind } = this
    this.kind = "Settled"
    this.unlink()
    if (kind === "Asking") circuit.pending--
    if (kind === "Asking" || kind === "Waiting" || kind === "Settled" || kind === "Pass") return false
    if (this.permitMillis > 0) {
      if (!due) circuit.lapse(this.registry.runtime.time.now())
      if (circuit.permits?.delete(this) !== true) return false
    }
    circuit.inFlight--
    this.lapsed()
    if (circuit.runningSince !== undefined) circuit.runningSince.delete(this)
    return true
  }

  lapsed(): void {
    this.registry.runtime.loop.ended()
  }

  /** What the end of the call changes, uninterruptibly. The second time, and for a call that was rejected or passed, nothing. */
  settle(exit: Exit.Exit<unknown, unknown>, restore?: Restore): Effect.Effect<void> | undefined {
    const probe = this.kind === "Probe"
    if (!this.end()) return undefined
    // When the call itself ended: reading its exit may take longer.
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
      return this.misread(probe, exit, now, Cause.die(defect))
    }
    if (!Effect.isEffect(outcome)) return this.read(probe, exit, now, outcome)
    return Effect.matchCauseEffect(asked(outcome, restore), {
      onFailure: (cause) => this.misread(probe, exit, now, cause),
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
    return this.misread(
      probe,
      exit,
      now,
      Cause.die(new TypeError(`classify must give an Outcome, got ${show(outcome)}`))
    )
  }

  /** A classifier that fails must not cost the caller the result of his call: it is reported once, and not heard. */
  private misread(
    probe: boolean,
    exit: Exit.Exit<unknown, unknown>,
    now: number,
    cause: Cause.Cause<never>
  ): Effect.Effect<void> {
    const { circuit } = this
    const settled = this.record(probe, defaultOutcome(exit), exit, now) ?? Effect.void
    const report = reportOnce(circuit, "classify", "failed; exits are read as by default", cause)
    return report === undefined ? settled : Effect.andThen(settled, report)
  }

  /** The same for a caller that says the outcome itself. */
  settleAs(outcome: Outcome.Outcome): Effect.Effect<void> | undefined {
    const probe = this.kind === "Probe"
    if (!this.end()) return undefined
    return this.record(probe, outcome, undefined, this.registry.runtime.time.now())
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
      circuit.seenIn(this.epoch).recordSuccess(now, slow)
      if (circuit.fleetState !== undefined) this.registry.runtime.peers?.succeeded(circuit, now)
      return slow ? judge(this.registry.runtime, circuit, this.epoch, now, circuit.policy.trip) : undefined
    }
    const detail = failureText(outcome.detail, exit)
    circuit.noteFailure(this.registry.runtime.time.wall(), detail, this.tenant)
    const hint = hintMillis(outcome, exit, this.registry.runtime.time)
    if (circuit.control.value.epoch !== this.epoch) return undefined
    if (probe) {
      // A probe that has lost its lease changes nothing.
      if (hint > 0 && Circuit.holdsLease(circuit.control.value, this.lease))
        circuit.seenIn(this.epoch).heed(now, now + hint)
      return this.endProbe({ _tag: "Failure", why: "ProbeFailed", detail })
    }
    circuit.seenIn(this.epoch).recordFailure(now, slow, outcome.weight, hint)
    const opening = judge(this.registry.runtime, circuit, this.epoch, now, circuit.policy.trip)
    if (opening === undefined) this.registry.runtime.peers?.failed(circuit, now)
    return opening
  }

  private ignore(probe: boolean): Effect.Effect<void> | undefined {
    this.circuit.ignored++
    return probe ? this.endProbe({ _tag: "Ignored" }) : undefined
  }

  /** Ignores a failure that followed from a stall. */
  private excused(probe: boolean): Effect.Effect<void> | undefined {
    this.registry.stalls.ignored(this.circuit.group.name)
    return this.ignore(probe)
  }

  /** Whether it took too long, which is counted. */
  private isSlow(now: number): boolean {
    const { circuit } = this
    const took = now - this.start
    circuit.group.durations?.record(took)
    const { slowCallMillis } = circuit.policy
    const slow =
      took >= slowCallMillis && took - this.registry.runtime.loop.stalledBetween(this.start, now) >= slowCallMillis
    if (slow) circuit.slow++
    return slow
  }

  private endProbe(outcome: ProbeOutcome): Effect.Effect<void> {
    const { circuit, epoch, lease, shared } = this
    return settleProbe(this.registry.runtime, { circuit, epoch, lease, shared }, outcome)
  }
}
