import * as Clock from "effect/Clock"
import * as Context from "effect/Context"

/** The clocks of one store: every time it compares comes from the same one. */
export interface Time {
  /** Milliseconds of a clock that never steps: what all decisions are made on. */
  readonly now: () => number
  /** Milliseconds since 1970, for people. */
  readonly wall: () => number
}

const isNative = (f: unknown): boolean => Function.prototype.toString.call(f).includes("[native code]")

const realNow = performance.now.bind(performance)
const nowFunction: unknown = performance.now
/** The `Date` of a program without fake timers. */
const realDate: unknown = isNative(Date) ? Date : undefined

/** Whether the latest time was read under fake timers. */
let wasFake = false
/** How far the real clock is behind after fake timers were in use. */
let realOffset = 0
/** What was read under fake timers: a function of theirs, its latest answer, and what was made of it. */
let source: unknown
let reading = 0
let shown = 0

/**
 * Follows the fake timers of a test, which move timers too: time continues where it was before, and a step back, as of fake time that starts
 * anew, is no time.
 */
const fakeMillis = (): number => {
  const { now } = globalThis.performance
  // A fake `performance` is better than a fake `Date`, which can be set without moving the timers.
  const usesDate = now === nowFunction
  const next: unknown = usesDate ? globalThis.Date : now
  const read = usesDate ? Date.now() : globalThis.performance.now()
  // A whole number, as fake time is: sums of fractions would end a cooldown a millisecond late.
  if (!wasFake) shown = Math.ceil(realNow() + realOffset)
  else if (source === next && read > reading) shown += read - reading
  wasFake = true
  source = next
  reading = read
  return shown
}

const realMillisAgain = (): number => {
  wasFake = false
  realOffset = shown - realNow()
  return shown
}

/** Milliseconds of a clock that never steps back, and that fake timers of a test (vitest, jest, node:test) move. */
export const monotonicMillis = (): number => {
  if (globalThis.Date !== realDate) return fakeMillis()
  return wasFake ? realMillisAgain() : realNow() + realOffset
}

/** A clock whose milliseconds need no `bigint`. */
export interface MillisClock extends Clock.Clock {
  readonly monotonicMillisUnsafe: () => number
}

const live = Context.get(Context.empty(), Clock.Clock)

/** The live clock's nanoseconds cost twice as much as milliseconds, and fake timers do not move them. */
export const fromClock = (clock: Clock.Clock): Time => ({
  now:
    clock === live
      ? monotonicMillis
      : "monotonicMillisUnsafe" in clock
        ? (clock as MillisClock).monotonicMillisUnsafe
        : () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6,
  wall: () => clock.currentTimeMillisUnsafe()
})
