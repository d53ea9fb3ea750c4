import * as Clock from "effect/Clock"
import * as Context from "effect/Context"

/** The clocks of one store: every time it compares comes from the same one. */
export interface Time {
  /** Milliseconds of a clock that never steps: what all decisions are made on. */
  readonly now: () => number
  /** Milliseconds since 1970, for people. */
  readonly wall: () => number
}

const live = Context.get(Context.empty(), Clock.Clock)

/** `performance.now` is as monotonic as the live clock's nanoseconds, and costs half: no `bigint` is made. */
export const fromClock = (clock: Clock.Clock): Time => ({
  now: clock === live ? () => performance.now() : () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6,
  wall: () => clock.currentTimeMillisUnsafe()
})
