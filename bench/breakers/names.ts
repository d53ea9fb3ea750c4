/* The parts of the names of cases. */

export const timeoutText = "10 s timeout"
export const atOnceText = "1,000 at once"
export const probeText = "half-open, a probe"
export const busyText = "half-open, rejected"
export const byHandText = "Effect.timeout, protect, Effect.retry by hand"
export const ownTimedText = "Effect.timeout, Effect's own"
