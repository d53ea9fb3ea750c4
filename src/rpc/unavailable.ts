import * as Duration from "effect/Duration"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { cut } from "../core/foreign.ts"
import { printable } from "../core/printable.ts"
import { longest } from "../core/retryHints.ts"
import { type BulkheadFull, isBulkheadFull } from "../shapes/BulkheadFull.ts"
import { withoutStack } from "../shapes/bareError.ts"
import { type CircuitOpen, isCircuitOpen } from "../shapes/CircuitOpen.ts"

const maxName = 256

/** A wait in milliseconds, from 0 to {@link longest}: the other side may send any number. */
const Wait = Schema.Number.pipe(
  Schema.decodeTo(
    Schema.Duration,
    SchemaTransformation.transform({
      decode: (millis) => Duration.millis(Math.min(longest, Math.max(0, millis))),
      encode: Duration.toMillis
    })
  )
)

/**
 * The answer of a server that did not execute a call, or that stopped its execution.
 *
 * - `reason`: `CircuitOpen` or `BulkheadFull` if a circuit or a bulkhead of the server rejected the call, or a call that the handler made;
 *   `DeadlineExceeded` if the handler did not end before the deadline of the caller.
 * - `service`: the name of the circuit or the bulkhead. Absent after a deadline.
 * - `retryAfter`: how long until a call could run, at most one day. Absent if the server does not know it.
 * - `retryable`: `false` if a retry in the server has given up, so that another retry would repeat all its attempts.
 *
 * The error contains neither the key of the circuit nor the reason for its opening, because both may be secrets of the server.
 *
 * @category errors
 */
export class ServiceUnavailable extends Schema.TaggedError<ServiceUnavailable>()("ServiceUnavailable", {
  reason: Schema.Literals(["CircuitOpen", "BulkheadFull", "DeadlineExceeded"]),
  service: Schema.optional(Schema.String),
  retryAfter: Schema.optional(Wait),
  retryable: Schema.Boolean
}) {
  override get message(): string {
    const wait = this.retryAfter === undefined ? "" : `, retry after ${Duration.format(this.retryAfter)}`
    if (this.reason === "DeadlineExceeded") return `The service did not answer before the deadline${wait}`
    const what = this.reason === "CircuitOpen" ? "circuit" : "bulkhead"
    const name = this.service === undefined ? "" : ` ${JSON.stringify(cut(this.service, maxName))}`
    return `${printable(`The service is unavailable: its ${what}${name} rejects calls`)}${wait}`
  }
}

export const isServiceUnavailable = (value: unknown): value is ServiceUnavailable => value instanceof ServiceUnavailable

/** Whether the server says that a retry would not help. */
export const forbidsRetry = (error: unknown): boolean => isServiceUnavailable(error) && !error.retryable

/** The middleware turns each of these errors into {@link ServiceUnavailable}. */
export type ServerRejection = CircuitOpen | BulkheadFull | ServiceUnavailable

export const isRejected = (value: unknown): value is ServerRejection =>
  isCircuitOpen(value) || isBulkheadFull(value) || isServiceUnavailable(value)

/** Creates the answer to a rejected call. `gaveUp` says whether a retry in the server has given up. */
export const unavailable = (rejected: ServerRejection, gaveUp: boolean): ServiceUnavailable => {
  const retryable = !gaveUp
  if (isServiceUnavailable(rejected)) {
    return gaveUp && rejected.retryable ? make({ ...rejected, retryable }) : rejected
  }
  if (isBulkheadFull(rejected)) {
    return make({ reason: "BulkheadFull", service: cut(rejected.bulkhead, maxName), retryable })
  }
  const { circuit, retryAfter } = rejected
  const known = Duration.isFinite(retryAfter) ? { retryAfter: Duration.min(retryAfter, Duration.millis(longest)) } : {}
  return make({ reason: "CircuitOpen", service: cut(circuit, maxName), ...known, retryable })
}

export const deadlineExceeded = (gaveUp: boolean): ServiceUnavailable =>
  make({ reason: "DeadlineExceeded", retryable: !gaveUp })

const make = (fields: ConstructorParameters<typeof ServiceUnavailable>[0]): ServiceUnavailable =>
  withoutStack(() => new ServiceUnavailable(fields))
