import { Cause, Effect, Exit, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import { CircuitOpen } from "effect-fuse"
import { expectState, fail } from "./verbs.ts"

/** The value, the error, the reason of the rejection or "interrupted": how an item ended. */
export const endOf = (exit: Exit.Exit<unknown, unknown>): unknown => {
  if (Exit.isSuccess(exit)) return exit.value
  const error = Cause.findErrorOption(exit.cause)
  if (Option.isSome(error)) return CircuitOpen.isCircuitOpen(error.value) ? error.value.reason : error.value
  return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : Cause.squash(exit.cause)
}

export const endsOf = <E, R>(batch: Effect.Effect<ReadonlyArray<Exit.Exit<unknown, unknown>>, E, R>) =>
  Effect.map(batch, (ends) => ends.map(endOf))

export const upTo = (n: number): Array<number> => Array.from({ length: n }, (_, i) => i)

/** Opens the circuit. */
export const opened = Effect.andThen(fail(), expectState("Open"))

/** Opens the circuit and waits for its cooldown, so that the next call is a probe. */
export const recovering = Effect.andThen(opened, TestClock.adjust("10 seconds"))
/** Counts calls: how many were made, and how many ran at the same time. */
export const counter = () => {
  const seen = { calls: 0, running: 0, most: 0, items: [] as Array<unknown> }
  const counted =
    <I, A, E, R>(f: (item: I, index: number) => Effect.Effect<A, E, R>) =>
    (item: I, index: number) =>
      Effect.suspend(() => {
        seen.calls++
        seen.running++
        seen.most = Math.max(seen.most, seen.running)
        seen.items.push(item)
        return Effect.ensuring(
          f(item, index),
          Effect.sync(() => {
            seen.running--
          })
        )
      })
  return { seen, counted }
}

/** Runs an effect for a minute of test time, and returns its result and how many seconds it took. */
export const timed = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    let now = 0
    let took = 0
    const fiber = yield* Effect.forkChild(
      Effect.onExit(self, () =>
        Effect.sync(() => {
          took = now
        })
      ),
      { startImmediately: true }
    )
    while (now++ < 60) yield* TestClock.adjust("1 second")
    return [yield* Fiber.join(fiber), took] as const
  })
