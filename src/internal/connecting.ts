import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type SharedStore, StoreError } from "../SharedStore.ts"
import { quietly } from "./engine/logEvent.ts"
import { foreignText } from "./foreign.ts"
import { storeAnnotation, Unconnected } from "./unconnected.ts"

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

/** If the last attempt to connect failed, how long an operation waits before it fails. Callers of stores wait longer than this. */
const waitMillis = 200

/** After this time, an attempt that has not ended is reported, because some clients never give up. */
const silentMillis = 6_000

/**
 * A store on a client that connects in the background, and tries again until it succeeds. Operations wait for the first attempt. If
 * that fails, they wait a moment and then fail with its error. `what` is the name of the store in the log, where one warning says why
 * the store cannot be used yet.
 */
export const connecting = <E, R>(
  what: string,
  open: Effect.Effect<Session, E, R>,
  longestCircuit?: number
): Effect.Effect<SharedStore, never, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function* () {
    let connected = Deferred.makeUnsafe<SharedStore>()
    let isConnected = false
    let failure: { readonly error: unknown } | undefined
    let reported = false
    let own = yield* Scope.make()
    // What a client leaves behind that failed or ended must not stay until the program ends.
    const renew = Effect.gen(function* () {
      const over = own
      own = yield* Scope.make()
      yield* closeSoon(over)
    })
    const warn = (why: string) =>
      Effect.suspend(() => {
        if (reported) return Effect.void
        reported = true
        const line = `${what} cannot be used yet, and each process decides alone until then: ${why}`
        return Effect.annotateLogs(quietly(Effect.logWarning(line)), storeAnnotation, what)
      })
    const report = (cause: Cause.Cause<E>) => {
      failure = { error: Cause.squash(cause) }
      // A client that cannot even be made, as of a URL that is none, is not tried again.
      if (!Cause.hasDies(cause)) return warn(foreignText(cause))
      const line = `${what} cannot be used as it is configured, and each process decides alone: ${foreignText(cause)}`
      return Effect.annotateLogs(quietly(Effect.logError(line)), storeAnnotation, what)
    }
    const attempt = Effect.tapCause(
      Effect.gen(function* () {
        const late = yield* Effect.forkChild(Effect.andThen(Effect.sleep(silentMillis), warn("it does not answer")))
        return yield* Effect.ensuring(Scope.provide(open, own), Fiber.interrupt(late))
      }),
      (cause) => Effect.andThen(report(cause), renew)
    )
    const life = Effect.flatMap(Effect.retry(attempt, reconnect), ({ ended, store }) => {
      reported = false
      failure = undefined
      isConnected = true
      Deferred.doneUnsafe(connected, Exit.succeed(store))
      return Effect.flatMap(ended, () => {
        isConnected = false
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
    const there = Effect.suspend(() => Deferred.await(connected))
    const then = <A>(operation: StoreError["operation"], f: (store: SharedStore) => Effect.Effect<A, StoreError>) =>
      Effect.flatMap(
        Effect.suspend(() => {
          if (isConnected || failure === undefined) return there
          const { error } = failure
          const orElse = () => Effect.fail(new StoreError({ operation, cause: error }))
          return Effect.timeoutOrElse(there, { duration: waitMillis, orElse })
        }),
        f
      )
    return {
      longestCircuit,
      connected: Effect.asVoid(there),
      exchange: (exchange) => then("exchange", (store) => store.exchange(exchange)),
      page: (since, limit) => then("page", (store) => store.page(since, limit)),
      load: (circuits) => then("load", (store) => store.load(circuits)),
      changes: Stream.unwrap(Effect.map(there, (store) => store.changes)),
      [Unconnected]: () => !isConnected
    } satisfies SharedStore & { readonly [Unconnected]: () => boolean }
  })
