/**
 * One deadline for all calls that a piece of work makes, also over several retries and several services.
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
 * - `Resilience.timeout` gives a call the smaller of its own duration and what remains.
 * - A retry or a hedge is not begun if its delay and the circuit's median duration do not fit into what remains. The call then fails with
 *   its last error.
 * - `HttpClientBreaker` sends what remains and the attempt, and `HttpServerBreaker` reads them, with `deadline: true`.
 * - If the caller is already retrying, nothing below is repeated: {@link attempt} is above 1.
 *
 * A breaker ignores a call that the deadline has cut short, unless it had clearly more time than calls usually take.
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { decodeArgument, positiveMillis } from "../core/fields.ts"
import { deadlineOf, isDeadlineExceeded as isExceeded } from "../shapes/currentDeadline.ts"
import { leftOf, until } from "./deadlines.ts"

/**
 * Whether an error is a `TimeoutError` because of a deadline, and not because of the call's own timeout. Its message says how much time the
 * call had.
 *
 * @category guards
 */
export const isDeadlineExceeded = (error: unknown): error is Cause.TimeoutError => isExceeded(error)

/**
 * Sets a deadline for an effect and all calls inside it. At the deadline, the effect is interrupted and fails with Effect's `TimeoutError`.
 * Of nested deadlines, the earlier one holds. Throws a `RangeError` unless the duration is above 0.
 *
 * @category combinators
 */
export const within: {
  (duration: Duration.Input): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Cause.TimeoutError, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.Input): Effect.Effect<A, E | Cause.TimeoutError, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.Input) =>
  until(self, decodeArgument("Deadline.within", "duration", positiveMillis, duration))
)

/**
 * How much time remains: zero after the deadline, and infinite if there is none.
 *
 * @category getters
 */
export const remaining: Effect.Effect<Duration.Duration> = Effect.withFiber((fiber) => {
  const deadline = deadlineOf(fiber)
  return Effect.succeed(deadline === undefined ? Duration.infinity : Duration.millis(leftOf(deadline, fiber)))
})

/**
 * Which attempt of a call this is: 1 for the first one, also without a deadline. It counts the retries of this process, and those of the
 * callers that send their attempt.
 *
 * @category getters
 */
export const attempt: Effect.Effect<number> = Effect.withFiber((fiber) =>
  Effect.succeed(deadlineOf(fiber)?.attempt ?? 1)
)
