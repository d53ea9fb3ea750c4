import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { SharedStore } from "../SharedStore.ts"

/** A client that could not connect is built again, later each time. */
const reconnect = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("10 seconds")])

/** A client may wait for a server that hangs when it is closed: nobody waits for that for long. */
export const closeSoon = (scope: Scope.Closeable): Effect.Effect<unknown> =>
  Effect.flatMap(Effect.forkDetach(Scope.close(scope, Exit.void)), (closing) =>
    Effect.timeoutOption(Fiber.await(closing), "500 millis")
  )

/** A client that is connected: the store on it, and when it will not come back by itself. */
export interface Session {
  readonly store: SharedStore
  readonly ended: Effect.Effect<void>
}

/**
 * A store on a client that connects in the background, again and again until it can: until it has, what is asked of the
 * store waits. `what` is what the log calls it.
 */
export const connecting = <E, R>(
  what: string,
  open: Effect.Effect<Session, E, R>,
  longestCircuit?: number
): Effect.Effect<SharedStore, never, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function* () {
    let connected = Deferred.makeUnsafe<SharedStore>()
    let reported = false
    let own = yield* Scope.make()
    // What a client leaves behind that failed or ended must not stay until the program ends.
    const renew = Effect.gen(function* () {
      const over = own
      own = yield* Scope.make()
      yield* closeSoon(over)
    })
    const report = (cause: Cause.Cause<E>) => {
      // A client that cannot even be made, as of a URL that is none, is not tried again.
      if (Cause.hasDies(cause)) {
        return Effect.logError(`${what} cannot be used as it is configured: circuits stay each process's own.`, cause)
      }
      const first = !reported
      reported = true
      return first
        ? Effect.logWarning(`${what} is not there yet. Until it is, circuits are each process's own.`, cause)
        : Effect.void
    }
    const attempt = Effect.tapCause(
      Effect.suspend(() => Scope.provide(open, own)),
      (cause) => Effect.andThen(report(cause), renew)
    )
    const life = Effect.flatMap(Effect.retry(attempt, reconnect), ({ ended, store }) => {
      reported = false
      Deferred.doneUnsafe(connected, Exit.succeed(store))
      return Effect.flatMap(ended, () => {
        connected = Deferred.makeUnsafe<SharedStore>()
        return Effect.andThen(renew, Effect.sleep("100 millis"))
      })
    })
    const living = yield* Effect.forkDetach(Effect.forever(life))
    // Connecting cannot be interrupted, either.
    yield* Effect.addFinalizer(() => {
      living.interruptUnsafe()
      return closeSoon(own)
    })
    const then = <A, E2>(f: (store: SharedStore) => Effect.Effect<A, E2>) =>
      Effect.flatMap(
        Effect.suspend(() => Deferred.await(connected)),
        f
      )
    return {
      longestCircuit,
      cast: (request) => then((store) => store.cast(request)),
      swap: (request) => then((store) => store.swap(request)),
      load: (circuit) => then((store) => store.load(circuit)),
      list: (voice, ttl) => then((store) => store.list(voice, ttl)),
      changes: Stream.unwrap(then((store) => Effect.succeed(store.changes)))
    }
  })
