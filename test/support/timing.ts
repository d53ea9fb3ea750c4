import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"

const millis = Clock.currentTimeMillis

/** Runs an effect for at most a day of test time, and returns how many milliseconds it took. */
export const lasts = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const began = yield* millis
    const fiber = yield* Effect.forkChild(Effect.andThen(Effect.exit(self), millis))
    yield* TestClock.adjust("1 day")
    return (yield* Fiber.join(fiber)) - began
  })

/** A call that always fails, and the milliseconds between its runs. */
export const failingCall = () => {
  const at: Array<number> = []
  const call = Effect.andThen(
    Effect.map(millis, (now) => at.push(now)),
    Effect.fail("boom")
  )
  return { call, between: () => at.slice(1).map((now, i) => now - (at[i] ?? 0)) }
}
