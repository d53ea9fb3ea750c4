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
import { digests, load, page } from "./reads.ts"

/** Databases limit the length of indexed texts. */
export const longestCircuit = 2_000

/** Whether a table or a column is missing. Most databases report this as a syntax error; SQLite has no code for it. */
const isTableMissing = ({ reason }: SqlError): boolean =>
  reason._tag === "SqlSyntaxError" || /no such (table|column)/.test(String(reason.cause))

/** Whether two transactions conflicted, so that a retry helps. */
const isConflict = ({ reason }: SqlError): boolean =>
  reason._tag === "DeadlockError" ||
  reason._tag === "SerializationError" ||
  // MariaDB reports a conflict like this since version 11.6.
  /Record has changed since last read/.test(String(reason.cause))

/**
 * A store on a database.
 *
 * Exchanges that cast, swap, join or leave run one after the other. Each is a transaction that begins with a lock on the same row, so
 * exchanges cannot deadlock, and epochs become visible in order. The heartbeat of a live voter is one statement without that lock. Reads
 * are one statement each.
 *
 * The session ends when a table is missing or has other columns.
 */
export const sqlStore = (database: Database, pollMillis = 1_000, times?: Times): Session => {
  const broken = Deferred.makeUnsafe<void>()
  const run = <A>(effect: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> => {
    const again = Effect.retry(effect, { times: 3, while: isConflict }).pipe(
      Effect.tapError((error) => (isTableMissing(error) ? Deferred.succeed(broken, undefined) : Effect.void))
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
      digests: (after) => Effect.mapError(run(digests(database, after)), failed("digests")),
      changes: Stream.mapError(announcements(database, { pollMillis, run, times }), failed("changes"))
    }
  }
}
