import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

const base = Context.get(Context.empty(), Clock.Clock)

/** Longer timers fire at once. */
const longestMillis = 2 ** 31 - 1

const sleep = (millis: number): Effect.Effect<void> =>
  millis === Infinity
    ? Effect.never
    : Effect.callback((resume) => {
        const now = Math.min(millis, longestMillis)
        const timer: unknown = setTimeout(() => resume(now < millis ? sleep(millis - now) : Effect.void), now)
        // Browsers' timers are numbers, and keep nothing alive.
        if (typeof timer === "object" && timer !== null && "unref" in timer) (timer as { unref: () => void }).unref()
        return Effect.sync(() => clearTimeout(timer as Parameters<typeof clearTimeout>[0]))
      })

/** The clock of what runs in the background: a process that only waits for that may end. */
export const background: Clock.Clock = {
  currentTimeMillisUnsafe: () => base.currentTimeMillisUnsafe(),
  currentTimeMillis: base.currentTimeMillis,
  currentTimeNanosUnsafe: () => base.currentTimeNanosUnsafe(),
  currentTimeNanos: base.currentTimeNanos,
  monotonicTimeNanosUnsafe: () => base.monotonicTimeNanosUnsafe(),
  monotonicTimeNanos: base.monotonicTimeNanos,
  sleep: (duration) => sleep(Math.max(0, Duration.toMillis(duration)))
}
