/**
 * The one error of a bulkhead: the call was not made.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { printable } from "../core/printable.ts"
import { bareError } from "./bareError.ts"
import { Rejection, safely } from "./rejections.ts"

/**
 * A bulkhead had neither a place nor room to wait for one. It says nothing of the dependency: breakers ignore it.
 *
 * - `bulkhead`: the name that it was given.
 * - `concurrency`: how many calls it lets run at once, all of which were running.
 * - `queue`: how many may wait, all of which were waiting.
 *
 * @category errors
 * @since 0.1.0
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
 * @category models
 * @since 0.1.0
 */
export interface Fields {
  readonly bulkhead: string
  readonly concurrency: number
  readonly queue: number
}

/**
 * Makes the error without checking its fields and without a stack trace: it stays cheap while everything is rejected.
 *
 * @category constructors
 * @since 0.1.0
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
 * @category guards
 * @since 0.1.0
 */
export const isBulkheadFull = (value: unknown): value is BulkheadFull =>
  safely(() => value instanceof BulkheadFull, false)
