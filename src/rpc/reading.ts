import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as HttpClientError from "effect/http/HttpClientError"
import { RpcClientError } from "effect/rpc/RpcClientError"
import * as SchemaIssue from "effect/SchemaIssue"
import { isRecord } from "../core/fields.ts"
import * as Outcome from "../core/Outcome.ts"
import { defaultOutcome } from "../engine/classify.ts"
import { isRejection, safely } from "../shapes/rejections.ts"
import { isServiceUnavailable, type ServiceUnavailable } from "./unavailable.ts"

const plainFailure = Outcome.failure()

/** The server reports its own state, as an HTTP server does with the status 503 or 504. The circuit reads `retryAfter` from the error. */
const ofUnavailable = ({ reason }: ServiceUnavailable): Outcome.Outcome =>
  Outcome.failure({ detail: `ServiceUnavailable (${reason})`, overload: reason !== "DeadlineExceeded" })

/** An error of the transport. If its `HttpClient` failed, its outcome is that of `HttpClientBreaker`. The circuit reads `Retry-After` from it. */
const ofTransport = ({ reason }: RpcClientError): Outcome.Outcome => {
  if (reason._tag !== "HttpError" || !isRecord(reason.cause) || typeof reason.cause["_tag"] !== "string") {
    return plainFailure
  }
  const error = new HttpClientError.HttpClientError({ reason: reason.cause as never })
  return defaultOutcome(Exit.fail(error))
}

/** A typed error is an answer of the server, unless `isFailure` says otherwise. */
const ofError = (error: unknown, isFailure: ((error: never) => boolean) | undefined): Outcome.Outcome => {
  if (error instanceof RpcClientError) return ofTransport(error)
  if (isServiceUnavailable(error)) return ofUnavailable(error)
  if (Cause.isTimeoutError(error)) return plainFailure
  if (isRejection(error)) return Outcome.ignored
  return isFailure?.(error as never) === true ? plainFailure : Outcome.success
}

/** A payload that does not match its schema is a mistake of the caller: nothing was sent. */
const ofDefect = (defect: unknown): Outcome.Outcome =>
  safely(() => defect instanceof Error && SchemaIssue.isIssue(defect.cause), false) ? Outcome.ignored : plainFailure

/** Classifies the end of a call. */
export const reading =
  (isFailure: ((error: never) => boolean) | undefined) =>
  (exit: Exit.Exit<unknown, unknown>): Outcome.Outcome => {
    if (exit._tag === "Success") return Outcome.success
    let found: Outcome.Outcome | undefined
    for (const reason of exit.cause.reasons) {
      if (reason._tag === "Interrupt") {
        found ??= Outcome.ignored
        continue
      }
      const read = reason._tag === "Die" ? ofDefect(reason.defect) : ofError(reason.error, isFailure)
      if (read._tag === "Failure") return read
      if (found?._tag !== "Success") found = read
    }
    return found ?? plainFailure
  }

/** Whether a later call may succeed: the error is a Failure of the service, and the service does not forbid retries. */
export const isTransient = (error: unknown): boolean => {
  if (isServiceUnavailable(error) && !error.retryable) return false
  return ofError(error, undefined)._tag === "Failure"
}
