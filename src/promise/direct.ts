import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Subject } from "../breaker/protect.ts"
import { admitsAt, answerAlone, cooldownWait, rejectsAt } from "../engine/answer.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import { Permit } from "../engine/permit.ts"
import { type Lease, takeLease } from "../engine/probes.ts"
import type { Caller, Registry } from "../engine/registry.ts"
import { rejectionFields } from "../engine/rejection.ts"
import { type Delay, Timer } from "../engine/timers.ts"
import { isRejection, noteRaisedByUser } from "../shapes/rejections.ts"
import { type AnyFunction, afterwards, invoke, OwnContext } from "./called.ts"
import { TimeoutError } from "./errors.ts"
import { type FallbackFunction, failed } from "./failing.ts"
import { circuitOpenError } from "./plainErrors.ts"
import { outcomeOf } from "./responses.ts"
import { isAbortByCaller, isAborted, onAbort, reasonOf } from "./signals.ts"
import type { Signal } from "./types.ts"

/*
 * Calls without a fiber.
 *
 * If a breaker has only a circuit, a timeout, a fallback and predicates, most of its calls need no effect: the circuit is Closed and
 * admits the call, or it is Open or HalfOpen and rejects the call or admits it as a probe. Such a call finds its circuit, begins, calls the
 * function, and settles when the promise of the function settles. All other calls are effects (see `PlainBreaker`):
 *
 * - calls during a ramp or an override,
 * - calls with a policy that has dependencies or an `enabled` function,
 * - probes that write a log line or need a lease of the fleet.
 *
 * Both kinds use the same circuits and the same `Permit`. An effect runs here only at the end of a call, if the circuit trips or something is
 * logged.
 */

/** The circuits of a store, and the way to run effects on them. */
export interface DirectCircuits {
  readonly registry: Registry
  readonly caller: Caller
  /** Runs the effect that the end of a call requires. */
  readonly run: (effect: Effect.Effect<void>) => Promise<Exit.Exit<void, unknown>>
}

/** The decoded options of a breaker, if its calls need no fiber. */
export interface Direct {
  readonly subject: Subject
  readonly timeoutMillis: number
  /** `undefined` without a timeout. */
  readonly delay: Delay | undefined
  readonly fallback: FallbackFunction | undefined
  readonly rejectionStack: boolean
  /** The circuit without a key, from the first call on. */
  single: LiveCircuit | undefined
}

const find = ({ subject }: Direct, { caller, registry }: DirectCircuits, key: string | undefined): LiveCircuit =>
  registry.find(subject.name, key, caller, subject.inline)

/**
 * The circuit without a key, looked up once. It stays the same: a breaker has one store, the store evicts only circuits with keys, and
 * the policies of promise breakers do not change.
 */
const singleOf = (direct: Direct, circuits: DirectCircuits): LiveCircuit => {
  direct.single ??= find(direct, circuits, undefined)
  return direct.single
}

/** Makes a call without a fiber. If the call needs a fiber, returns `undefined` and has no effect. */
export const callDirectly = (
  direct: Direct,
  circuits: DirectCircuits,
  key: string | undefined,
  signal: Signal | undefined,
  fn: AnyFunction,
  self: unknown,
  args: ReadonlyArray<unknown> | undefined
): Promise<unknown> | undefined => {
  const { registry } = circuits
  const { delay, subject } = direct
  const circuit = key === undefined ? singleOf(direct, circuits) : find(direct, circuits, key)
  const { time } = registry.runtime
  const now = admitsAt(circuit, time)
  let lease: Lease | undefined
  if (now === undefined) {
    const rejectedAt = rejectsAt(circuit, time)
    if (rejectedAt !== undefined) {
      return rejected(direct, circuit, rejectedAt, "Cooldown", cooldownWait(circuit, rejectedAt), args)
    }
    const asked = time.now()
    const result = answerAlone(registry, circuit, asked)
    if (result?._tag === "Reject" && result.reason === "ProbesBusy") {
      return rejected(direct, circuit, asked, "ProbesBusy", result.wait, args)
    }
    if (result?._tag !== "Admit" || result.as !== "Probe" || !probesDirectly(direct, circuit, registry))
      return undefined
    lease = takeLease(registry, circuit)
    if (lease === undefined) return undefined
  }
  const permit = new Permit(registry, circuit, subject.classify, undefined, 0)
  if (lease !== undefined) permit.beginProbe(lease)
  else if (now !== undefined) permit.begin("Normal", circuit.control.value.epoch, now)
  const context = new OwnContext()
  let made: unknown
  try {
    made = invoke(fn, self, args, context)
  } catch (error) {
    made = Promise.reject(error)
  }
  if (delay !== undefined || signal !== undefined) {
    return new BoundedCall(direct, circuits, args, signal, permit, context).wait(made)
  }
  // Without a timeout or a signal, only the function can end the call.
  return afterwards(
    made,
    (value) => answered(circuits, permit, value),
    (error) => raised(direct, circuits, args, undefined, permit, context, error)
  )
}

const rejected = (
  { fallback, rejectionStack }: Direct,
  circuit: LiveCircuit,
  now: number,
  reason: "Cooldown" | "ProbesBusy",
  wait: number,
  args: Args
): Promise<unknown> => {
  circuit.rejected++
  return failed(circuitOpenError(rejectionFields(circuit, now, reason, wait), rejectionStack), fallback, args)
}

/**
 * Whether a probe needs no fiber: the fleet gives no leases, nothing is logged, and the timeout of the call ends the probe before
 * `probeTimeout` can.
 */
const probesDirectly = ({ timeoutMillis }: Direct, { policy }: LiveCircuit, { runtime }: Registry): boolean =>
  runtime.peers === undefined && !runtime.logsEvents && timeoutMillis <= policy.probeTimeoutMillis

// ---- The ends of a call: each returns the answer, or a promise of the answer or the error ---------------------------

const answered = (circuits: DirectCircuits, permit: Permit, value: unknown): unknown => {
  const outcome = outcomeOf(value)
  const rest = permit.settleAs(outcome, outcome._tag === "Failure" ? Exit.succeed(value) : undefined)
  if (rest === undefined) return value
  return circuits.run(rest).then((exit) => {
    if (exit._tag === "Failure") throw Cause.squash(exit.cause)
    return value
  })
}

type Args = ReadonlyArray<unknown> | undefined

/** The function has failed. */
const raised = (
  direct: Direct,
  circuits: DirectCircuits,
  args: Args,
  signal: Signal | undefined,
  permit: Permit,
  context: OwnContext,
  error: unknown
): Promise<unknown> => {
  if (isAbortByCaller(error, signal, args)) {
    const reason = isAborted(signal) ? reasonOf(signal) : error
    OwnContext.abort(context, reason)
    return interrupted(circuits, permit, reason)
  }
  if (isRejection(error)) noteRaisedByUser(error)
  return failedWith(direct, circuits, args, permit, error)
}

const failedWith = (
  { fallback }: Direct,
  circuits: DirectCircuits,
  args: Args,
  permit: Permit,
  error: unknown
): Promise<unknown> => {
  const rest = permit.settle(Exit.fail(error))
  if (rest === undefined) return failed(error, fallback, args)
  return circuits.run(rest).then(() => failed(error, fallback, args))
}

/** The circuit sees an interruption, because the caller gave up the call. There is no fallback. */
const interrupted = (circuits: DirectCircuits, permit: Permit, reason: unknown): Promise<unknown> => {
  const rest = permit.settle(Exit.interrupt())
  if (rest === undefined) return Promise.reject(reason)
  return circuits.run(rest).then(() => Promise.reject(reason))
}

/** A call that a timeout or its caller can end before its function does. The object is its own timer. */
class BoundedCall extends Timer {
  declare private readonly direct: Direct
  declare private readonly circuits: DirectCircuits
  declare private readonly args: Args
  declare private readonly signal: Signal | undefined
  declare private readonly permit: Permit
  declare private readonly context: OwnContext
  declare private isOver: boolean
  declare private off: (() => void) | undefined
  declare private resolve: (answer: unknown) => void

  constructor(
    direct: Direct,
    circuits: DirectCircuits,
    args: Args,
    signal: Signal | undefined,
    permit: Permit,
    context: OwnContext
  ) {
    super()
    this.direct = direct
    this.circuits = circuits
    this.args = args
    this.signal = signal
    this.permit = permit
    this.context = context
    this.isOver = false
    this.off = undefined
  }

  wait(made: unknown): Promise<unknown> {
    return new Promise((resolve) => {
      this.resolve = resolve
      void afterwards(
        made,
        (value) => {
          if (this.end()) resolve(answered(this.circuits, this.permit, value))
        },
        (error) => {
          const { args, circuits, context, direct, permit, signal } = this
          if (this.end()) resolve(raised(direct, circuits, args, signal, permit, context, error))
        }
      )
      const { signal } = this
      this.direct.delay?.start(this, this.permit.start)
      // The function may have aborted the signal already.
      if (signal !== undefined) this.off = onAbort(signal, () => this.aborted(signal))
    })
  }

  /** Ends the call. Returns `false` if it has ended before. */
  private end(): boolean {
    if (this.isOver) return false
    this.isOver = true
    this.stop()
    this.off?.()
    return true
  }

  private aborted(signal: Signal): void {
    if (!this.end()) return
    const reason = reasonOf(signal)
    OwnContext.abort(this.context, reason)
    this.resolve(interrupted(this.circuits, this.permit, reason))
  }

  override onDue(): void {
    const { args, circuits, direct, permit, signal } = this
    if (!this.end()) return
    const error = new TimeoutError(direct.subject.name, direct.timeoutMillis)
    // Some signals dispatch no event when they are aborted.
    OwnContext.abort(this.context, isAborted(signal) ? reasonOf(signal) : error)
    this.resolve(failedWith(direct, circuits, args, permit, error))
  }
}
