/** Marks errors with which a policy rejects a call: it was not made, so they say nothing of what it would have called. */
export const Rejection: unique symbol = Symbol.for("effect-fuse/Rejection")

/** Those of Effect, which its limiter and its breaker make. They are known by these names, which need no import. */
const effects = [
  "~effect/persistence/RateLimiter/RateLimiterError",
  "~effect/persistence/CircuitBreaker/CircuitBreakerError"
]

/** The answer of a question about a foreign value; `otherwise` if the value throws when it is looked at, as a revoked proxy does. */
export const safely = <A>(question: () => A, otherwise: A): A => {
  try {
    return question()
  } catch {
    return otherwise
  }
}

/** Whether an error is the rejection of a call by some policy, ours or one of Effect's. */
export const isRejection = (error: unknown): boolean =>
  typeof error === "object" &&
  error !== null &&
  safely(() => Rejection in error || effects.some((id) => id in error), false)

const raised = new WeakSet<object>()

/** Remembers that the user's function raised this error, whatever its class. Only errors whose class is one of ours need it. */
export const noteRaisedByUser = (error: unknown): void => {
  if (typeof error === "object" && error !== null) raised.add(error)
}

/** Whether the user's function raised this error: no circuit or policy around the call did. */
export const isRaisedByUser = (error: unknown): boolean =>
  typeof error === "object" && error !== null && raised.has(error)
