import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { type EventLoop, eventLoopOf, graceMillis, maxGraces } from "./eventLoop.ts"
import { isReal, keepsAlive } from "./time.ts"
import { CallbackTimer, Delay, Timer } from "./timers.ts"

/*
 * The timeouts of calls, with the semantics of `Effect.timeout`.
 *
 * `Effect.timeout` races the call with a sleep, so it runs two fibers beside the one of the caller and sets a timer of the platform for
 * each call. Here the call runs on one fiber, and its timeout is a `Timer`, which needs none. If the call ends without suspending, no
 * timer is started at all.
 *
 * This holds for the live clock. On any other clock, such as `TestClock`, it is a race with a sleep of that clock.
 */

/** An effect whose types do not matter here. */
export type AnyEffect = Effect.Effect<unknown, unknown>

// ---- Any clock ------------------------------------------------------------------------------------------------------

/** Sleeps. If the event loop has stalled meanwhile, it sleeps a little longer, so that input that has arrived can be read. */
const sleepOn = (clock: Clock.Clock, loop: EventLoop, millis: number, graces: number): Effect.Effect<void> => {
  const due = loop.now() + millis
  return Effect.flatMap(clock.sleep(Duration.millis(millis)), () =>
    loop.noteTimer(due, loop.now()) && graces > 0
      ? sleepOn(clock, loop, Math.min(millis, graceMillis), graces - 1)
      : Effect.void
  )
}

const race = (clock: Clock.Clock, self: AnyEffect, millis: number, late: () => AnyEffect): AnyEffect =>
  Effect.flatten(
    Effect.raceFirst(
      Effect.map(self, Effect.succeed),
      Effect.map(sleepOn(clock, eventLoopOf(clock), millis, maxGraces), late)
    )
  )

// ---- The live clock -------------------------------------------------------------------------------------------------

/** Whether the shared timer can be used. A sleep of 0 only yields, and an infinite one never ends: `sleepOn` does both. */
const usesTimer = (clock: Clock.Clock, millis: number): boolean => isReal(clock) && millis > 0 && millis < Infinity

/** Returns `undefined` if the whole time is left. */
type Shorter = (fiber: Fiber.Fiber<unknown, unknown>, self: AnyEffect) => AnyEffect | undefined

/** The delay of timeouts with the same duration. The timers of some clocks keep the process alive, and those of others do not. */
class Limit {
  readonly millis: number
  /** Another effect to run for a call whose caller gives it less time. */
  readonly shorter: Shorter | undefined
  private readonly kept: Delay
  private readonly dropped: Delay

  constructor(millis: number, shorter?: Shorter) {
    this.millis = millis
    this.shorter = shorter
    this.kept = new Delay(millis, true)
    this.dropped = new Delay(millis, false)
  }

  start(timer: Timer, clock: Clock.Clock): void {
    if (keepsAlive(clock)) this.kept.start(timer)
    else this.dropped.start(timer)
  }
}

class Timed {
  readonly self: AnyEffect
  readonly limit: Limit
  readonly late: () => AnyEffect

  constructor(self: AnyEffect, limit: Limit, late: () => AnyEffect) {
    this.self = self
    this.limit = limit
    this.late = late
  }

  readonly run = (parent: Fiber.Fiber<unknown, unknown>): AnyEffect => {
    const shorter = this.limit.shorter?.(parent, this.self)
    if (shorter !== undefined) return shorter
    const clock = parent.getRef(Clock.Clock)
    if (!usesTimer(clock, this.limit.millis)) return race(clock, this.self, this.limit.millis, this.late)
    return Effect.callback((resume) => {
      // As in a race, the call can be interrupted even if the caller cannot.
      const call = Effect.runForkWith(parent.context as Context.Context<never>)(this.self)
      const exit = call.pollUnsafe()
      if (exit === undefined) return wait(this, call, resume, clock)
      resume(exit)
      return undefined
    })
  }
}

const wait = (
  timed: Timed,
  call: Fiber.Fiber<unknown, unknown>,
  resume: (end: AnyEffect) => void,
  clock: Clock.Clock
): Effect.Effect<void> => {
  const timer = new TimedCall(timed, call, resume)
  call.addObserver((exit) => timer.ended(exit))
  timed.limit.start(timer, clock)
  return timer
}

/**
 * The timer of a call that has suspended. As an effect, it interrupts the call. It is made for each call, so it is one object that has both
 * roles.
 */
class TimedCall extends Effectable.Mixin(Timer) {
  declare private readonly timed: Timed
  declare private readonly call: Fiber.Fiber<unknown, unknown>
  declare private readonly resume: (end: AnyEffect) => void

  constructor(timed: Timed, call: Fiber.Fiber<unknown, unknown>, resume: (end: AnyEffect) => void) {
    super()
    this.timed = timed
    this.call = call
    this.resume = resume
  }

  ended(exit: Exit.Exit<unknown, unknown>): void {
    this.stop()
    // `resume` does nothing if the caller was interrupted or the timeout has fired.
    this.resume(exit)
  }

  /** Interrupts the call and waits for its finalizers. */
  onDue(): void {
    const end = this.end()
    this.resume(Effect.flatMap(Effect.uninterruptible(Fiber.interrupt(this.call)), () => end))
  }

  private end(): AnyEffect {
    try {
      return this.timed.late()
    } catch (defect) {
      return Effect.die(defect)
    }
  }

  asEffect(): Effect.Effect<void> {
    this.stop()
    return Fiber.interrupt(this.call)
  }
}

/**
 * `Effect.timeoutOrElse` with one duration for many calls. When a call takes longer, `late` is called before the call is interrupted,
 * and the effect that it returns is run after the call has ended.
 */
export const makeTimeoutOrElse = (millis: number, shorter?: Shorter) => {
  const limit = new Limit(millis, shorter)
  return <A, E, R, A2, E2, R2>(
    self: Effect.Effect<A, E, R>,
    late: () => Effect.Effect<A2, E2, R2>
  ): Effect.Effect<A | A2, E | E2, R | R2> =>
    Effect.withFiber(new Timed(self as AnyEffect, limit, late as () => AnyEffect).run) as Effect.Effect<
      A | A2,
      E | E2,
      R | R2
    >
}

/** `Effect.timeoutOrElse` on the timer of the process. */
export const timeoutOrElse = <A, E, R, A2, E2, R2>(
  self: Effect.Effect<A, E, R>,
  millis: number,
  late: () => Effect.Effect<A2, E2, R2>
): Effect.Effect<A | A2, E | E2, R | R2> => makeTimeoutOrElse(millis)(self, late)

/** `Effect.timeout` on the timer of the process, with one duration for many calls. */
export const makeTimeout = (millis: number, shorter?: Shorter) => {
  const timed = makeTimeoutOrElse(millis, shorter)
  const late = () =>
    Effect.fail(new Cause.TimeoutError(`Operation timed out after '${Duration.format(Duration.millis(millis))}'`))
  return <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Cause.TimeoutError, R> => timed(self, late)
}

/** `Effect.timeout` on the timer of the process. */
export const timeout = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  millis: number
): Effect.Effect<A, E | Cause.TimeoutError, R> => makeTimeout(millis)(self)

/** `Effect.sleep` on the timer of the process, with more time after a stall. */
export const sleep = (millis: number): Effect.Effect<void> =>
  Clock.clockWith((clock) =>
    usesTimer(clock, millis)
      ? Effect.callback((resume) => {
          const timer = new CallbackTimer(() => resume(Effect.void))
          new Limit(millis).start(timer, clock)
          return Effect.sync(() => timer.stop())
        })
      : sleepOn(clock, eventLoopOf(clock), millis, maxGraces)
  )

/** A timer that can be started again. */
export interface Alarm {
  readonly start: () => void
  readonly stop: () => void
}

/** A timer on the clock of a fiber that calls `onDue` each time it has been started and the time is over. */
export const alarm = (fiber: Fiber.Fiber<unknown, unknown>, millis: number, onDue: () => void): Alarm => {
  const clock = fiber.getRef(Clock.Clock)
  if (usesTimer(clock, millis)) {
    const limit = new Limit(millis)
    const timer = new CallbackTimer(onDue)
    return { start: () => limit.start(timer, clock), stop: () => timer.stop() }
  }
  let sleeping: Fiber.Fiber<void> | undefined
  return {
    start: () => {
      sleeping = Effect.runForkWith(fiber.context as Context.Context<never>)(
        sleepOn(clock, eventLoopOf(clock), millis, maxGraces)
      )
      sleeping.addObserver((exit) => {
        if (exit._tag === "Success") onDue()
      })
    },
    stop: () => sleeping?.interruptUnsafe()
  }
}
