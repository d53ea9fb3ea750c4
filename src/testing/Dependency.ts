/**
 * A fake dependency for tests: it fails, hangs, slows down and recovers when the test says so.
 *
 * ```ts
 * import { Effect, pipe } from "effect"
 * import { TestClock } from "effect/testing"
 * import { BreakerStore, CircuitBreaker } from "effect-fuse"
 * import { Dependency } from "effect-fuse/testing"
 *
 * const test = Effect.gen(function* () {
 *   const bank = yield* Dependency.make({ answer: "paid", error: "the bank is down" })
 *   const pay = pipe(bank.call, CircuitBreaker.protect("bank"))
 *   yield* bank.failNext(5)
 *   yield* Effect.repeat(Effect.ignore(pay), { times: 9 }) // ten calls
 *   const reached = yield* bank.calls
 *   yield* TestClock.adjust("30 seconds")
 *   return [reached, yield* pay]
 * }).pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(TestClock.layer()))
 *
 * await Effect.runPromise(test) // => [5, "paid"]
 * ```
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import {
  anyMillis,
  anything,
  countOrZero,
  decodeArgument,
  decodeOptions,
  type FieldsOf,
  field,
  listOf,
  optional
} from "../core/fields.ts"

/**
 * How a call ends: it succeeds (`answer`), fails (`fail`) or never ends (`hang`). An effect replaces the call; it can die, for
 * example.
 *
 * @category models
 */
export type Step<A, E> = "answer" | "fail" | "hang" | Effect.Effect<A, E>

/**
 * A fake dependency. A change affects the calls that begin later, not those that are running.
 *
 * @category models
 */
export interface Dependency<A, E> {
  /** One call of the dependency. Protect this effect with a breaker. */
  readonly call: Effect.Effect<A, E>
  /** How many calls have reached the dependency. */
  readonly calls: Effect.Effect<number>
  /** How many of these calls have not ended. */
  readonly running: Effect.Effect<number>
  /** Makes every later call fail. */
  readonly fail: Effect.Effect<void>
  /** Makes every later call hang until it is interrupted. */
  readonly hang: Effect.Effect<void>
  /** Makes every later call take this much longer. Its result does not change. */
  readonly slow: (by: Duration.Input) => Effect.Effect<void>
  /** Makes every later call succeed at once, and discards the queued steps. */
  readonly recover: Effect.Effect<void>
  /**
   * Queues one step for each of the next calls, after the steps that are queued already. A queued step takes precedence over `fail`
   * and `hang`.
   */
  readonly next: (...steps: ReadonlyArray<Step<A, E>>) => Effect.Effect<void>
  /** Queues this number of failures. */
  readonly failNext: (calls: number) => Effect.Effect<void>
}

/**
 * The results of a fake dependency.
 *
 * @category models
 */
export interface Options<A, E> {
  /** The value of a call that succeeds. */
  readonly answer: A
  /** The error of a call that fails. */
  readonly error: E
  /** One step for each of the first calls. Default: none; all calls succeed. */
  readonly steps?: ReadonlyArray<Step<A, E>> | undefined
}

const stepsField = listOf(
  field<Step<never, never>>('"answer", "fail", "hang" or an effect', (input) =>
    Effect.isEffect(input) || input === "answer" || input === "fail" || input === "hang"
      ? (input as Step<never, never>)
      : undefined
  )
)
const fields = { answer: anything, error: anything, steps: optional(stepsField) } satisfies FieldsOf<
  Options<never, never>
>

/**
 * Makes a dependency whose calls succeed. Throws a `RangeError` for an invalid step.
 *
 * @category constructors
 */
export const make = <A, E>(options: Options<A, E>): Effect.Effect<Dependency<A, E>> => {
  const { steps = [] } = decodeOptions("Dependency.make", fields, options)
  const { answer, error } = options
  return Effect.sync(() => {
    let next: Array<Step<A, E>> = [...steps]
    let usual: "answer" | "fail" | "hang" = "answer"
    let slowMillis = 0
    let calls = 0
    let running = 0
    const ends = { answer: Effect.succeed(answer), fail: Effect.fail(error), hang: Effect.never }
    const call = Effect.suspend((): Effect.Effect<A, E> => {
      calls++
      running++
      const step = next.shift() ?? usual
      const end: Effect.Effect<A, E> = typeof step === "string" ? ends[step] : step
      const all = slowMillis > 0 ? Effect.delay(end, slowMillis) : end
      return Effect.ensuring(
        all,
        Effect.sync(() => {
          running--
        })
      )
    })
    const setUsual = (mode: typeof usual) =>
      Effect.sync(() => {
        usual = mode
      })
    const queue = (steps: ReadonlyArray<Step<A, E>>) => Effect.sync(() => void next.push(...steps))
    return {
      call,
      calls: Effect.sync(() => calls),
      running: Effect.sync(() => running),
      fail: setUsual("fail"),
      hang: setUsual("hang"),
      slow: (by) => {
        const millis = decodeArgument("Dependency.slow", "by", anyMillis, by)
        return Effect.sync(() => {
          slowMillis = millis
        })
      },
      recover: Effect.sync(() => {
        usual = "answer"
        slowMillis = 0
        next = []
      }),
      next: (...steps) => queue(decodeArgument("Dependency.next", "steps", stepsField, steps)),
      failNext: (calls) => {
        const n = decodeArgument("Dependency.failNext", "calls", countOrZero, calls)
        return queue(Array.from({ length: n }, () => "fail" as const))
      }
    }
  })
}
