import { pipeArguments } from "effect/Pipeable"
import type * as TxRef from "effect/TxRef"
import * as Circuit from "../core/Circuit.ts"

const TypeId = "~effect/TxRef"

/**
 * Holds the state of one circuit as a `TxRef`. `TxRef.makeUnsafe` allocates a map and a function for each value. This class allocates the
 * map only when a transaction waits for the circuit, so that thousands of idle circuits stay small.
 */
export class ControlRef implements TxRef.TxRef<Circuit.Circuit> {
  version = 0
  value: Circuit.Circuit = Circuit.initial
  private waiting: Map<unknown, () => void> | undefined = undefined

  get [TypeId](): typeof TypeId {
    return TypeId
  }

  /** Maps each transaction that waits for a change to the function that runs the transaction again. */
  get pending(): Map<unknown, () => void> {
    this.waiting ??= new Map()
    return this.waiting
  }

  /** Whether a transaction waits for a change. */
  get hasPending(): boolean {
    return this.waiting !== undefined && this.waiting.size > 0
  }

  pipe() {
    // biome-ignore lint/complexity/noArguments: the function of Effect reads them.
    return pipeArguments(this, arguments)
  }
}
