import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { foreignText } from "../core/foreign.ts"
import { quietly } from "../engine/logEvent.ts"
import { nowOf } from "../engine/time.ts"
import { type SharedStore, StoreError } from "../store/SharedStore.ts"
import { storeAnnotation, Unconnected } from "../store/unconnected.ts"
import { type Carry, operations } from "../store/wrapped.ts"
import type { Strictness } from "./judge.ts"
import { notReplaced, once, warnOf, watched } from "./watched.ts"

const upTo = (first: "100 millis" | "200 millis" | "15 seconds", longest: "10 seconds" | "30 seconds" | "5 minutes") =>
  Schedule.jittered(Schedule.min([Schedule.exponential(first), Schedule.spaced(longest)]))

/** The delays before a client that could not connect is built again. */
const reconnect = upTo("100 millis", "10 seconds")

/** The delays before a client that ended or was useless is replaced. */
const replace = upTo("200 millis", "30 seconds")

/** If a client worked for this long, the delays begin again. */
const steadyMillis = 60_000

/** How long an attempt may take. Later attempts may take longer, because each client that hangs may leave connections open. */
const patience = upTo("15 seconds", "5 minutes")

/** Closes a scope in the background and waits briefly, because a client may wait for a server that hangs. */
export const closeSoon = (scope: Scope.Closeable): Effect.Effect<unknown> =>
  Effect.flatMap(Effect.forkDetach(Scope.close(scope, Exit.void)), (closing) =>
    Effect.timeoutOption(Fiber.await(closing), "500 millis")
  )

/** A store on a connected client. `ended` completes when the client has ended and will not reconnect. */
export interface Session {
  readonly store: SharedStore
  readonly ended: Effect.Effect<void>
}

/** The session in use, until it has ended or is useless. */
interface Live extends Session {
  readonly scope: Scope.Closeable
  readonly drain: Effect.Effect<void>
  readonly useless: Deferred.Deferred<string>
  /** Completed when the session is no longer used. */
  readonly over: Deferred.Deferred<never, StoreError>
}

/** How long an operation waits after a failed attempt to connect. The deadlines of callers are longer. */
const waitMillis = 200

/** After this time, an attempt that has not ended is reported, because some clients never give up. */
const silentMillis = 6_000

export interface Connecting {
  /** The name of the store in the log. */
  readonly what: string
  /** How the connection is judged. A session that is useless is replaced, or only reported if its client was made by the program. */
  readonly strictness: Strictness
  readonly replaces: boolean
  /** Whether late answers to commands still count after their callers stopped waiting; see `watched`. */
  readonly hearsLate: boolean
  readonly longestCircuit?: number | undefined
}

/**
 * A store on a client that connects in the background, and retries until it succeeds. Operations wait for the first attempt. If that
 * fails, they wait a moment and then fail with its error. One warning says why the store cannot be used yet.
 *
 * The results of commands show whether the client is useless. A useless client stays in use until another one is connected, and is
 * then closed.
 */
export const connecting = <E, R>(
  { hearsLate, longestCircuit, replaces, strictness, what }: Connecting,
  open: Effect.Effect<Session, E, R>
): Effect.Effect<SharedStore, never, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function* () {
    const clock = yield* Clock.Clock
    const now = nowOf(clock)
    let connected = Deferred.makeUnsafe<SharedStore>()
    let current: Live | undefined
    let failure: { readonly error: unknown } | undefined
    /** Whether the log says that the store cannot be used, or that its client is replaced. */
    let reported = false
    /** Whether a client was useless and its successor has not answered yet. */
    let doubtful = false
    const scopes = new Set<Scope.Closeable>()

    const closed = (scope: Scope.Closeable) => Effect.map(closeSoon(scope), () => void scopes.delete(scope))
    const end = ({ over }: Live) => {
      const cause = new Error("the connection was replaced")
      Deferred.doneUnsafe(over, Exit.fail(new StoreError({ operation: "changes", cause })))
    }
    const retire = (live: Live) => {
      end(live)
      return Effect.forkDetach(Effect.andThen(live.drain, closed(live.scope)))
    }
    const warn = (line: string) =>
      Effect.suspend(() => {
        if (reported) return Effect.void
        reported = true
        return warnOf(what, line)
      })
    const cannotBeUsed = (why: string) =>
      warn(`${what} cannot be used yet, and each process decides alone until then: ${why}`)
    const report = (cause: Cause.Cause<E>) => {
      failure = { error: Cause.squash(cause) }
      // A client that cannot be constructed, for example because its URL is invalid, is not tried again.
      if (!Cause.hasDies(cause)) return cannotBeUsed(foreignText(cause))
      const line = `${what} cannot be used as it is configured, and each process decides alone: ${foreignText(cause)}`
      return Effect.annotateLogs(quietly(Effect.logError(line)), storeAnnotation, what)
    }
    const use = (session: Session, scope: Scope.Closeable): Live => {
      const useless = Deferred.makeUnsafe<string>()
      const over = Deferred.makeUnsafe<never, StoreError>()
      const onUseless = replaces ? (why: string) => Effect.asVoid(Deferred.succeed(useless, why)) : tell
      const onAnswer = () => {
        doubtful = false
      }
      const { drain, store } = watched(session.store, scope, { strictness, hearsLate, onUseless, onAnswer })
      // The stream ends with the session: its reader then listens on the next one.
      const changes = Stream.interruptWhen(store.changes, Deferred.await(over))
      return { store: { ...store, changes }, ended: session.ended, scope, drain, useless, over }
    }

    const tell = once((why: string) => notReplaced(what, why))
    let wait = yield* Schedule.toStep(patience)
    const attempt = Effect.gen(function* () {
      const scope = yield* Scope.make()
      scopes.add(scope)
      const [, longest] = yield* wait(now(), undefined)
      const opened = Effect.gen(function* () {
        const late = yield* Effect.forkChild(Effect.delay(cannotBeUsed("it does not answer"), silentMillis))
        return yield* Effect.ensuring(Scope.provide(open, scope), Fiber.interrupt(late))
      })
      // A client that the program made is connected already. An attempt may then take long, for example to migrate tables.
      const session = yield* (replaces ? Effect.timeout(opened, longest) : opened).pipe(
        Effect.tapCause((cause) => Effect.andThen(report(cause as Cause.Cause<E>), closed(scope)))
      )
      return use(session, scope)
    })
    const life = Effect.gen(function* () {
      const next = yield* Effect.retry(attempt, reconnect)
      wait = yield* Schedule.toStep(patience)
      failure = undefined
      const before = current
      current = next
      if (before === undefined) {
        reported = doubtful
        Deferred.doneUnsafe(connected, Exit.succeed(next.store))
      } else {
        connected = Deferred.makeUnsafe()
        Deferred.doneUnsafe(connected, Exit.succeed(next.store))
        yield* retire(before)
      }
      const since = now()
      const why = yield* Effect.raceFirst(Effect.as(next.ended, undefined), Deferred.await(next.useless))
      const isSteady = now() - since >= steadyMillis
      if (isSteady) reported = false
      if (why !== undefined) {
        doubtful = true
        yield* warn(
          `${what}: the connection does not work (${why}). The process replaces its client, with a longer delay each time`
        )
        return isSteady
      }
      current = undefined
      connected = Deferred.makeUnsafe()
      end(next)
      yield* closed(next.scope)
      return isSteady
    })
    const living = yield* Effect.forkDetach(
      Effect.gen(function* () {
        let pause = yield* Schedule.toStepWithSleep(replace)
        while (true) {
          if (yield* life) pause = yield* Schedule.toStepWithSleep(replace)
          yield* pause(undefined)
        }
      })
    )
    // Do not wait for a pending attempt: some clients cannot interrupt it.
    yield* Effect.addFinalizer(() => {
      living.interruptUnsafe()
      return Effect.forEach([...scopes], closed, { concurrency: "unbounded", discard: true })
    })
    const there = Effect.suspend(() => Deferred.await(connected))
    const onceConnected: Carry = ({ operation, send }) =>
      Effect.flatMap(
        Effect.suspend(() => {
          if (current !== undefined || failure === undefined) return there
          const { error } = failure
          const orElse = () => Effect.fail(new StoreError({ operation, cause: error }))
          return Effect.timeoutOrElse(there, { duration: waitMillis, orElse })
        }),
        send
      )
    return {
      ...operations(onceConnected),
      longestCircuit,
      connected: Effect.asVoid(there),
      changes: Stream.unwrap(Effect.map(there, (store) => store.changes)),
      [Unconnected]: () => current === undefined || doubtful
    } satisfies SharedStore & { readonly [Unconnected]: () => boolean }
  })
