import * as Cause from "effect/Cause"
import * as Exit from "effect/Exit"
import * as HttpClientError from "effect/http/HttpClientError"
import { RpcClientError } from "effect/rpc/RpcClientError"
import * as SchemaIssue from "effect/SchemaIssue"
import { isRecord } from "../core/fields.ts"
import * as Outcome from "../core/Outcome.ts"
import { defaultOutcome } from "../engine/classify.ts"
import { isRejection, safely } from "../shapes/rejections.ts"
import { forbidsRetry, isServiceUnavailable, type ServiceUnavailable } from "./unavailable.ts"

const plainFailure = Outcome.failure()

/** The error corresponds to the HTTP status 503 or 504. The circuit reads the error's `retryAfter`. */
const ofUnavailable = ({ reason }: ServiceUnavailable): Outcome.Outcome =>
  Outcome.failure({ detail: `ServiceUnavailable (${reason})`, overload: reason !== "DeadlineExceeded" })

/** Classifies the error of an `HttpClient` as `HttpClientBreaker` does. The circuit reads the error's `Retry-After`. */
const ofTransport = ({ reason }: RpcClientError): Outcome.Outcome => {
  if (reason._tag !== "HttpError" || !isRecord(reason.cause)) return plainFailure
  // The cause is a reason of `HttpClient`, but its type is `unknown`. For a foreign cause, the default outcome is a Failure.
  const error = new HttpClientError.HttpClientError({ reason: reason.cause as never })
  return defaultOutcome(Exit.fail(error))
}

/** A typed error is an answer of the server, unless `isFailure` says otherwise. */
const ofError = (error: unknown, isFailure: ((error: never) => boolean) | undefined): Outcome.Outcome => {
  if (error instanceof RpcClientError) return ofTransport(error)
  if (isServiceUnavailable(error)) return ofUnavailable(error)
  if (Cause.isTimeoutError(error)) return plainFailure
  if (isRejection(error)) return Outcome.ignored
  // The remaining errors are typed errors of the group, which `isFailure` accepts.
  return isFailure?.(error as never) === true ? plainFailure : Outcome.success
}

/** If a payload does not match its schema, the client sends nothing: the caller has made a mistake. */
const ofDefect = (defect: unknown): Outcome.Outcome =>
  safely(() => defect instanceof Error && SchemaIssue.isIssue(defect.cause), false) ? Outcome.ignored : plainFailure

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

/** Whether a retry may succeed: the error is a Failure, and the server does not forbid a retry. */
export const isTransient = (error: unknown): boolean =>
  !forbidsRetry(error) && ofError(error, undefined)._tag === "Failure"
