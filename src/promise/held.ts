import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Bulkhead from "../resilience/Bulkhead.ts"
import { limit } from "../resilience/Bulkhead.ts"

type AnyEffect = Effect.Effect<unknown, unknown>

const ignore = () => {}

/**
 * Runs a call in a place of a bulkhead. The caller gets the result as soon as the call ends. The place is free again when the function
 * has settled, which is later if the function goes on after its time was over or its caller has left.
 *
 * `settled` returns the promise of the function, if the call has begun it.
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
    // If there is no place, the call does not begin, and this is the only exit.
    const all = Effect.onExit(limit(inside, bulkhead), (exit) => Effect.sync(() => Deferred.doneUnsafe(result, exit)))
    return Effect.flatMap(Effect.forkDetach(all, { startImmediately: true }), (fiber) =>
      Effect.onInterrupt(Deferred.await(result), () => Effect.sync(() => fiber.interruptUnsafe()))
    )
  })
