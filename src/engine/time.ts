import * as Clock from "effect/Clock"
import * as Context from "effect/Context"

export interface Time {
  /** Milliseconds of a monotonic clock, for all decisions. */
  readonly now: () => number
  /** Milliseconds since 1970, for events and messages. */
  readonly wall: () => number
}

const isNative = (f: unknown): boolean => Function.prototype.toString.call(f).includes("[native code]")

const realNow = performance.now.bind(performance)
/** Milliseconds of the monotonic clock of the platform, also while fake timers are in use. */
export const realMillis = (): number => realNow()
const nowFunction: unknown = performance.now
const realDate: unknown = isNative(Date) ? Date : undefined
/** The `setTimeout` of a program without fake timers; `undefined` if this module was loaded while they were in use. */
const realTimeout: unknown = realDate === undefined ? undefined : globalThis.setTimeout

let wasFake = false
/** How far this clock is ahead of the real clock, after fake timers were in use. */
let realOffset = 0
// The latest reading under fake timers: the fake function or class, its value, and the time that this clock returned.
let source: unknown
let reading = 0
let shown = 0

/**
 * The time while a test uses fake timers. Time continues from its value before the fake timers were installed. If the fake time
 * steps back, for example because fake timers were installed again, no time passes.
 */
const fakeMillis = (): number => {
  const { now } = globalThis.performance
  // Prefer a fake `performance`: a test can set a fake `Date` without advancing the timers.
  const usesDate = now === nowFunction
  const next: unknown = usesDate ? globalThis.Date : now
  const read = usesDate ? Date.now() : globalThis.performance.now()
  // Fake time is in whole milliseconds. With a fraction, rounding could end a cooldown one millisecond late.
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

/** Milliseconds of a clock that never steps back. The fake timers of vitest, jest and node:test control this clock. */
export const monotonicMillis = (): number => {
  // A test can also replace `Date` alone. Timers are then real, and so is the time that passes.
  if (globalThis.Date !== realDate && globalThis.setTimeout !== realTimeout) return fakeMillis()
  return wasFake ? realMillisAgain() : realNow() + realOffset
}

/** A time of {@link monotonicMillis} as a time of {@link realMillis}, without fake timers. */
export const toReal = (now: number): number => now - realOffset

/** A clock that can return milliseconds without a `bigint`. */
export interface MillisClock extends Clock.Clock {
  readonly monotonicMillisUnsafe: () => number
  /** Whether its timers keep the process alive, as those of the live clock do. */
  readonly keepsAlive: boolean
}

const live = Context.get(Context.empty(), Clock.Clock)

/** Whether a clock is that of the platform, and not a test clock. */
export const isReal = (clock: Clock.Clock): boolean => clock === live || "monotonicMillisUnsafe" in clock

/** Whether the timers of a clock keep the process alive. Only for a clock for which {@link isReal} is true. */
export const keepsAlive = (clock: Clock.Clock): boolean => clock === live || (clock as MillisClock).keepsAlive

/** The monotonic clock. The live clock in nanoseconds would cost twice as much, and fake timers do not control it. */
export const nowOf = (clock: Clock.Clock): Time["now"] => {
  if (clock === live) return monotonicMillis
  return "monotonicMillisUnsafe" in clock
    ? (clock as MillisClock).monotonicMillisUnsafe
    : () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
}

export const fromClock = (clock: Clock.Clock): Time => ({
  now: nowOf(clock),
  wall: () => clock.currentTimeMillisUnsafe()
})

/** Whether fake timers are in use. They can advance the time without running the event loop. */
export const isFakeTime = (): boolean => globalThis.Date !== realDate || globalThis.setTimeout !== realTimeout

/** Whether `setTimeout` is not the one of the platform. A test can also replace `Date` alone. */
export const hasFakeTimeouts = (): boolean => globalThis.setTimeout !== realTimeout
