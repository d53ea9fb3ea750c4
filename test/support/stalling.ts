import { Clock, Duration, Effect } from "effect"
import type { TestClock } from "effect/testing"
import { eventLoopOf } from "../../src/engine/eventLoop.ts"

/** A `TestClock` whose event loop can stall: no timer fires until the stall is over. */
export interface Stalling {
  readonly clock: Clock.Clock
  /** An answer of a dependency. One that arrives during a stall is read after all timers that were due. */
  readonly answer: (millis: number) => Effect.Effect<void>
  /** Stalls from now on, and lets the time pass until the stall is over. Only late timers tell of it. */
  readonly stall: (millis: number) => Effect.Effect<void>
  /** The same, and the check timer of the event loop has detected it. A virtual clock has no check timer of its own. */
  readonly detectedStall: (millis: number) => Effect.Effect<void>
}

export const makeStalling: Effect.Effect<Stalling> = Clock.clockWith((clock) =>
  Effect.sync(() => {
    const base = clock as TestClock.TestClock
    let over = 0
    const untilOver = (more: number) =>
      Effect.suspend(() => {
        const rest = over - base.currentTimeMillisUnsafe()
        return rest > 0 ? base.sleep(Duration.millis(rest + more)) : Effect.void
      })
    const stalling: TestClock.TestClock = {
      ...base,
      sleep: (duration) => Effect.andThen(base.sleep(duration), untilOver(0))
    }
    const stall = (millis: number) =>
      Effect.suspend(() => {
        over = base.currentTimeMillisUnsafe() + millis
        return base.adjust(millis)
      })
    return {
      clock: stalling,
      answer: (millis) => Effect.andThen(base.sleep(Duration.millis(millis)), untilOver(1)),
      stall,
      detectedStall: (millis) =>
        Effect.suspend(() => {
          const loop = eventLoopOf(stalling)
          loop.noteTimer(loop.now(), loop.now() + millis)
          return stall(millis)
        })
    }
  })
)
