import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Headers from "effect/http/Headers"
import type * as Rpc from "effect/rpc/Rpc"
import type * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSchema from "effect/rpc/RpcSchema"
import * as Stream from "effect/Stream"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import type { Subject } from "../breaker/protect.ts"
import type { AnyEffect } from "../engine/timeout.ts"
import { headersOf } from "../http/deadlineHeaders.ts"
import { deadlineOf } from "../shapes/currentDeadline.ts"
import { keeping, type Within } from "./kept.ts"
import { watched } from "./streaming.ts"
import { forbidsRetry } from "./unavailable.ts"

/*
 * A client middleware of `effect/rpc` cannot protect calls: its `next` ends when the request has been sent, and over a socket the answer
 * arrives later. So the methods of the client are wrapped.
 */

interface CallOptions {
  readonly asQueue?: boolean | undefined
  readonly streamBufferSize?: number | undefined
  readonly headers?: Headers.Input | undefined
}

type Method = (payload: unknown, options?: CallOptions) => unknown

export interface ClientProtection {
  readonly subjectOf: (call: { readonly procedure: string; readonly payload: unknown }) => Subject
  readonly sendsDeadline: boolean
  /** Runs a call that has one answer. */
  readonly run: (call: AnyEffect, subject: Subject, procedure: string) => AnyEffect
}

/** Calls a method. Inside a deadline, adds headers with the remaining time and the attempt. */
const sending = (
  method: Method,
  payload: unknown,
  options: CallOptions | undefined,
  fiber: Fiber.Fiber<unknown, unknown>
) => {
  const deadline = deadlineOf(fiber)
  if (deadline === undefined) return method(payload, options)
  const own = options?.headers === undefined ? Headers.empty : Headers.fromInput(options.headers)
  return method(payload, { ...options, headers: Headers.setAll(own, headersOf(deadline, fiber)) })
}

/** If the server forbids a retry, marks the deadline, so that the callers above do not retry either. */
const noteGivenUp = (fiber: Fiber.Fiber<unknown, unknown>) => (error: unknown) => {
  const deadline = deadlineOf(fiber)
  if (deadline !== undefined && forbidsRetry(error)) deadline.shared.gaveUp = true
  return error
}

const calling =
  (procedure: string, method: Method, { run, sendsDeadline, subjectOf }: ClientProtection, within: Within): Method =>
  (payload, options) => {
    const sent: AnyEffect = sendsDeadline
      ? Effect.withFiber((fiber) =>
          Effect.mapError(sending(method, payload, options, fiber) as AnyEffect, noteGivenUp(fiber))
        )
      : Effect.suspend(() => method(payload, options) as AnyEffect)
    return Effect.updateContext(
      Effect.suspend(() => run(sent, subjectOf({ procedure, payload }), procedure)),
      within
    )
  }

const streaming =
  (procedure: string, method: Method, { sendsDeadline, subjectOf }: ClientProtection, within: Within): Method =>
  (payload, options) => {
    const { asQueue = false, ...others } = options ?? {}
    const stream = Stream.unwrap(
      Effect.withFiber((fiber) => {
        const answer = sendsDeadline ? sending(method, payload, others, fiber) : method(payload, others)
        const elements = answer as Stream.Stream<unknown, unknown>
        const noted = sendsDeadline ? Stream.mapError(elements, noteGivenUp(fiber)) : elements
        return Effect.succeed(watched(noted, subjectOf({ procedure, payload })))
      })
    )
    const guarded = Stream.updateContext(
      stream,
      within as (own: Context.Context<never>) => Context.Context<BreakerStore>
    )
    return asQueue ? Stream.toQueue(guarded, { capacity: others.streamBufferSize ?? 16 }) : guarded
  }

const isFlat = (client: unknown): client is (procedure: string, payload: unknown, options?: CallOptions) => unknown =>
  typeof client === "function"

/** Wraps the methods of a client. A flat client is one function for all procedures. */
const wrapped = (
  client: unknown,
  group: RpcGroup.RpcGroup<Rpc.Any>,
  wrap: (rpc: Rpc.AnyWithProps, method: Method) => Method
): unknown => {
  const wrapOf = (procedure: string, method: Method): Method => {
    const rpc = group.requests.get(procedure)
    return rpc === undefined ? method : wrap(rpc as Rpc.AnyWithProps, method)
  }
  if (!isFlat(client)) {
    return Object.fromEntries(
      Object.entries(client as Record<string, Method>).map(([procedure, method]) => [
        procedure,
        wrapOf(procedure, method)
      ])
    )
  }
  const methods = new Map<string, Method>()
  return (procedure: string, payload: unknown, options?: CallOptions) => {
    let method = methods.get(procedure)
    if (method === undefined) {
      method = wrapOf(procedure, (payload, options) => client(procedure, payload, options))
      methods.set(procedure, method)
    }
    return method(payload, options)
  }
}

/** Wraps the client that `self` makes. */
export const protecting = (self: AnyEffect, group: RpcGroup.RpcGroup<Rpc.Any>, how: ClientProtection) =>
  Effect.flatMap(keeping, (within) =>
    Effect.map(self, (client) =>
      wrapped(client, group, (rpc, method) =>
        RpcSchema.isStreamSchema(rpc.successSchema)
          ? streaming(rpc._tag, method, how, within)
          : calling(rpc._tag, method, how, within)
      )
    )
  )
