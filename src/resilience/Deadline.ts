/**
 * A deadline for an effect and all calls inside it, across retries and services.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { BreakerStore, Deadline, Resilience } from "effect-fuse"
 *
 * const call = Effect.never.pipe(Resilience.standard("api", { timeout: "10 seconds" }))
 *
 * const program = Effect.flip(Deadline.within(call, "20 millis"))
 * const error = await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory))
 * Deadline.isDeadlineExceeded(error) // => true
 * ```
 *
 * Inside {@link within}:
 *
 * - `Resilience.timeout` uses its own duration or the remaining time, whichever is shorter.
 * - A retry or a hedge does not start if its delay and the circuit's median duration do not fit into the remaining time. The call then
 *   fails with its last error.
 * - With `deadline: true`, `HttpClientBreaker` sends the remaining time and the attempt to the server, and `HttpServerBreaker` reads them.
 * - If a caller is already retrying, so that {@link attempt} is above 1, the calls inside are not repeated.
 *
 * A breaker ignores a call that the deadline interrupts, unless the call had clearly more time than calls usually take.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { decodeArgument, field, millisWhere } from "../core/fields.ts"
import { expectedDuration } from "../core/millis.ts"
import { deadlineOf, isDeadlineExceeded as isExceeded } from "../shapes/currentDeadline.ts"
import { leftOf, until } from "./deadlines.ts"

/**
 * Whether an error is the `TimeoutError` of a deadline, and not of the call's own timeout. The error's message says how much time the call
 * had.
 *
 * @category guards
 */
export const isDeadlineExceeded = (error: unknown): error is Cause.TimeoutError => isExceeded(error)

/** If the time is over, the value is negative. */
const computedMillis = field(
  expectedDuration.any,
  millisWhere(() => true)
)

/**
 * Sets a deadline for an effect and all calls inside it. At the deadline, the effect is interrupted and fails with Effect's `TimeoutError`.
 * If deadlines are nested, the earliest deadline applies.
 *
 * A program may compute the duration, for example from the time when a job entered its queue. If the duration is zero or negative, the
 * effect fails at once and does not run. An infinite duration sets no deadline. {@link remaining} may return an infinite duration. Throws a
 * `RangeError` if the value is not a duration.
 *
 * @category combinators
 */
export const within: {
  (duration: Duration.Input): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Cause.TimeoutError, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.Input): Effect.Effect<A, E | Cause.TimeoutError, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.Input) =>
  until(self, decodeArgument("Deadline.within", "duration", computedMillis, duration))
)

/**
 * The remaining time: zero after the deadline, and infinite without a deadline.
 *
 * @category getters
 */
export const remaining: Effect.Effect<Duration.Duration> = Effect.withFiber((fiber) => {
  const deadline = deadlineOf(fiber)
  return Effect.succeed(deadline === undefined ? Duration.infinity : Duration.millis(leftOf(deadline, fiber)))
})

/**
 * Reads the number of a call's current attempt. The first attempt has the number 1. The number counts retries inside {@link within}. If
 * callers in other processes send their attempt, the number also counts their retries.
 *
 * @category getters
 */
export const attempt: Effect.Effect<number> = Effect.withFiber((fiber) =>
  Effect.succeed(deadlineOf(fiber)?.attempt ?? 1)
)
