import { Effect, type Scope, Stream } from "effect"
import type { SharedStore } from "effect-fuse"
import { until } from "./redisFleet.ts"

/**
 * Listens to a store from now on, and again whenever the stream ends. Returns an effect that sends announcements by `announce` until
 * the listener has heard one more.
 */
export const listener = <E, R>(
  store: SharedStore.SharedStore,
  announce: Effect.Effect<unknown, E, R>
): Effect.Effect<Effect.Effect<void, E, R>, never, Scope.Scope> =>
  Effect.gen(function* () {
    let heard = 0
    const listen = Stream.runForEach(store.changes, () => Effect.sync(() => void heard++))
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.ignore(listen), Effect.sleep(100))))
    return Effect.suspend(() => {
      const before = heard
      return until(
        "it hears announcements",
        Effect.map(announce, () => heard > before)
      )
    })
  })
