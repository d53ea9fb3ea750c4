import { Cause, Effect, Logger, Schedule, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerPolicy, type BreakerStore, CircuitBreaker } from "effect-fuse"

/** A load of policies: the value comes from outside the program, so its type is unknown. */
export type Load<E = never> = Effect.Effect<unknown, E>

/** A source that loads each of these in turn, and then the last one again. */
export const loads = <E>(...all: ReadonlyArray<Load<E> | BreakerPolicy.Settings>) => {
  const source = {
    count: 0,
    load: Effect.suspend((): Load<E> => {
      const next = all[Math.min(source.count++, all.length - 1)] ?? {}
      return Effect.isEffect(next) ? (next as Load<E>) : Effect.succeed(next)
    })
  }
  return source
}

export const everyMinute = Schedule.spaced("1 minute")

interface Line {
  readonly level: string
  readonly text: string
}

/** A logger that keeps its lines, with the cause of each. */
export const captured = () => {
  const lines: Array<Line> = []
  const logger = Logger.make(({ cause, logLevel, message }) => {
    lines.push({ level: logLevel, text: `${String(message)} ${Cause.pretty(cause)}` })
  })
  return { lines, layer: Logger.layer([logger]) }
}

export type Needs = BreakerStore.BreakerStore | Scope.Scope

export const reload = TestClock.adjust("1 minute")
export const fail = Effect.exit(CircuitBreaker.protect(Effect.fail("down"), "api"))
export const state = CircuitBreaker.state("api")
