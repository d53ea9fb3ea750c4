import * as Duration from "effect/Duration"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as ProblemDetails from "effect/http/ProblemDetails"
import { type Decoded, field, numberWhere, optional, textOrEmpty, word } from "../core/fields.ts"
import type { BulkheadFull } from "../shapes/BulkheadFull.ts"
import { type CircuitOpen, isCircuitOpen } from "../shapes/CircuitOpen.ts"
import { saysNothing } from "./exempt.ts"

type ServerResponse = HttpServerResponse.HttpServerResponse

export type Respond =
  | "json"
  | "problem"
  | ((rejection: CircuitOpen | BulkheadFull, tenant: string | undefined) => ServerResponse)

interface ErrorContent {
  readonly status: number
  readonly error: string
  readonly title: string
  readonly fields: Readonly<Record<string, unknown>>
  readonly headers?: Readonly<Record<string, string>>
}

const write = (how: "json" | "problem", { error, fields, headers = {}, status, title }: ErrorContent): ServerResponse =>
  HttpServerResponse.setHeaders(
    how === "json"
      ? HttpServerResponse.jsonUnsafe({ error, ...fields }, { status })
      : ProblemDetails.toResponse({ type: "about:blank", title, status, error, ...fields }),
    { "cache-control": "no-store", ...headers }
  )

/** The largest value that every client can read: recipients treat larger numbers as 2^31 (RFC 9111, section 1.2.2). */
const mostSeconds = 2 ** 31

/** Whole seconds, at least 1; `undefined` if the wait is unknown. */
const secondsUntil = (rejection: CircuitOpen | BulkheadFull): number | undefined =>
  isCircuitOpen(rejection) && Duration.isFinite(rejection.retryAfter)
    ? Math.min(mostSeconds, Math.max(1, Math.ceil(Duration.toSeconds(rejection.retryAfter))))
    : undefined

const timeIn = (seconds: number, now: number = Date.now()): string => new Date(now + seconds * 1_000).toISOString()

export const responseFields = {
  tenant: optional(textOrEmpty),
  format: optional(word("json", "problem")),
  retryAfter: optional(word("seconds", "iso")),
  now: optional(field("milliseconds since 1970", numberWhere(Number.isFinite)))
}

export const rejectionResponse = (
  rejection: CircuitOpen | BulkheadFull,
  options: Decoded<typeof responseFields>
): ServerResponse => {
  const seconds = secondsUntil(rejection)
  const open = isCircuitOpen(rejection)
  const response = write(options.format ?? "json", {
    status: 503,
    error: open ? "circuit_open" : "bulkhead_full",
    title: "Service Unavailable",
    fields: {
      service: open ? rejection.circuit : rejection.bulkhead,
      tenant_id: options.tenant ?? null,
      retry_after:
        seconds !== undefined && options.retryAfter === "iso" ? timeIn(seconds, options.now) : (seconds ?? null)
    },
    headers: seconds === undefined ? {} : { "retry-after": String(seconds) }
  })
  saysNothing.add(response)
  return response
}

type RespondTo = (rejection: CircuitOpen | BulkheadFull, tenant: string | undefined, now: number) => ServerResponse

const withHeaders = (response: ServerResponse, rejection: CircuitOpen | BulkheadFull): ServerResponse => {
  const { headers, status } = response
  const seconds = secondsUntil(rejection)
  const added: Record<string, string> = {}
  if (headers["cache-control"] === undefined) added["cache-control"] = "no-store"
  if (seconds !== undefined && status >= 300 && headers["retry-after"] === undefined) {
    added["retry-after"] = String(seconds)
  }
  return HttpServerResponse.setHeaders(response, added)
}

export const answering = (respond: Respond | undefined, retryAfter: "seconds" | "iso" | undefined): RespondTo =>
  typeof respond === "function"
    ? (rejection, tenant) => {
        const response = withHeaders(respond(rejection, tenant), rejection)
        saysNothing.add(response)
        return response
      }
    : (rejection, tenant, now) => rejectionResponse(rejection, { tenant, format: respond, retryAfter, now })

/** The response does not repeat the header's value, which may be anything. */
export const invalidTenant = (header: string, how: "json" | "problem"): ServerResponse =>
  write(how, {
    status: 400,
    error: "invalid_tenant",
    title: "Bad Request",
    fields: { detail: `The header ${header} does not name a tenant` }
  })

export const deadlineExceeded = (how: "json" | "problem"): ServerResponse => {
  const response = write(how, { status: 504, error: "deadline_exceeded", title: "Gateway Timeout", fields: {} })
  saysNothing.add(response)
  return response
}
