/** Marks the errors of calls that a policy rejected. The call did not run, so the error says nothing about the dependency. */
export const Rejection: unique symbol = Symbol.for("effect-fuse/Rejection")

/** The ids of the rejections of Effect's rate limiter and circuit breaker. Comparing ids needs no import. */
const effects = [
  "~effect/persistence/RateLimiter/RateLimiterError",
  "~effect/persistence/CircuitBreaker/CircuitBreakerError"
]

/** Inspects a foreign value. Returns `otherwise` if the value throws, as a revoked proxy does. */
export const safely = <A>(question: () => A, otherwise: A): A => {
  try {
    return question()
  } catch {
    return otherwise
  }
}

/** Whether an error is a rejection by a policy of this library or of Effect. */
export const isRejection = (error: unknown): boolean =>
  typeof error === "object" &&
  error !== null &&
  safely(() => Rejection in error || effects.some((id) => id in error), false)

const raised = new WeakSet<object>()

/** Remembers that the user's function raised this error. Needed only for errors of a class of this library. */
export const noteRaisedByUser = (error: unknown): void => {
  if (typeof error === "object" && error !== null) raised.add(error)
}

/** Whether the user's function raised this error, and not a circuit or policy around the call. */
export const isRaisedByUser = (error: unknown): boolean =>
  typeof error === "object" && error !== null && raised.has(error)
