import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { LiveCircuit } from "./liveCircuit.ts"

/**
 * A call that may contain other calls. A call inside another call of the same circuit, on the same fiber tree, is part of that call and
 * takes no permit. Otherwise a nested call would be rejected because the probe around it holds the lease.
 */
export interface Enclosing {
  readonly circuit: LiveCircuit
  /** The call that contains this one. It may be of any circuit. */
  readonly around: Enclosing | undefined
  /** Whether this call holds a permit of the circuit's current epoch. */
  readonly isCurrent: boolean
  readonly isOver: boolean
  /** The call now waits in a queue of this process, and not for the dependency. */
  queued(): void
  /** The call has left the queue. */
  dequeued(): void
}

/** Whether a call of `circuit` inside `call` is part of `call`, or of a call around it. */
export const encloses = (call: Enclosing | undefined, circuit: LiveCircuit): boolean => {
  let one = call
  while (one !== undefined) {
    if ((one.circuit === circuit || probesFor(one.circuit, circuit)) && one.isCurrent) return true
    one = one.around
  }
  return false
}

/** Whether a current call of `probed`, a circuit without a key, is a probe for all keys. A call with any key inside it is part of it. */
const probesFor = (probed: LiveCircuit, { group }: LiveCircuit): boolean =>
  group.held && group.single === probed && probed.control.value._tag === "HalfOpen"

/** The innermost call that is still running: `call`, or a call around it. */
export const running = (call: Enclosing | undefined): Enclosing | undefined => {
  let one = call
  while (one?.isOver === true) one = one.around
  return one
}

export const EnclosingCall: Context.Reference<Enclosing | undefined> = Context.Reference<Enclosing | undefined>(
  "effect-fuse/EnclosingCall",
  { defaultValue: () => undefined }
)

/** Runs a wait in a queue of this process. The circuit around the call does not count this time as time of the dependency. */
export const asQueue = <A, E, R>(wait: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const call = running(Context.get(fiber.context, EnclosingCall))
    if (call === undefined) return wait
    call.queued()
    return Effect.onExitPrimitive(wait, () => {
      call.dequeued()
      return undefined
    })
  })
