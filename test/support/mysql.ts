import { Effect, Layer, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, type SqlConnection, SqlError, Statement } from "effect/sql"
import { createPool, type PoolConnection, type QueryError } from "mysql2"

/** What is wrong, by the numbers that MySQL and MariaDB have for it. */
const reasonOf = (cause: QueryError): SqlError.SqlErrorReason => {
  const props = { cause, message: cause.message }
  switch (cause.errno) {
    case 1045:
    case 1698:
      return new SqlError.AuthenticationError(props)
    case 1044:
    case 1142:
    case 1143:
      return new SqlError.AuthorizationError(props)
    case 1054:
    case 1064:
    case 1146:
      return new SqlError.SqlSyntaxError(props)
    case 1062:
      return new SqlError.UniqueViolation({ ...props, constraint: /for key '(.*)'/.exec(cause.message)?.[1] ?? "" })
    case 1048:
    case 1364:
    case 1406:
      return new SqlError.ConstraintError(props)
    case 1205:
      return new SqlError.LockTimeoutError(props)
    case 1213:
      return new SqlError.DeadlockError(props)
    default:
      return cause.fatal ? new SqlError.ConnectionError(props) : new SqlError.UnknownError(props)
  }
}

const failure = (cause: QueryError) => Effect.fail(new SqlError.SqlError({ reason: reasonOf(cause) }))

/** Statements on one connection. As in Effect's own client for MySQL, one that is given up still runs to its end. */
const connectionOf = (on: PoolConnection): SqlConnection.Connection => {
  const run = (method: "execute" | "query", rowsAsArray = false) =>
    Effect.fnUntraced(function* (sql: string, values: ReadonlyArray<unknown>) {
      return yield* Effect.callback<unknown, SqlError.SqlError>((resume) => {
        const done = (error: QueryError | null, answer: unknown) =>
          resume(error === null ? Effect.succeed(answer) : failure(error))
        on[method]({ sql, values: values as Array<never>, rowsAsArray }, done)
      })
    })
  const rows =
    (method: "execute" | "query"): SqlConnection.Connection["execute"] =>
    (sql, params, f) =>
      Effect.map(run(method)(sql, params), (answer) => {
        const found = Array.isArray(answer) ? answer : []
        return f ? f(found) : found
      })
  const values = (method: "execute" | "query") => (sql: string, params: ReadonlyArray<unknown>) =>
    Effect.map(run(method, true)(sql, params), (answer) => (Array.isArray(answer) ? answer : []))
  return {
    execute: rows("execute"),
    executeUnprepared: rows("query"),
    executeRaw: run("execute"),
    executeValues: values("execute"),
    executeValuesUnprepared: values("query"),
    executeStream: (sql, params, f) => Stream.fromIterableEffect(rows("execute")(sql, params, f))
  }
}

const escape = Statement.defaultEscape("`")
const compiler = Statement.makeCompiler({
  dialect: "mysql",
  placeholder: () => "?",
  onIdentifier: (name) => escape(name),
  onRecordUpdate: () => ["", []],
  onCustom: () => ["", []]
})

export interface Options {
  readonly maxConnections?: number
  /** A statement that each connection begins with. */
  readonly begin?: string
}

/** A client for MySQL or MariaDB, with connections of its own: as small as one can be, for tests. */
export const mysql = (url: string, { begin, maxConnections = 4 }: Options = {}): Layer.Layer<SqlClient.SqlClient> =>
  Layer.effect(
    SqlClient.SqlClient,
    Effect.gen(function* () {
      const open = new Set<PoolConnection>()
      const pool = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const made = createPool({ uri: url, connectionLimit: maxConnections, supportBigNumbers: true })
          made.on("connection", (one) => {
            open.add(one)
            one.on("error", () => open.delete(one))
            if (begin !== undefined) one.query(begin)
          })
          return made
        }),
        (made) =>
          Effect.callback<void>((resume) => made.end(() => resume(Effect.void))).pipe(
            Effect.timeoutOption("1 second"),
            Effect.andThen(Effect.sync(() => open.forEach((one) => void one.destroy())))
          )
      )
      const acquirer = Effect.acquireRelease(
        Effect.callback<PoolConnection, SqlError.SqlError>((resume) => {
          let over = false
          pool.getConnection((error, one) => {
            if (error !== null) resume(failure(error as QueryError))
            else if (over) one.release()
            else resume(Effect.succeed(one))
          })
          return Effect.sync(() => {
            over = true
          })
        }),
        (one) => Effect.sync(() => one.release()),
        { interruptible: true }
      ).pipe(Effect.map(connectionOf))
      return yield* SqlClient.make({ acquirer, compiler, driver: "mysql2", spanAttributes: [] })
    })
  ).pipe(Layer.provide(Reactivity.layer))
