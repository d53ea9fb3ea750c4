import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { nowOf } from "../engine/time.ts"
import { type AnyEffect, makeTimeout, timeoutOrElse } from "../engine/timeout.ts"
import { type CallDeadline, CurrentDeadline, DeadlineExceeded, deadlineOf } from "../shapes/currentDeadline.ts"

type AnyFiber = Fiber.Fiber<unknown, unknown>

/** Formats whole milliseconds, at least 1. Otherwise, the text would contain nanoseconds. */
const text = (millis: number): string => `'${Duration.format(Duration.millis(Math.max(1, Math.round(millis))))}'`

const isOver = "The deadline is over"

/** The remaining time in milliseconds: at least 0, and `Infinity` without a limit. */
export const leftOf = ({ until }: CallDeadline, fiber: AnyFiber): number =>
  until === Infinity ? Infinity : Math.max(0, until - nowOf(fiber.getRef(Clock.Clock))())

/** Whether a caller is already retrying, so that the calls inside must not be repeated. */
export const isRepeated = ({ attempt }: CallDeadline): boolean => attempt > 1

/**
 * Sets a deadline for an effect and its calls, and interrupts the effect at the deadline. If an outer deadline is earlier, it applies. For a
 * request of another process, `inner` has the attempt and the state that the attempts share.
 */
export const until = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  millis: number,
  inner?: Pick<CallDeadline, "attempt" | "shared">
): Effect.Effect<A, E | DeadlineExceeded, R> =>
  Effect.withFiber((fiber) => {
    const outer = deadlineOf(fiber)
    const now = nowOf(fiber.getRef(Clock.Clock))()
    const until = Math.min(now + millis, outer?.until ?? Infinity)
    const { attempt, shared } = inner ?? outer ?? { attempt: 1, shared: { gaveUp: false } }
    const run = Effect.provideService(self, CurrentDeadline, { until, attempt, shared })
    if (until === Infinity) return run
    const left = Math.max(0, until - now)
    const late = () => Effect.fail(new DeadlineExceeded(left === 0 ? isOver : `The deadline of ${text(left)} is over`))
    return left === 0 ? late() : timeoutOrElse(run, left, late)
  })

/** {@link makeTimeout}, but the effect ends at the deadline of the caller if that is earlier. */
export const makeTimeoutWithin = (millis: number) =>
  makeTimeout(millis, (fiber, self) => {
    const deadline = deadlineOf(fiber)
    if (deadline === undefined) return undefined
    const left = leftOf(deadline, fiber)
    if (left >= millis) return undefined
    const late = (): AnyEffect =>
      Effect.fail(
        new DeadlineExceeded(
          left === 0 ? isOver : `Operation timed out after ${text(left)}, at the deadline of the caller`
        )
      )
    return left === 0 ? late() : timeoutOrElse(self, left, late)
  })

/** Runs a call as the attempt with this number. */
export const asAttempt = (self: AnyEffect, deadline: CallDeadline, attempt: number): AnyEffect =>
  Effect.provideService(self, CurrentDeadline, { ...deadline, attempt })
