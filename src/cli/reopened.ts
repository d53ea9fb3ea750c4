import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import { type SharedStore, StoreError } from "../store/SharedStore.ts"
import { operations } from "../store/wrapped.ts"
import type { CommandFailure } from "./messages.ts"
import { withStore } from "./opening.ts"
import type { OpenedServer } from "./server.ts"
import type { CommandSettings } from "./settings.ts"

interface Current {
  readonly store: SharedStore
  readonly opened: OpenedServer
  readonly lost: Deferred.Deferred<void>
}

export interface ReopenedStore {
  readonly store: SharedStore
  /** The server of the open store, or of the last open store. */
  readonly opened: () => OpenedServer
}

/**
 * Opens a store, and reopens it after a failure, for a long-running command. The first attempt must succeed. While the store is closed,
 * operations fail with the error of the latest attempt.
 */
export const reopenedStore = (settings: CommandSettings): Effect.Effect<ReopenedStore, CommandFailure, Scope> =>
  Effect.gen(function* () {
    let current: Current | undefined
    let latest: OpenedServer | undefined
    let last: unknown = new Error("the store is not open")
    const first = yield* Deferred.make<OpenedServer, CommandFailure>()
    const once = withStore(settings, (store, opened) =>
      Effect.gen(function* () {
        const lost = yield* Deferred.make<void>()
        current = { store, opened, lost }
        latest = opened
        yield* Deferred.succeed(first, opened)
        yield* Deferred.await(lost)
        current = undefined
      })
    )
    const again = Effect.catch(once, (failure) => {
      last = new Error(failure.message)
      return Deferred.fail(first, failure)
    })
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(again, Effect.sleep("500 millis"))))
    const begun = yield* Deferred.await(first)
    const store: SharedStore = {
      longestCircuit: current?.store.longestCircuit,
      changes: Stream.never,
      ...operations(({ operation, send }) =>
        Effect.suspend(() => {
          const now = current
          if (now === undefined) return Effect.fail(new StoreError({ operation, cause: last }))
          return Effect.tapError(send(now.store), ({ cause }) => {
            last = cause
            return Deferred.succeed(now.lost, undefined)
          })
        })
      )
    }
    return { store, opened: () => latest ?? begun }
  })
