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
  type Pass,
  type Reject,
  refused,
  retryAfter,
  subjectOf,
  switchedOn
} from "./answer.ts"
import type { Classify } from "./classify.ts"
import type { Granted } from "./fleetState.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import { expire } from "./move.ts"
import { type Enclosing, EnclosingCall, running } from "./nesting.ts"
import type { Peers } from "./peers.ts"
import { Permit } from "./permit.ts"
import { takeLease } from "./probes.ts"
import type { Registry } from "./registry.ts"
import { rejection } from "./rejection.ts"
import { noteRejection } from "./spans.ts"
import { rampingName, stand } from "./standing.ts"
import { sleep, timeoutOrElse } from "./timeout.ts"
import { judge } from "./tripping.ts"

type Running = Fiber.Fiber<unknown, unknown>

type PermitAndEffect = Permit & Effect.Effect<unknown, unknown>

// `Effectable.Mixin` does not pass the fiber to the effect, so the class gets the prototype of an effect here. The cast adds its type.
const PermitAndEffect = class extends Permit {} as unknown as abstract new (
  ...args: ConstructorParameters<typeof Permit>
) => PermitAndEffect

Object.defineProperties(
  PermitAndEffect.prototype,
  Object.getOwnPropertyDescriptors(
    Effectable.Prototype<Effect.Effect<unknown, unknown>>({
      label: "Call",
      evaluate(fiber) {
        return (this as Call).begun(fiber)
      }
    })
  )
)

/**
 * One call: its permit, and the effect that admits the call and then runs it.
 *
 * Run it inside an `onExit` that calls {@link settle}. The finalizer is registered before the call takes a permit or a lease, so that
 * an interruption always returns them.
 */
export class Call extends PermitAndEffect implements Enclosing {
  // `declare` emits no field definition, which would cost each call time: see `Permit`.
  declare private readonly self: Effect.Effect<unknown, unknown>

  constructor(
    registry: Registry,
    circuit: LiveCircuit,
    self: Effect.Effect<unknown, unknown>,
    classify: Classify | undefined,
    tenant: string | undefined,
    permitMillis: number
  ) {
    super(registry, circuit, classify, tenant, permitMillis)
    this.self = self
  }

  get around(): Enclosing | undefined {
    return this.details?.around
  }

  get isCurrent(): boolean {
    const { circuit, epoch, kind } = this
    if (circuit.control.value.epoch !== epoch) return false
    return kind === "Pass" || ((kind === "Normal" || kind === "Probe") && !circuit.group.forced)
  }

  get isOver(): boolean {
    return this.kind === "Settled"
  }

  get isProbe(): boolean {
    return this.kind === "Probe"
  }

  /** Whether this is a permit of `admit`, which runs nothing. */
  private get runsNothing(): boolean {
    return this.self === Effect.void
  }

  /** From now on, the fiber and every fiber that it forks run inside this call. */
  private enter(fiber: Running): void {
    if (this.runsNothing) return
    this.circuit.group.enclosing--
    const details = this.detailed()
    details.outside = fiber.context
    details.around = running(Context.get(fiber.context, EnclosingCall))
    fiber.setContext(Context.add(fiber.context, EnclosingCall, this))
  }

  /** From now on, the fiber runs outside this call. */
  leave(fiber: Running): void {
    const { details } = this
    if (details?.outside !== undefined) fiber.setContext(details.outside)
  }

  protected override end(due?: boolean): boolean {
    const { details } = this
    // Drops enclosing calls that have ended, so that a long-lived fiber does not keep a chain of them in memory.
    if (details?.around !== undefined) details.around = running(details.around)
    return super.end(due)
  }

  /** Admits the call on a fiber, and returns what the fiber has to run. */
  begun(fiber: Running): Effect.Effect<unknown, unknown> {
    const { circuit } = this
    const now = admitsAt(circuit, this.registry.runtime.time)
    if (now !== undefined) return this.admit(fiber, "Normal", circuit.control.value.epoch, now)
    const { enabled } = circuit.policy
    if (enabled === false) return this.pass(fiber)
    if (enabled === true) return this.decide(fiber)
    // A pending call prevents the eviction of its circuit.
    this.kind = "Asking"
    circuit.pending++
    return Effect.flatMap(switchedOn(circuit), (on) => {
      this.kind = "Waiting"
      circuit.pending--
      return on ? this.decide(fiber) : this.pass(fiber)
    })
  }

  private decide(fiber: Running): Effect.Effect<unknown, unknown> {
    const { circuit, registry } = this
    const { runtime } = registry
    const now = runtime.time.now()
    const expired = this.expired(now)
    if (expired !== undefined) {
      return Effect.flatMap(expire(runtime, expired), () => this.decide(fiber))
    }
    // The ramp of the name may be over.
    if (circuit.group.held) stand(circuit.group, now)
    // Otherwise permits that were never settled would fill the limit for ever.
    if (circuit.limit !== undefined) circuit.lapse(now)
    const result = answer(registry, circuit, now)
    return result._tag === "Admit" ? this.admitted(fiber, result, now) : this.refused(fiber, result, now)
  }

  private admitted(fiber: Running, { as }: Admit, now: number): Effect.Effect<unknown, unknown> {
    const { circuit, registry } = this
    const control = circuit.control.value
    switch (as) {
      case "Normal":
        return this.arrive(fiber, control.epoch, now)
      case "Ramp": {
        const ramping = rampingName(circuit, now) ?? circuit
        const { value } = ramping.control
        ramping.rampCredit += value._tag === "Closed" ? Circuit.rampShare(value, now) : 1
        if (ramping.rampCredit < 1) {
          return this.refused(fiber, refused(registry, circuit, now, "Ramping", ramping), now)
        }
        ramping.rampCredit -= 1
        return this.arrive(fiber, control.epoch, now)
      }
      case "Probe":
        return this.probe(fiber, circuit)
      case "NameProbe":
        return this.probe(fiber, registry.nameOf(circuit))
    }
  }

  /** A circuit whose override has expired. The override has to end first. */
  private expired(now: number): LiveCircuit | undefined {
    const { circuit } = this
    const { single } = circuit.group
    return [circuit, single].find(
      (one) => one !== undefined && Circuit.expire(one.control.value, now) !== one.control.value
    )
  }

  /** Evaluates the rules about stuck calls first, because no call ends while all calls hang. */
  private arrive(fiber: Running, epoch: number, now: number): Effect.Effect<unknown, unknown> {
    const { circuit } = this
    if (circuit.runningSince === undefined) return this.admit(fiber, "Normal", epoch, now)
    circuit.lapse(now)
    const opening = judge(this.registry.runtime, circuit, epoch, now, Trip.onArrival(circuit.policy.trip))
    return opening === undefined
      ? this.admit(fiber, "Normal", epoch, now)
      : Effect.flatMap(opening, () => this.decide(fiber))
  }

  private admit(fiber: Running, kind: "Normal" | "Probe", epoch: number, now: number): Effect.Effect<unknown, unknown> {
    const { group, inFlight } = this.circuit
    if (inFlight > 0) group.enclosing = Infinity
    if (kind === "Probe" || group.enclosing > 0) this.enter(fiber)
    this.begin(kind, epoch, now)
    return this.self
  }

  private pass(fiber: Running): Effect.Effect<unknown, unknown> {
    this.kind = "Pass"
    this.epoch = this.circuit.control.value.epoch
    if (this.circuit.group.enclosing > 0) this.enter(fiber)
    this.circuit.passed++
    return this.self
  }

  private refused(fiber: Running, result: Pass | Reject, now: number): Effect.Effect<unknown, unknown> {
    const { circuit } = this
    if (result._tag === "Pass") {
      if (result.why === "Observed") circuit.wouldReject++
      if (result.overLimit === true) circuit.limit?.rejected(circuit.inFlight, now)
      return this.pass(fiber)
    }
    circuit.rejected++
    if (result.reason === "Limited") circuit.limit?.rejected(circuit.inFlight, now)
    if (this.tenant !== undefined && circuit.policy.tenants === "counted") circuit.tenant(this.tenant).rejected++
    const dependency = result.reason === "Dependency" ? result.by : undefined
    return this.rejected(rejection(subjectOf(circuit, result), now, result.reason, result.wait, dependency))
  }

  private rejected(open: CircuitOpen): Effect.Effect<never, CircuitOpen> {
    return Effect.withFiber((fiber) => {
      noteRejection(fiber, this.registry.runtime.time, open)
      return Effect.fail(open)
    })
  }

  /** Probes the circuit of the call, or the circuit of its name. */
  private probe(fiber: Running, circuit: LiveCircuit): Effect.Effect<unknown, unknown> {
    const { peers } = this.registry.runtime
    const { fleetState } = circuit
    if (peers === undefined || fleetState === undefined) return this.localProbe(fiber, circuit)
    const spare = fleetState.lease.spare === undefined ? undefined : peers.spare(circuit)
    if (spare !== undefined) return this.take(fiber, circuit, spare)
    return fleetState.isFleets(circuit.control.value)
      ? this.sharedProbe(fiber, circuit, peers)
      : this.localProbe(fiber, circuit)
  }

  private localProbe(fiber: Running, circuit: LiveCircuit): Effect.Effect<unknown, unknown> {
    const taken = takeLease(this.registry, circuit)
    // The state has changed since the answer: another answer is needed.
    if (taken === undefined) return Effect.suspend(() => this.decide(fiber))
    const { epoch, lease, news, now } = taken
    this.circuit = circuit
    this.detailed().lease = lease
    this.admit(fiber, "Probe", epoch, now)
    const probe = this.run(circuit.policy.probeTimeoutMillis)
    return news === undefined ? probe : Effect.andThen(Effect.uninterruptible(news), probe)
  }

  /** Asks the fleet for a lease. This is the only time that a call waits for the store. */
  private sharedProbe(fiber: Running, circuit: LiveCircuit, peers: Peers): Effect.Effect<unknown, unknown> {
    const { time } = this.registry.runtime
    const asked = Effect.uninterruptibleMask((restore) =>
      Effect.map(peers.grant(circuit, restore), (grant) => {
        if (grant._tag !== "Granted") return { run: undefined, grant }
        // The process may have stalled until after the end of the lease.
        if (circuit.control.value.epoch === grant.epoch && time.now() < grant.until)
          return { run: this.take(fiber, circuit, grant), grant }
        peers.settled(circuit, grant.lease, { _tag: "Ignored" })
        return { run: undefined, grant: { _tag: "Denied" } as const }
      })
    )
    return Effect.flatMap(asked, ({ grant, run }) => {
      if (run !== undefined) return run
      const now = time.now()
      const isDenied =
        grant._tag === "Denied" && Circuit.admission(circuit.control.value, now, circuit.policy) === "Probe"
      return isDenied
        ? this.refused(fiber, refused(this.registry, this.circuit, now, "ProbesBusy", circuit), now)
        : this.decide(fiber)
    })
  }

  private take(fiber: Running, circuit: LiveCircuit, grant: Granted): Effect.Effect<unknown, unknown> {
    const now = this.registry.runtime.time.now()
    this.circuit = circuit
    const details = this.detailed()
    details.lease = grant.lease
    details.shared = true
    this.admit(fiber, "Probe", grant.epoch, now)
    return this.run(Math.max(0, grant.until - now))
  }

  private run(millis: number): Effect.Effect<unknown, unknown> {
    // In mode `observe` no call is interrupted, and a permit of `admit` has no effect to interrupt. Their leases expire.
    if (this.circuit.policy.mode === "observe" || this.runsNothing) return this.self
    return Effect.uninterruptibleMask((restore) =>
      restore(this.self) === this.self
        ? this.untilDue(millis)
        : restore(timeoutOrElse(this.self, millis, () => this.probeTimedOut()))
    )
  }

  /** For a caller that cannot be interrupted: when the time is over, the probe counts as failed, but it is not interrupted. */
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

  /** Settles a probe whose time is over, unless it has just ended. */
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
        return this.endProbe({ _tag: "Failure", why: "ProbeTimedOut", detail }) ?? Effect.void
      })
    )
  }
}
