import type { DatabaseSync, SQLInputValue } from "node:sqlite"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlConnection from "effect/sql/SqlConnection"
import * as SqlError from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"

/** Turns an exception of the database into a `SqlError`. */
const attempt = <A>(evaluate: () => A): Effect.Effect<A, SqlError.SqlError> =>
  Effect.try({
    try: evaluate,
    catch: (error) => {
      const cause = error as Error & { readonly errcode?: number }
      const reason = SqlError.classifySqliteError(Object.assign(cause, { errno: cause.errcode }), {
        message: cause.message
      })
      return new SqlError.SqlError({ reason })
    }
  })

interface SqliteOptions {
  /** Runs before each statement. */
  readonly before?: Effect.Effect<void>
  /** How many transactions may run at once. Default: 1, because concurrent transactions would see each other's changes. */
  readonly transactions?: number
}

/** A minimal client for SQLite, because Effect 4.1 has none. */
export const sqlite = (
  open: () => DatabaseSync,
  { before = Effect.void, transactions = 1 }: SqliteOptions = {}
): Layer.Layer<SqlClient.SqlClient, SqlError.SqlError> =>
  Layer.effect(
    SqlClient.SqlClient,
    Effect.gen(function* () {
      const db = yield* Effect.acquireRelease(attempt(open), (opened) => Effect.sync(() => opened.close()))
      const all = (sql: string, params: ReadonlyArray<unknown>, arrays: boolean) =>
        Effect.andThen(
          before,
          attempt((): ReadonlyArray<object> => {
            const statement = db.prepare(sql)
            statement.setReturnArrays(arrays)
            // Effect does not type the parameters of a statement. SQLite throws if it does not support one.
            return statement.all(...(params as ReadonlyArray<SQLInputValue>))
          })
        )
      const raw = (sql: string, params: ReadonlyArray<unknown>) => all(sql, params, false)
      const rows: SqlConnection.Connection["execute"] = (sql, params, f) =>
        f ? Effect.map(raw(sql, params), f) : raw(sql, params)
      const values = (sql: string, params: ReadonlyArray<unknown>) =>
        Effect.map(all(sql, params, true), (rows) => rows.filter(Array.isArray))
      const connection: SqlConnection.Connection = {
        execute: rows,
        executeUnprepared: rows,
        executeRaw: raw,
        executeValues: values,
        executeValuesUnprepared: values,
        executeStream: (sql, params) => Stream.fromIterableEffect(raw(sql, params))
      }
      const acquirers = SqlClient.makeSqliteAcquirers({
        connection: Effect.succeed(connection),
        semaphore: yield* Semaphore.make(transactions),
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
