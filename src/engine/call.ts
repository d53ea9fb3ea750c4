import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type * as Fiber from "effect/Fiber"
import * as Circuit from "../core/Circuit.ts"
import * as Trip from "../core/Trip.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import {
  type Admit,
  admitsAt,
  answer,
  blockerOf,
  type Pass,
  type Reject,
  refused,
  retryAfter,
  switchedOn
} from "./answer.ts"
import type { Classify } from "./classify.ts"
import { dependencies } from "./dependencies.ts"
import type { Granted } from "./fleetState.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { expire, move, type Next } from "./move.ts"
import { type Enclosing, EnclosingCall, running } from "./nesting.ts"
import type { Peers } from "./peers.ts"
import { Permit } from "./permit.ts"
import type { Registry } from "./registry.ts"
import { rejection } from "./rejection.ts"
import { noteRejection } from "./spans.ts"
import { sleep, timeoutOrElse } from "./timeout.ts"
import { judge } from "./verdict.ts"

type Running = Fiber.Fiber<unknown, unknown>

type PermitAndEffect = Permit & Effectable.Class<unknown, unknown>

// The type of `Mixin` names types that Effect does not export, and `any` in the place of its type parameters.
const PermitAndEffect = Effectable.Mixin(Permit) as unknown as abstract new (
  ...args: ConstructorParameters<typeof Permit>
) => PermitAndEffect

/**
 * One call from its admission to its outcome: the permit, and the effect that admits it and goes on with the call.
 *
 * It must be run inside an `onExit` that calls {@link settle}. That is registered before anything is taken, so that no
 * interruption, wherever it comes, can leave a place taken.
 */
export class Call extends PermitAndEffect implements Enclosing {
  private readonly self: Effect.Effect<unknown, unknown>
  around: Enclosing | undefined
  /** The fiber that runs the call; `undefined` for a permit of `admit`, which runs nothing. */
  private readonly fiber: Running | undefined
  private outside: Context.Context<never> | undefined = undefined

  constructor(
    registry: Registry,
    circuit: LiveCircuit,
    self: Effect.Effect<unknown, unknown>,
    classify: Classify | undefined,
    tenant: string | undefined,
    permitMillis: number,
    fiber?: Running,
    around?: Enclosing
  ) {
    super(registry, circuit, classify, tenant, permitMillis)
    this.self = self
    this.fiber = fiber
    this.around = around === undefined ? undefined : running(around)
  }

  get isCurrent(): boolean {
    const { circuit, epoch, kind } = this
    if (circuit.control.value.epoch !== epoch) return false
    return kind === "Pass" || ((kind === "Normal" || kind === "Probe") && !circuit.group.forced)
  }

  get isOver(): boolean {
    return this.kind === "Settled"
  }

  /** From now on, the fiber and every fiber that it forks run inside this call. */
  private enter(): void {
    if (this.fiber === undefined) return
    this.circuit.group.enclosing--
    this.outside = this.fiber.context
    this.fiber.setContext(Context.add(this.outside, EnclosingCall, this))
  }

  /** From now on, the fiber runs outside this call. Only the fiber itself may call this. */
  leave(): void {
    if (this.outside !== undefined) this.fiber?.setContext(this.outside)
  }

  protected override end(due?: boolean): boolean {
    // Drops enclosing calls that have ended, so that a fiber that outlives its calls does not keep a chain of them.
    this.around = running(this.around)
    return super.end(due)
  }

  override asEffect(): Effect.Effect<unknown, unknown> {
    const { circuit } = this
    const now = admitsAt(circuit, this.registry.runtime.time)
    if (now !== undefined) return this.admit("Normal", circuit.control.value.epoch, now)
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
    if (circuit.runningSince === undefined) return this.admit("Normal", epoch, now)
    circuit.lapse(now)
    const opening = judge(this.registry.runtime, circuit, epoch, now, Trip.onArrival(circuit.policy.trip))
    return opening === undefined ? this.admit("Normal", epoch, now) : Effect.flatMap(opening, () => this.decide())
  }

  private admit(kind: "Normal" | "Probe", epoch: number, now: number): Effect.Effect<unknown, unknown> {
    const { group, inFlight } = this.circuit
    if (inFlight > 0) group.enclosing = Infinity
    if (kind === "Probe" || group.enclosing > 0) this.enter()
    this.begin(kind, epoch, now)
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
        this.admit("Probe", moved.to.epoch, moved.now)
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
    this.admit("Probe", grant.epoch, now)
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
}
