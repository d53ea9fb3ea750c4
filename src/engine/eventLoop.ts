import type * as Clock from "effect/Clock"
import { isFakeTime, monotonicMillis, nowOf } from "./time.ts"

/*
 * Detects stalls of the event loop, for example because the process was stopped, its event loop was blocked, or it collected garbage. A
 * call that is late because of a stall is no evidence about its dependency.
 *
 * How a stall is detected. If a timer fires more than `lateMillis` after it was due, the event loop did not run in between. Every timer
 * of the library that decides about a call reports this (`timers.ts` and `timeout.ts`). A call may have no such timer. So while calls are
 * in flight, one check timer for the whole process fires every `checkMillis`. It does not keep the process alive, and it costs a call two
 * additions and a comparison. Before an outcome counts, the circuit also checks whether the check timer is overdue.
 *
 * What follows from a stall:
 * - A timer that was due during the stall gives the call more time, so that input that has arrived can be read: as much as the
 *   timer's own duration, at most `graceMillis`.
 * - A Failure of a call is Ignored if the call was in flight during a stall, ended at most `excuseMillis` after it, and if the stall took
 *   at least `lateMillis` and at least `excuseShare` of the duration of the call.
 * - The time of a stall counts neither for `slowCall` nor for `Trip.stuck`.
 *
 * Limits. A process that stalls often must still detect failures. Each stall uses one of `maxExcused` credits, and each second between
 * stalls returns one. A stall without a credit excuses nothing.
 *
 * Clocks. The live clocks share the event loop of the process. Any other clock, such as `TestClock`, has an `EventLoop` of its own,
 * without a check timer, so that a large step of `TestClock` is not a stall. Fake timers are ignored, because some of them advance the
 * time before they fire the timers that are due.
 */

/** A timer that is later than this indicates a stall. A busy event loop is often late by 20 to 50 milliseconds. */
const lateMillis = 100
const checkMillis = 100
export const graceMillis = 500
export const maxGraces = 3
/** The grace, and the time by which its timer may be late without a stall. */
const excuseMillis = graceMillis + 2 * lateMillis
const excuseShare = 0.1
const maxExcused = 10
/** The time between two stalls that returns one credit. */
const creditMillis = 1_000
const maxStalls = 16

/** A time in which the event loop did not run. The stall may have begun up to `checkMillis` earlier. */
interface StallTime {
  from: number
  until: number
  readonly excuses: boolean
}

// Fake timers that a test installs later must not control the check timer.
const realSetTimeout = globalThis.setTimeout
const realClearTimeout = globalThis.clearTimeout

export class EventLoop {
  readonly now: () => number
  private running = 0
  /** The time from which on the check timer is overdue or has to be armed. `Infinity` if there is no check timer. */
  private checkAt: number
  private due = Infinity
  private armed: unknown = undefined
  private readonly stalls: Array<StallTime> = []
  private credits = maxExcused

  constructor(now: () => number, hasCheckTimer: boolean) {
    this.now = now
    this.checkAt = hasCheckTimer ? Number.NEGATIVE_INFINITY : Infinity
  }

  began(now: number): void {
    this.running++
    if (now >= this.checkAt) this.check(now)
  }

  ended(): void {
    this.running--
  }

  /** Arms the check timer. If it is overdue, the event loop has stalled, or the platform has dropped the timer. */
  private check(now: number): void {
    this.noteTimer(this.due, now)
    if (this.armed !== undefined) realClearTimeout(this.armed as Parameters<typeof clearTimeout>[0])
    this.due = now + checkMillis
    this.checkAt = this.due + lateMillis
    const armed: unknown = realSetTimeout(this.fired, checkMillis)
    this.armed = armed
    // The timers of browsers are numbers.
    if (typeof armed === "object" && armed !== null && "unref" in armed) (armed as { unref: () => void }).unref()
  }

  private readonly fired = (): void => {
    this.armed = undefined
    const now = this.now()
    if (this.running > 0) this.check(now)
    else {
      this.noteTimer(this.due, now)
      this.due = Infinity
      this.checkAt = Number.NEGATIVE_INFINITY
    }
  }

  /** Reports that a timer that was due at `due` fires at `now`. Returns whether the event loop stalled in between. */
  noteTimer(due: number, now: number): boolean {
    if (now - due <= lateMillis || isFakeTime()) return false
    const last = this.stalls.at(-1)
    if (last !== undefined && due <= last.until) {
      // Another timer that was due in the same stall.
      last.from = Math.min(last.from, due)
      last.until = Math.max(last.until, now)
      return true
    }
    if (last !== undefined) this.credits = Math.min(maxExcused, this.credits + (due - last.until) / creditMillis)
    const excuses = this.credits >= 1
    if (excuses) this.credits--
    this.stalls.push({ from: due, until: now, excuses })
    if (this.stalls.length > maxStalls) this.stalls.shift()
    return true
  }

  /** Notices an overdue check timer before it fires. */
  private update(): void {
    if (this.armed === undefined) return
    const now = this.now()
    if (now >= this.checkAt) this.check(now)
  }

  /** How many milliseconds between two times the event loop stalled. */
  stalledBetween(since: number, until: number): number {
    this.update()
    let total = 0
    for (const stall of this.stalls) {
      if (stall.excuses) total += Math.max(0, Math.min(until, stall.until) - Math.max(since, stall.from))
    }
    return total
  }

  /** Whether a stall may be the reason for the failure of a call that began at `since` and ended at `until`. */
  excuses(since: number, until: number): boolean {
    this.update()
    const last = this.stalls.at(-1)
    if (last === undefined || since >= last.until || until > last.until + excuseMillis) return false
    return this.stalledBetween(since, until) >= Math.max(lateMillis, excuseShare * (until - since))
  }

  get lastStallMillis(): number {
    const last = this.stalls.at(-1)
    return last === undefined ? 0 : last.until - last.from
  }

  get hasJustStalled(): boolean {
    this.update()
    const last = this.stalls.at(-1)
    return last?.excuses === true && this.now() <= last.until + excuseMillis
  }
}

export const processLoop = new EventLoop(monotonicMillis, true)
const ofClocks = new WeakMap<Clock.Clock, EventLoop>()

export const eventLoopOf = (clock: Clock.Clock): EventLoop => {
  const known = ofClocks.get(clock)
  if (known !== undefined) return known
  const now = nowOf(clock)
  const made = now === monotonicMillis ? processLoop : new EventLoop(now, false)
  ofClocks.set(clock, made)
  return made
}
