import * as Context from "effect/Context"
import * as Effectable from "effect/Effectable"
import type * as Fiber from "effect/Fiber"
import type { LiveCircuit } from "./liveCircuit.ts"

type Running = Fiber.Fiber<unknown, unknown>

/**
 * A call as the calls inside it see it. A call inside another call of the same circuit, on the same fiber tree, is part of that
 * call: it takes no permit of its own. Otherwise a probe would wait for the slot that it holds itself.
 */
export abstract class Enclosing extends Effectable.Class<unknown, unknown> {
  // Declared only: defining each field before the constructor sets it costs a call 15 ns.
  declare protected readonly circuit: LiveCircuit
  /** The call around this one, of any circuit. */
  declare private around: Enclosing | undefined
  /** The fiber that runs the call; `undefined` for a permit alone, which runs nothing. */
  declare private readonly fiber: Running | undefined
  declare private outside: Context.Context<never> | undefined

  constructor(circuit: LiveCircuit, fiber: Running | undefined, around: Enclosing | undefined) {
    super()
    this.circuit = circuit
    this.fiber = fiber
    this.outside = undefined
    this.around = around === undefined ? undefined : running(around)
  }

  /** Whether it holds a permit of the circuit's current epoch. */
  protected abstract get isCurrent(): boolean
  /** Whether it has ended. */
  protected abstract get isOver(): boolean

  /** From here on the fiber, and every fiber forked from it, runs inside this call. */
  protected enter(): void {
    if (this.fiber === undefined) return
    this.circuit.group.enclosing--
    this.outside = this.fiber.context
    this.fiber.setContext(Context.add(this.outside, EnclosingCall, this))
  }

  /** The fiber goes on outside this call. Only the fiber itself may say so. */
  leave(): void {
    if (this.outside !== undefined) this.fiber?.setContext(this.outside)
  }

  /** A fiber that outlives its calls keeps no chain of them. */
  protected unlink(): void {
    this.around = running(this.around)
  }

  /** Whether a call of `circuit` inside this one is part of this call or of one around it. */
  encloses(circuit: LiveCircuit): boolean {
    let one: Enclosing | undefined = this
    while (one !== undefined) {
      if (one.circuit === circuit && one.isCurrent) return true
      one = one.around
    }
    return false
  }

  /** The innermost call that still runs: `call`, or one around it. */
  static running(call: Enclosing | undefined): Enclosing | undefined {
    let one = call
    while (one?.isOver === true) one = one.around
    return one
  }
}

const { running } = Enclosing

/** The innermost call inside which the current fiber runs, if any. */
export const EnclosingCall: Context.Reference<Enclosing | undefined> = Context.Reference<Enclosing | undefined>(
  "effect-fuse/EnclosingCall",
  { defaultValue: () => undefined }
)
