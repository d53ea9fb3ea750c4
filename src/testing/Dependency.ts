/**
 * Something to call that fails, hangs, is slow and recovers when a test says so.
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
 *
 * @since 0.1.0
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
 * What becomes of a call: it is answered, it fails, it never ends; or whatever an effect does, such as to die.
 *
 * @category models
 * @since 0.1.0
 */
export type Step<A, E> = "answer" | "fail" | "hang" | Effect.Effect<A, E>

/**
 * @category models
 * @since 0.1.0
 */
export interface Dependency<A, E> {
  /** One call of it: what is to be protected. */
  readonly call: Effect.Effect<A, E>
  /** How many calls have reached it. */
  readonly calls: Effect.Effect<number>
  /** How many of them have not ended. */
  readonly running: Effect.Effect<number>
  /** From now on every call fails. */
  readonly fail: Effect.Effect<void>
  /** From now on no call ends by itself. */
  readonly hang: Effect.Effect<void>
  /** From now on every call takes so long, and ends as it would. */
  readonly slow: (by: Duration.Input) => Effect.Effect<void>
  /** From now on every call is answered at once. What {@link Dependency.next} said of those to come is forgotten. */
  readonly recover: Effect.Effect<void>
  /** What becomes of the next calls, one after the other, before all else; after those that were said before. */
  readonly next: (...steps: ReadonlyArray<Step<A, E>>) => Effect.Effect<void>
  /** The next calls fail, so many of them. */
  readonly failNext: (calls: number) => Effect.Effect<void>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<A, E> {
  /** What it answers when it is well. */
  readonly answer: A
  /** What it fails with when it is not. */
  readonly error: E
  /** What becomes of the first calls. */
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
 * A dependency that is well. Throws a `RangeError` for a step that is none.
 *
 * @category constructors
 * @since 0.1.0
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
    const becomes = (mode: typeof usual) =>
      Effect.sync(() => {
        usual = mode
      })
    const queue = (steps: ReadonlyArray<Step<A, E>>) => Effect.sync(() => void next.push(...steps))
    return {
      call,
      calls: Effect.sync(() => calls),
      running: Effect.sync(() => running),
      fail: becomes("fail"),
      hang: becomes("hang"),
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
