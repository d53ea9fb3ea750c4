import type * as Fiber from "effect/Fiber"
import type { Transition } from "../shapes/BreakerEvent.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import type { Time } from "./time.ts"

type SpanFiber = Fiber.Fiber<unknown, unknown>

/** The span of a fiber. A span of another program cannot be written. */
const spanOf = ({ cache }: SpanFiber) => (cache.span?._tag === "Span" ? cache.span : undefined)

const nanos = (time: Time): bigint => BigInt(Math.round(time.wall())) * 1_000_000n

const named = (circuit: string, key: string | undefined) => ({
  "circuit_breaker.name": circuit,
  ...(key === undefined ? {} : { "circuit_breaker.key": key })
})

/** Adds a rejection to the span of the caller, so that the trace of a request shows why it failed. */
export const noteRejection = (fiber: SpanFiber, time: Time, open: CircuitOpen): void => {
  const span = spanOf(fiber)
  if (span === undefined) return
  const { circuit, detail, key, reason, scope, state } = open
  const attributes = {
    ...named(circuit, key),
    "circuit_breaker.state": state,
    "circuit_breaker.scope": scope,
    "circuit_breaker.reason": reason,
    ...(detail === undefined ? {} : { "circuit_breaker.detail": detail })
  }
  for (const [name, value] of Object.entries(attributes)) span.attribute(name, value)
  span.event("circuit_breaker.rejected", nanos(time), attributes)
}

/** Adds a transition to the span of the call that caused it. */
export const noteTransition = (fiber: SpanFiber, time: Time, event: Transition): void => {
  const span = spanOf(fiber)
  if (span === undefined) return
  const { circuit, detail, from, key, to, why } = event
  span.attribute("circuit_breaker.name", circuit)
  span.attribute("circuit_breaker.state", to)
  span.event("circuit_breaker.transition", nanos(time), {
    ...named(circuit, key),
    "circuit_breaker.from": from,
    "circuit_breaker.to": to,
    "circuit_breaker.why": why,
    ...(detail === undefined ? {} : { "circuit_breaker.detail": detail })
  })
}
