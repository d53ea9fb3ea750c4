import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { alarm } from "../engine/timeout.ts"

/**
 * Runs an effect, and starts up to `more` further copies of it, one each `afterMillis`. The first success is the result and interrupts the
 * other copies. A failed copy is not repeated. If all copies fail, the result is the failure of the earliest one.
 */
export const hedged = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  afterMillis: number,
  more: number,
  allowed: Effect.Effect<boolean, never, R>
): Effect.Effect<A, E, R> =>
  Effect.withFiber((parent) => {
    const run = Effect.runForkWith(parent.context as Context.Context<R>)
    return Effect.callback<A, E>((resume) => {
      const running = new Set<Fiber.Fiber<unknown, unknown>>()
      let failure: { readonly copy: number; readonly exit: Exit.Exit<A, E> } | undefined
      let copies = 0
      /** The fiber that asks `allowed` for another copy. */
      let asking: Fiber.Fiber<unknown, unknown> | undefined
      let done = false

      const all = () => {
        wait.stop()
        return Fiber.interruptAll(asking === undefined ? running : [...running, asking])
      }
      const end = (exit: Exit.Exit<A, E>) => {
        done = true
        resume(Effect.andThen(all(), exit))
      }
      const start = () => {
        const copy = copies++
        const fiber = run(self)
        running.add(fiber)
        fiber.addObserver((exit) => {
          running.delete(fiber)
          if (done) return
          if (exit._tag === "Success") return end(exit)
          if (failure === undefined || copy < failure.copy) failure = { copy, exit }
          if (running.size === 0) end(failure.exit)
        })
        if (!done && copies <= more) wait.start()
      }
      const ask = () => {
        const fiber = run(allowed)
        asking = fiber
        fiber.addObserver((exit) => {
          asking = undefined
          if (!done && exit._tag === "Success" && exit.value) start()
        })
      }
      const wait = alarm(parent, afterMillis, ask)
      start()
      return Effect.suspend(() => {
        done = true
        return all()
      })
    })
  })
