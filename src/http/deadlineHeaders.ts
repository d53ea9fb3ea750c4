import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import { type Decoded, optional, positiveMillis, structOrFlag } from "../core/fields.ts"
import { noRetryHeader } from "../engine/classify.ts"
import type { AnyEffect } from "../engine/timeout.ts"
import { leftOf, until } from "../resilience/deadlines.ts"
import { type CallDeadline, deadlineOf, endedAtDeadline } from "../shapes/currentDeadline.ts"

/*
 * Envoy defines these headers. Proxies and meshes that are built on Envoy set, forward and obey them. The timeout header has the remaining
 * time and not a date, because the clocks of two machines can differ.
 */

/** The remaining time for the request in milliseconds. */
export const timeoutHeader = "x-envoy-expected-rq-timeout-ms"
/** The number of the attempt: 1 for the first. */
export const attemptHeader = "x-envoy-attempt-count"

// ---- The client -----------------------------------------------------------------------------------------------------

export const headersOf = (deadline: CallDeadline, fiber: Fiber.Fiber<unknown, unknown>): Record<string, string> => {
  const left = leftOf(deadline, fiber)
  return {
    [attemptHeader]: String(deadline.attempt),
    // Rounded up, so that the server does not give up before the client.
    ...(left === Infinity ? {} : { [timeoutHeader]: String(Math.max(1, Math.ceil(left))) })
  }
}

/** Sends the remaining time and the attempt with each request inside a deadline. */
export const sending = <E, R>(self: HttpClient.HttpClient.With<E, R>): HttpClient.HttpClient.With<E, R> =>
  HttpClient.makeWith<E, R, E, R>(
    (requests) =>
      Effect.withFiber((fiber) => {
        const deadline = deadlineOf(fiber)
        if (deadline === undefined)
          return self.postprocess(requests as Effect.Effect<HttpClientRequest.HttpClientRequest>)
        const sent = Effect.map(requests, (request) =>
          HttpClientRequest.setHeaders(request, headersOf(deadline, fiber))
        )
        return Effect.map(self.postprocess(sent as Effect.Effect<HttpClientRequest.HttpClientRequest>), (response) => {
          if (response.headers[noRetryHeader] !== undefined) deadline.shared.gaveUp = true
          return response
        })
      }),
    self.preprocess as HttpClient.HttpClient.Preprocess<E, R>
  )

/** Counts the attempts of a call. Without a deadline around the call, this adds a deadline that never ends. */
export const counting = (self: AnyEffect): AnyEffect =>
  Effect.withFiber((fiber) => (deadlineOf(fiber) === undefined ? until(self, Infinity) : self))

// ---- The server -----------------------------------------------------------------------------------------------------

const deadlineFields = { max: optional(positiveMillis) }

export const deadlineField = structOrFlag(deadlineFields)

export const defaultMaxMillis = 60_000

/** A positive whole number of at most nine digits, or `undefined`. Anyone can send these headers. */
export const numberIn = (value: string | undefined): number | undefined =>
  value !== undefined && /^[1-9]\d{0,8}$/.test(value) ? Number(value) : undefined

type RequestHandler<R> = Effect.Effect<HttpServerResponse.HttpServerResponse, unknown, R>

/**
 * Runs a handler with the deadline and the attempt of its request. If a retry inside the handler has given up, a response with status 5xx
 * tells the caller not to retry. `exceeded` creates the response at the deadline.
 */
export const receiving =
  ({ max = defaultMaxMillis }: Decoded<typeof deadlineFields>, exceeded: () => HttpServerResponse.HttpServerResponse) =>
  <R>(app: RequestHandler<R>): RequestHandler<R | HttpServerRequest.HttpServerRequest> =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
      Effect.withFiber((fiber) => {
        const millis = numberIn(headers[timeoutHeader])
        const attempt = numberIn(headers[attemptHeader]) ?? 1
        const shared = { gaveUp: false }
        HttpEffect.appendPreResponseHandlerUnsafe(fiber.context, (_, response) =>
          Effect.succeed(
            shared.gaveUp && response.status >= 500
              ? HttpServerResponse.setHeader(response, noRetryHeader, "true")
              : response
          )
        )
        const run = until(app, millis === undefined ? Infinity : Math.min(millis, max), { attempt, shared })
        return Effect.catchCauseIf(run, endedAtDeadline, () => Effect.sync(exceeded))
      })
    )
