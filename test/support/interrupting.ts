import { Effect, type Exit, Fiber, Scheduler } from "effect"

/**
 * Runs an effect again and again under a scheduler that yields after every operation, and interrupts it at the first
 * operation, then at the second, and so on until it ends by itself. `check` looks at what each run left behind.
 *
 * Answers how many points there were.
 */
export const interruptEverywhere = <A, E, R, E2, R2>(
  make: (run: number) => Effect.Effect<A, E, R>,
  check: (run: number, exit: Exit.Exit<A, E>) => Effect.Effect<unknown, E2, R2>
): Effect.Effect<number, E2, R | R2> =>
  Effect.gen(function* () {
    const scheduler = yield* Scheduler.Scheduler
    for (let point = 0; ; point++) {
      let operations = 0
      let interrupted = false
      let victim: Fiber.Fiber<A, E> | undefined
      const counting: Scheduler.Scheduler = {
        executionMode: scheduler.executionMode,
        makeDispatcher: () => scheduler.makeDispatcher(),
        // Waking up takes three operations, the third of which is the one put off: to yield earlier is to yield for ever.
        shouldYield: (fiber) => {
          if (operations++ === point) {
            interrupted = true
            victim?.interruptUnsafe()
          }
          return fiber.currentOpCount >= 4
        }
      }
      victim = yield* Effect.forkDetach(Effect.provideService(make(point), Scheduler.Scheduler, counting))
      const exit = yield* Fiber.await(victim)
      yield* check(point, exit)
      if (point > 2_000) return yield* Effect.die(new Error("it does not end"))
      if (!interrupted) return point
    }
  })
