import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"

/** The deadline and the attempt of the calls of a fiber. */
export interface CallDeadline {
  /** When the time is over, in milliseconds of the monotonic clock of the fiber; `Infinity` if only the attempt is known. */
  readonly until: number
  /** 1 for the first attempt. Above 1, a caller is already retrying. */
  readonly attempt: number
  /** The state that all attempts inside one `within`, or inside one request, share. */
  readonly shared: {
    /** Whether a retry below has given up, so that a retry above would repeat all its attempts. */
    gaveUp: boolean
  }
}

export const CurrentDeadline: Context.Reference<CallDeadline | undefined> = Context.Reference<CallDeadline | undefined>(
  "effect-fuse/Deadline/Current",
  { defaultValue: () => undefined }
)

let latestContext: Context.Context<never> | undefined
let latest: CallDeadline | undefined

/** The deadline of a fiber. The deadline of the latest context is cached, because all calls of a fiber have the same context. */
export const deadlineOf = ({ context }: Fiber.Fiber<unknown, unknown>): CallDeadline | undefined => {
  if (context === latestContext) return latest
  latest = Context.get(context, CurrentDeadline)
  latestContext = context
  return latest
}

const ExceededId: unique symbol = Symbol.for("effect-fuse/DeadlineExceeded")

/** A `TimeoutError` of Effect, because callers handle both alike. */
export class DeadlineExceeded extends Cause.TimeoutError {
  readonly [ExceededId] = true as const
}

export const isDeadlineExceeded = (error: unknown): error is DeadlineExceeded =>
  Cause.isTimeoutError(error) && ExceededId in error

/**
 * Whether a deadline ended an effect: the error of the deadline is the only error in its cause. The error may be a defect: if a handler's
 * type does not allow `TimeoutError`, the handler uses `Effect.orDie`.
 */
export const endedAtDeadline = ({ reasons }: Cause.Cause<unknown>): boolean => {
  const errors = reasons.filter((reason) => reason._tag !== "Interrupt")
  return (
    errors.length > 0 &&
    errors.every((reason) => isDeadlineExceeded(reason._tag === "Die" ? reason.defect : reason.error))
  )
}
