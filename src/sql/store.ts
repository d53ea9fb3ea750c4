import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { SqlError } from "effect/sql/SqlError"
import type { Session } from "../connection/connecting.ts"
import type { Times } from "../connection/listening.ts"
import { StoreError } from "../store/SharedStore.ts"
import { announcements } from "./announcements.ts"
import type { Database } from "./database.ts"
import { exchange } from "./exchange.ts"
import { load, page } from "./reads.ts"

/** Texts that databases find by an index must not be longer. */
export const longestCircuit = 2_000

/** Whether a table or a column is missing. Most databases report this as a syntax error; SQLite has no code for it. */
const makesNoSense = ({ reason }: SqlError): boolean =>
  reason._tag === "SqlSyntaxError" || /no such (table|column)/.test(String(reason.cause))

/** Two transactions got in each other's way. */
const isConflict = ({ reason }: SqlError): boolean =>
  reason._tag === "DeadlockError" ||
  reason._tag === "SerializationError" ||
  // MariaDB reports a conflict like this since version 11.6.
  /Record has changed since last read/.test(String(reason.cause))

/**
 * A store on a database.
 *
 * Exchanges that cast, swap, join or leave are carried out one after the other: each is a transaction that begins with the lock
 * on one row, so none can deadlock with another, and epochs become visible in their order. A heartbeat of a voter that lives is
 * one statement without that lock. Reads are one statement each.
 *
 * The session ends when the tables cannot be used any more: they are missing, or have other columns.
 */
export const sqlStore = (database: Database, pollMillis = 1_000, times?: Times): Session => {
  const broken = Deferred.makeUnsafe<void>()
  const run = <A>(effect: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> => {
    const again = Effect.retry(effect, { times: 3, while: isConflict }).pipe(
      Effect.tapError((error) => (makesNoSense(error) ? Deferred.succeed(broken, undefined) : Effect.void))
    )
    return database.apart(again)
  }
  const failed = (operation: StoreError["operation"]) => (cause: SqlError) => new StoreError({ operation, cause })
  return {
    ended: Deferred.await(broken),
    store: {
      longestCircuit,
      exchange: (request) => Effect.mapError(run(exchange(database, request)), failed("exchange")),
      page: (since, limit) => Effect.mapError(run(page(database, since, limit)), failed("page")),
      load: (circuits) => Effect.mapError(run(load(database, circuits)), failed("load")),
      changes: Stream.mapError(announcements(database, { pollMillis, run, times }), failed("changes"))
    }
  }
}
