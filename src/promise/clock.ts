import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { type MillisClock, monotonicMillis } from "../engine/time.ts"

const base = Context.get(Context.empty(), Clock.Clock)

/** The longest delay of `setTimeout`. A timer with a longer delay fires at once. */
const longestMillis = 2 ** 31 - 1

const sleep = (millis: number, keepsAlive: boolean): Effect.Effect<void> =>
  millis === Infinity
    ? Effect.never
    : Effect.callback((resume) => {
        const now = Math.min(millis, longestMillis)
        const next = () => resume(now < millis ? sleep(millis - now, keepsAlive) : Effect.void)
        const timer: unknown = setTimeout(next, now)
        // In browsers a timer is a number, and keeps no process alive.
        if (!keepsAlive && typeof timer === "object" && timer !== null && "unref" in timer) {
          ;(timer as { unref: () => void }).unref()
        }
        return Effect.sync(() => clearTimeout(timer as Parameters<typeof clearTimeout>[0]))
      })

const nanos = () => BigInt(Math.round(monotonicMillis() * 1e6))

/** A clock whose time and timers are controlled by the same fake timers. */
const make = (keepsAlive: boolean): MillisClock => ({
  currentTimeMillisUnsafe: () => base.currentTimeMillisUnsafe(),
  currentTimeMillis: base.currentTimeMillis,
  currentTimeNanosUnsafe: () => base.currentTimeNanosUnsafe(),
  currentTimeNanos: base.currentTimeNanos,
  monotonicMillisUnsafe: monotonicMillis,
  keepsAlive,
  monotonicTimeNanosUnsafe: nanos,
  monotonicTimeNanos: Effect.sync(nanos),
  sleep: (duration) => sleep(Math.max(0, Duration.toMillis(duration)), keepsAlive)
})

/** The clock of background work. Its timers do not keep the process alive. */
export const background: Clock.Clock = make(false)

/** The clock of calls. Its timers keep the process alive, because a caller waits for them. */
export const foreground: Clock.Clock = make(true)
