import { DatabaseSync, type SQLInputValue } from "node:sqlite"
import { Effect, Layer, Semaphore, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlConnection, SqlError, Statement } from "effect/sql"

/** A client for a file of SQLite: as small as one can be, for tests. */
export const sqlite = (file: string): Layer.Layer<SqlClient.SqlClient> =>
  Layer.effect(
    SqlClient.SqlClient,
    Effect.gen(function* () {
      const db = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const opened = new DatabaseSync(file, { timeout: 5_000 })
          opened.exec("PRAGMA journal_mode = WAL")
          return opened
        }),
        (opened) => Effect.sync(() => opened.close())
      )
      const run = (sql: string, params: ReadonlyArray<unknown>, arrays = false) =>
        Effect.try({
          try: () => {
            const statement = db.prepare(sql)
            statement.setReturnArrays(arrays)
            return statement.all(...(params as Array<SQLInputValue>)) as unknown as Array<never>
          },
          catch: (error) => {
            const cause = error as Error & { readonly errcode?: number }
            return new SqlError.SqlError({
              reason: SqlError.classifySqliteError(Object.assign(cause, { errno: cause.errcode }), {
                message: cause.message
              })
            })
          }
        })
      const rows: SqlConnection.Connection["execute"] = (sql, params, f) =>
        f ? Effect.map(run(sql, params), f) : run(sql, params)
      const connection: SqlConnection.Connection = {
        execute: rows,
        executeUnprepared: rows,
        executeRaw: run,
        executeValues: (sql, params) => run(sql, params, true),
        executeValuesUnprepared: (sql, params) => run(sql, params, true),
        executeStream: (sql, params) => Stream.fromIterableEffect(run(sql, params))
      }
      const acquirers = SqlClient.makeSqliteAcquirers({
        connection: Effect.succeed(connection),
        semaphore: yield* Semaphore.make(1),
        isTransaction: () => db.isTransaction
      })
      return yield* SqlClient.make({
        ...acquirers,
        compiler: Statement.makeCompilerSqlite(),
        driver: "sqlite",
        spanAttributes: [],
        beginTransaction: "BEGIN IMMEDIATE"
      })
    })
  ).pipe(Layer.provide(Reactivity.layer))
