import type * as Clock from "effect/Clock"
import { isFakeTime, monotonicMillis, nowOf } from "./time.ts"

/*
 * What a stall of the event loop makes late is no evidence about a dependency: the process was stopped, its event loop was
 * blocked, or it collected garbage. This module is the one place that knows of stalls.
 *
 * How a stall is detected. A timer that fires more than `lateMillis` after it was due shows that the event loop stood still from
 * then until now. Every timer of the library that decides about a call reports this (`timers.ts` and `timeout.ts`). They are not enough: a
 * call may have no timer, or only a timer of the user's. So while calls are in flight a check timer runs, one for the whole
 * process, every `checkMillis`. It does not keep the process alive. A call pays two additions and a comparison for it. An outcome
 * that is read before the check timer could fire finds that the check timer is overdue.
 *
 * What follows from a stall:
 * - A timer that was due during the stall gives the call more time, so that input that has arrived can be read: as much as the
 *   timer's own duration, at most `graceMillis`.
 * - A Failure of a call is Ignored if the call was in flight during a stall, ends at most `excuseMillis` after it, and if the
 *   stall took at least `lateMillis` and `excuseShare` of its time. A call that begins after the stall counts as ever, and so
 *   does a long call of which the stall took only a small part.
 * - The time of a stall counts neither for `slowCall` nor for `Trip.stuck`.
 *
 * What is bounded. A process that stalls all the time must not become blind. Each stall uses up one of `maxExcused` credits, and
 * each second between stalls returns one. A stall without a credit excuses nothing.
 *
 * Whose time. Knowledge belongs to a clock. The live clocks share the event loop of the process. Any other clock, such as
 * `TestClock`, has its own, without a check timer: there a timer is late only if that clock wakes it late, so a large step of `TestClock`
 * is no stall. Fake timers are ignored altogether, because some of them advance the time before they fire what is due.
 */

/** A timer that is later than this shows a stall. A busy event loop is often late by 20 to 50 milliseconds. */
const lateMillis = 100
const checkMillis = 100
export const graceMillis = 500
/** A timer may be given more time again if the next stall follows at once, but only this many times. */
export const maxGraces = 3
/** The grace, and as much as its own timer may be late without being a stall. */
const excuseMillis = graceMillis + 2 * lateMillis
const excuseShare = 0.1
const maxExcused = 10
/** The time between two stalls that returns one credit. */
const creditMillis = 1_000
/** The number of stalls that are remembered. */
const maxStalls = 16

/** A time during which the event loop did not run. Its true start may be earlier, by up to `checkMillis`. */
interface StallTime {
  from: number
  until: number
  /** Whether there was a credit for it. */
  readonly excuses: boolean
}

// Fake timers that are installed later must not control the check timer.
const realSetTimeout = globalThis.setTimeout
const realClearTimeout = globalThis.clearTimeout

export class EventLoop {
  readonly now: () => number
  /** The number of calls in flight. */
  private running = 0
  /** From this time on the check timer is overdue, or not armed. `Infinity` if there is no check timer. */
  private checkAt: number
  private due = Infinity
  private armed: unknown = undefined
  private readonly stalls: Array<StallTime> = []
  private credits = maxExcused

  constructor(now: () => number, hasCheckTimer: boolean) {
    this.now = now
    this.checkAt = hasCheckTimer ? Number.NEGATIVE_INFINITY : Infinity
  }

  /** A call begins. */
  began(now: number): void {
    this.running++
    if (now >= this.checkAt) this.check(now)
  }

  /** A call has ended. */
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
      // Another timer of the same stall. A stall in the past, which the timer was not due in, was reported then.
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

  /** Looks at the check timer, which may be overdue and has not fired yet. */
  private update(): void {
    if (this.armed === undefined) return
    const now = this.now()
    if (now >= this.checkAt) this.check(now)
  }

  /** For how long the event loop stalled between two times. */
  stalledBetween(since: number, until: number): number {
    this.update()
    let total = 0
    for (const stall of this.stalls) {
      if (stall.excuses) total += Math.max(0, Math.min(until, stall.until) - Math.max(since, stall.from))
    }
    return total
  }

  /** Whether a failure of a call that began at `since` and ended at `until` may be due to a stall. */
  excuses(since: number, until: number): boolean {
    this.update()
    const last = this.stalls.at(-1)
    if (last === undefined || since >= last.until || until > last.until + excuseMillis) return false
    return this.stalledBetween(since, until) >= Math.max(lateMillis, excuseShare * (until - since))
  }

  /** How long the latest stall took. */
  get lastStallMillis(): number {
    const last = this.stalls.at(-1)
    return last === undefined ? 0 : last.until - last.from
  }

  /** Whether a stall has just ended. */
  get hasJustStalled(): boolean {
    this.update()
    const last = this.stalls.at(-1)
    return last?.excuses === true && this.now() <= last.until + excuseMillis
  }
}

/** The event loop of the process, which runs the timers of the live clocks. */
export const processLoop = new EventLoop(monotonicMillis, true)
const ofClocks = new WeakMap<Clock.Clock, EventLoop>()

/** The event loop that runs the timers of a clock. */
export const eventLoopOf = (clock: Clock.Clock): EventLoop => {
  const known = ofClocks.get(clock)
  if (known !== undefined) return known
  const now = nowOf(clock)
  const made = now === monotonicMillis ? processLoop : new EventLoop(now, false)
  ofClocks.set(clock, made)
  return made
}
