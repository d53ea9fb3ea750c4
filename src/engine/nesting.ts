import * as Context from "effect/Context"
import * as Effectable from "effect/Effectable"
import type * as Fiber from "effect/Fiber"
import type { LiveCircuit } from "./liveCircuit.ts"

type CallFiber = Fiber.Fiber<unknown, unknown>

/**
 * A call that may contain other calls. A call inside another call of the same circuit, on the same fiber tree, is part of that
 * call and takes no permit of its own. Otherwise a probe would wait for the slot that it holds itself.
 */
export abstract class Enclosing extends Effectable.Class<unknown, unknown> {
  // `declare` emits no field definition: defining a field before the constructor sets it costs each call 15 ns.
  declare protected readonly circuit: LiveCircuit
  /** The call that contains this one. It may be of any circuit. */
  declare private around: Enclosing | undefined
  /** The fiber that runs the call; `undefined` for a permit of `admit`, which runs nothing. */
  declare private readonly fiber: CallFiber | undefined
  declare private outside: Context.Context<never> | undefined

  constructor(circuit: LiveCircuit, fiber: CallFiber | undefined, around: Enclosing | undefined) {
    super()
    this.circuit = circuit
    this.fiber = fiber
    this.outside = undefined
    this.around = around === undefined ? undefined : running(around)
  }

  /** Whether this call holds a permit of the circuit's current epoch. */
  protected abstract get isCurrent(): boolean
  /** Whether this call has ended. */
  protected abstract get isOver(): boolean

  /** From now on, the fiber and every fiber that it forks run inside this call. */
  protected enter(): void {
    if (this.fiber === undefined) return
    this.circuit.group.enclosing--
    this.outside = this.fiber.context
    this.fiber.setContext(Context.add(this.outside, EnclosingCall, this))
  }

  /** From now on, the fiber runs outside this call. Only the fiber itself may call this. */
  leave(): void {
    if (this.outside !== undefined) this.fiber?.setContext(this.outside)
  }

  /** Drops enclosing calls that have ended, so that a fiber that outlives its calls does not keep a chain of them. */
  protected unlink(): void {
    this.around = running(this.around)
  }

  /** Whether a call of `circuit` inside this one is part of this call or of a call that contains it. */
  encloses(circuit: LiveCircuit): boolean {
    let one: Enclosing | undefined = this
    while (one !== undefined) {
      if (one.circuit === circuit && one.isCurrent) return true
      one = one.around
    }
    return false
  }

  /** The innermost call that is still running: `call`, or a call that contains it. */
  static running(call: Enclosing | undefined): Enclosing | undefined {
    let one = call
    while (one?.isOver === true) one = one.around
    return one
  }
}

const { running } = Enclosing

/** The innermost call that contains the current fiber, if there is one. */
export const EnclosingCall: Context.Reference<Enclosing | undefined> = Context.Reference<Enclosing | undefined>(
  "effect-fuse/EnclosingCall",
  { defaultValue: () => undefined }
)
