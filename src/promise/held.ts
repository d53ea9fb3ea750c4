import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { AnyEffect } from "../engine/timeout.ts"
import type * as Bulkhead from "../resilience/Bulkhead.ts"
import { limit } from "../resilience/Bulkhead.ts"

const ignore = () => {}

/**
 * Runs a call in a slot of a bulkhead. The caller gets the result as soon as the call ends. The slot becomes free when the function
 * has settled, which is later if the function continues after a timeout or an abort.
 *
 * `settled` returns the promise of the function, or `undefined` if the call did not begin it.
 */
export const held = (
  bulkhead: Bulkhead.Bulkhead,
  call: AnyEffect,
  settled: () => PromiseLike<unknown> | undefined
): AnyEffect =>
  Effect.suspend(() => {
    const result = Deferred.makeUnsafe<unknown, unknown>()
    const inside = Effect.onExit(call, (exit) => {
      Deferred.doneUnsafe(result, exit)
      const running = settled()
      return running === undefined ? Effect.void : Effect.promise(async () => void (await running.then(ignore, ignore)))
    })
    // If there is no slot, the call does not begin, and this is the only exit.
    const all = Effect.onExit(limit(inside, bulkhead), (exit) => Effect.sync(() => Deferred.doneUnsafe(result, exit)))
    return Effect.flatMap(Effect.forkDetach(all, { startImmediately: true }), (fiber) =>
      Effect.onInterrupt(Deferred.await(result), () => Effect.sync(() => fiber.interruptUnsafe()))
    )
  })
