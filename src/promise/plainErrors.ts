import * as Duration from "effect/Duration"
import { type BulkheadFull, isBulkheadFull } from "../shapes/BulkheadFull.ts"
import { withoutStack } from "../shapes/bareError.ts"
import * as CircuitOpen from "../shapes/CircuitOpen.ts"
import { rejectionMessage } from "../shapes/rejectionMessage.ts"
import { isRaisedByUser } from "../shapes/rejections.ts"
import { BulkheadFullError, CircuitOpenError, type CircuitOpenFields } from "./errors.ts"

/** The error of a rejection. A stack trace costs more than the rest of a rejection, so it has one only if `hasStack`. */
export const circuitOpenError = (open: CircuitOpen.Fields, hasStack: boolean): CircuitOpenError => {
  const { circuit, dependency, detail, downSince, key, openings, reason, retryAfter, scope = "local", state } = open
  const fields: CircuitOpenFields = {
    message: rejectionMessage(open),
    circuit,
    key,
    state,
    scope,
    reason,
    retryAfter: Duration.toMillis(retryAfter),
    openings,
    downSince,
    dependency,
    detail,
    cause: open.cause
  }
  return hasStack ? new CircuitOpenError(fields) : withoutStack(() => new CircuitOpenError(fields))
}

const bulkheadFullError = ({ bulkhead, message }: BulkheadFull, hasStack: boolean): BulkheadFullError =>
  hasStack ? new BulkheadFullError(bulkhead, message) : withoutStack(() => new BulkheadFullError(bulkhead, message))

/**
 * Converts a rejection of Effect code to an error of this module, with a stack trace if `hasStack`. An error that the user's function
 * raised stays unchanged, whatever its class.
 */
export const toPlain = (error: unknown, hasStack = false): unknown => {
  if (isRaisedByUser(error)) return error
  if (CircuitOpen.isCircuitOpen(error)) {
    const cause = toPlain(error.cause)
    return circuitOpenError(cause === error.cause ? error : { ...error, cause }, hasStack)
  }
  return isBulkheadFull(error) ? bulkheadFullError(error, hasStack) : error
}
