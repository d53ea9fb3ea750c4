import type * as Effect from "effect/Effect"
import type { Ending } from "../core/limit.ts"
import { announce } from "./announce.ts"
import { inTurn } from "./inTurn.ts"
import type { LiveCircuit } from "./liveCircuit.ts"
import type { Runtime } from "./runtime.ts"

interface EndedCall {
  readonly start: number
  /** Returns how long the dependency has had the call at `now`. */
  timeAt(now: number): number
}

/**
 * Tells the limit of a circuit how a call of the current epoch ended. The call has already left the circuit. Returns whether the outcome
 * counts for the trip, too. `hint` is how long the dependency asks clients to wait, in milliseconds.
 */
export const limitSees = (
  runtime: Runtime,
  circuit: LiveCircuit,
  ending: Ending,
  call: EndedCall,
  hint: number,
  now: number
): boolean => {
  const { inFlight, limit, policy } = circuit
  if (limit === undefined) return true
  const took = call.timeAt(now)
  if (ending === "Success" && limit.succeededAsUsual(took, now)) return true
  // A stall of this process must not make a call late.
  const isLate = took > limit.target
  const own = isLate ? Math.max(0, took - runtime.loop.stalledBetween(call.start, now)) : took
  return limit.ended(ending, own, inFlight + 1, Math.min(hint, policy.maxCooldownMillis), now)
}

/** Announces once that a limit has begun or ended. If there is an announcement, returns the effect that logs it. */
export const limitNews = (
  runtime: Runtime,
  circuit: LiveCircuit,
  now: number,
  why: "Overload" | "Closed" = "Overload"
): Effect.Effect<void> | undefined => {
  const { group, key, limit, limitedSince } = circuit
  const holds = limit?.holds === true
  if (holds === (limitedSince !== undefined)) return undefined
  circuit.limitedSince = holds ? now : undefined
  const subject = {
    circuit: group.name,
    ...(key === undefined ? {} : { key }),
    at: runtime.time.wall(),
    epoch: circuit.control.value.epoch,
    mode: circuit.policy.mode
  }
  return announce(
    runtime,
    limitedSince === undefined
      ? { _tag: "LimitBegan", ...subject, why, limit: Math.floor(limit?.value ?? 0) }
      : { _tag: "LimitEnded", ...subject, lastedMillis: Math.max(0, Math.round(now - limitedSince)) }
  )
}

/** Adds the announcement of {@link limitNews} to the other effects of the end of a call. */
export const withLimitNews = (
  runtime: Runtime,
  circuit: LiveCircuit,
  now: number,
  rest: Effect.Effect<unknown> | undefined
): Effect.Effect<void> | undefined => inTurn(limitNews(runtime, circuit, now), rest)
