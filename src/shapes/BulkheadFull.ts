/**
 * The error of a bulkhead that did not make the call.
 */
import * as Schema from "effect/Schema"
import { printable } from "../core/printable.ts"
import { bareError } from "./bareError.ts"
import { Rejection, safely } from "./rejections.ts"

/**
 * The bulkhead had reached its limits, so the call did not run. The error says nothing about the dependency; circuits ignore it.
 *
 * - `bulkhead`: the name of the bulkhead.
 * - `concurrency`: its limit of running calls.
 * - `queue`: its limit of waiting calls.
 *
 * @category errors
 */
export class BulkheadFull extends Schema.TaggedError<BulkheadFull>()("BulkheadFull", {
  bulkhead: Schema.String,
  concurrency: Schema.Number,
  queue: Schema.Number
}) {
  /** @internal */
  get [Rejection](): true {
    return true
  }

  override get message(): string {
    const waiting = this.queue === 0 ? "" : ` and ${this.queue} waiting`
    return printable(`Bulkhead ${JSON.stringify(this.bulkhead)} is full: ${this.concurrency} running${waiting}`)
  }
}

/**
 * The fields of {@link BulkheadFull}.
 *
 * @category models
 */
export interface Fields {
  readonly bulkhead: string
  readonly concurrency: number
  readonly queue: number
}

/**
 * Makes the error without a check of its fields and without a stack trace, so that rejections are cheap.
 *
 * @category constructors
 */
export const make = (fields: Fields): BulkheadFull => {
  const error = bareError(BulkheadFull)
  error._tag = "BulkheadFull"
  error.bulkhead = fields.bulkhead
  error.concurrency = fields.concurrency
  error.queue = fields.queue
  return error
}

/**
 * Whether a value is a {@link BulkheadFull}.
 *
 * @category guards
 */
export const isBulkheadFull = (value: unknown): value is BulkheadFull =>
  safely(() => value instanceof BulkheadFull, false)
