import type * as Fiber from "effect/Fiber"
import type { Transition } from "../shapes/BreakerEvent.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import type { Time } from "./time.ts"

type SpanFiber = Fiber.Fiber<unknown, unknown>

/** The span in which a fiber runs, if it is one of this program's. */
const spanOf = ({ cache }: SpanFiber) => (cache.span?._tag === "Span" ? cache.span : undefined)

const nanos = (time: Time): bigint => BigInt(Math.round(time.wall())) * 1_000_000n

const named = (circuit: string, key: string | undefined) => ({
  "circuit_breaker.name": circuit,
  ...(key === undefined ? {} : { "circuit_breaker.key": key })
})

/** Says on the caller's span that a call was rejected: a request that failed early says why by itself. */
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

/** Says on the span of whose call it was that a circuit moved. */
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
