import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { quietly } from "../engine/logEvent.ts"
import { nowOf } from "../engine/time.ts"
import { type SharedStore, StoreError } from "../store/SharedStore.ts"
import { storeAnnotation } from "../store/unconnected.ts"
import { wrapped } from "../store/wrapped.ts"
import { Judge, type Strictness } from "./judge.ts"

/** A command whose caller stopped waiting sooner than this does not count as missed. */
const patienceMillis = 200

/** A command that takes this long has failed. */
const commandMillis = 5_000

/** How long pending commands may take when their connection is replaced. */
const drainMillis = 1_000

export interface Watched {
  readonly store: SharedStore
  /** Waits until no command is pending, for at most a second. */
  readonly drain: Effect.Effect<void>
}

/**
 * A store whose commands are judged. `onUseless` runs each time the connection is found to be useless, and `onAnswer` each time an
 * exchange was carried out. If `hearsLate`, a command whose caller stopped waiting continues until the scope is closed, so that a
 * late answer counts: a slow server is not replaced. Otherwise commands are interrupted with their callers.
 */
export const watched = (
  store: SharedStore,
  scope: Scope.Scope,
  of: {
    readonly strictness: Strictness
    readonly hearsLate: boolean
    readonly onUseless: (why: string) => Effect.Effect<void>
    readonly onAnswer: () => void
  }
): Watched => {
  const judge = new Judge(of.strictness)
  const pending = new Set<Fiber.Fiber<unknown, unknown>>()
  const found = (why: string | undefined) => (why === undefined ? Effect.void : of.onUseless(why))

  const run = <A>(
    operation: StoreError["operation"],
    command: Effect.Effect<A, StoreError>
  ): Effect.Effect<A, StoreError> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Clock.Clock, (clock) => {
        const now = nowOf(clock)
        const sentAt = now()
        let isMissed = false
        const miss = Effect.suspend(() => {
          if (isMissed) return Effect.void
          isMissed = true
          return found(judge.missed(sentAt, now()))
        })
        const unanswered = Effect.suspend(() =>
          Effect.andThen(
            miss,
            Effect.fail(new StoreError({ operation, cause: new Error(`no answer within ${commandMillis} ms`) }))
          )
        )
        const judged = Effect.onExit(Effect.interruptible(command), (exit) => {
          if (Exit.isSuccess(exit)) {
            judge.answered(operation === "exchange")
            if (operation === "exchange") of.onAnswer()
            return Effect.void
          }
          if (Cause.hasInterruptsOnly(exit.cause)) return Effect.void
          const error = Cause.squash(exit.cause)
          return found(judge.failed(error instanceof StoreError ? error.cause : error, sentAt, now()))
        })
        const bounded = of.hearsLate
          ? Effect.timeoutOrElse(judged, { duration: commandMillis, orElse: () => unanswered })
          : judged
        return Effect.flatMap(
          Effect.forkIn(Effect.interruptible(bounded), scope, { startImmediately: true }),
          (fiber) => {
            pending.add(fiber)
            fiber.addObserver(() => pending.delete(fiber))
            const ended = Effect.flatMap(Fiber.await(fiber), (exit) =>
              // The command was interrupted, not its caller: its connection was closed.
              Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
                ? Effect.fail(new StoreError({ operation, cause: new Error("the connection was closed") }))
                : exit
            )
            return Effect.onInterrupt(restore(ended), () => {
              const isLate = fiber.pollUnsafe() === undefined && now() - sentAt >= patienceMillis
              if (!of.hearsLate) fiber.interruptUnsafe()
              return isLate ? miss : Effect.void
            })
          }
        )
      })
    )

  return {
    store: wrapped(store, ({ operation, send }) => run(operation, send(store))),
    drain: Effect.asVoid(Effect.suspend(() => Effect.timeoutOption(Fiber.awaitAll([...pending]), drainMillis)))
  }
}

/** Logs a warning about a store. Promise code without a logger sees it, too. */
export const warnOf = (what: string, line: string): Effect.Effect<void> =>
  Effect.annotateLogs(quietly(Effect.logWarning(line)), storeAnnotation, what)

/** Warns that a client that the program made is useless. */
export const notReplaced = (what: string, why: string): Effect.Effect<void> =>
  warnOf(
    what,
    `${what}: the client does not work (${why}). The program made it, so it is not replaced: if it does not recover by itself, use layerConnect or connect`
  )

export const once = <A>(f: (value: A) => Effect.Effect<void>): ((value: A) => Effect.Effect<void>) => {
  let done = false
  return (value) =>
    Effect.suspend(() => {
      if (done) return Effect.void
      done = true
      return f(value)
    })
}

/** A store on a client that the program made, which cannot be replaced: warns once if the client is useless. */
export const reporting = (what: string, store: SharedStore, strictness: Strictness): SharedStore => {
  // Never closed: each command in this scope ends by itself.
  const scope = Scope.makeUnsafe()
  const onUseless = once((why: string) => notReplaced(what, why))
  return watched(store, scope, { strictness, hearsLate: true, onUseless, onAnswer: () => {} }).store
}
