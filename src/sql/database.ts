import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import type { Fragment, Identifier, Statement } from "effect/sql/Statement"

/** The name of a table, without the prefix. */
export type Table =
  | "s"
  | "_ballots"
  | "_boxes"
  | "_voters"
  | "_rolls"
  | "_store"
  | "_events"
  | "_states"
  | "_heartbeats"
  | "_snapshots"
  | "_events_view"
  | "_states_view"
  | "_outages_view"
  | "_snapshots_view"
  | "_versions"

export interface TableLocation {
  readonly prefix: string
  /** `undefined` for the connection's own schema. */
  readonly schema: string | undefined
}

export type Dialect = "pg" | "mysql" | "sqlite"

/** A client with LISTEN: the one for PostgreSQL. */
interface Announcing {
  readonly listen: (
    channel: string
  ) => Effect.Effect<Queue.Dequeue<{ readonly payload: string }, SqlError.SqlError>, SqlError.SqlError, Scope.Scope>
}

const isAnnouncing = (sql: object): sql is Announcing => "listen" in sql && typeof sql.listen === "function"

export type SqlRow = Readonly<Record<string, unknown>>

/** The most rows in one statement: databases limit the number of parameters. */
export const batchSize = 500

/** A database and the location of its tables. This class contains what differs between databases. */
export class Database {
  readonly sql: SqlClient.SqlClient
  readonly dialect: Dialect
  /** Milliseconds since 1970 by the clock of the database, new with each statement of a transaction. */
  readonly now: Fragment
  /** The text of {@link now}. */
  readonly clock: string
  /** The channel of announcements on PostgreSQL. Tables of the same name in another schema have another channel. */
  channel = ""
  private readonly location: TableLocation

  constructor(sql: SqlClient.SqlClient, location: TableLocation, dialect: Dialect) {
    this.sql = sql
    this.location = location
    this.dialect = dialect
    this.clock = clocks[dialect]
    this.now = sql.literal(this.clock)
  }

  table(name: Table): Identifier {
    return this.sql(this.tableName(name))
  }

  tableName(name: Table): string {
    const { prefix, schema } = this.location
    return `${schema === undefined ? "" : `${schema}.`}${prefix}${name}`
  }

  /** The rows of a statement. Columns keep their names, even if the client transforms names. */
  rows(statement: Statement<object>): Effect.Effect<ReadonlyArray<SqlRow>, SqlError.SqlError> {
    return statement.withoutTransform as Effect.Effect<ReadonlyArray<SqlRow>, SqlError.SqlError>
  }

  run(statement: Statement<object>): Effect.Effect<void, SqlError.SqlError> {
    return Effect.asVoid(statement.withoutTransform)
  }

  /**
   * Runs independent statements. PostgreSQL runs them as one statement, in one round trip. Each of them sees the state before all of
   * them, so no two may write the same row.
   */
  runTogether(statements: ReadonlyArray<Statement<object>>): Effect.Effect<void, SqlError.SqlError> {
    const { sql } = this
    const last = statements.at(-1)
    if (last === undefined) return Effect.void
    if (this.dialect !== "pg") return Effect.forEach(statements, (one) => this.run(one), { discard: true })
    if (statements.length === 1) return this.run(last)
    const others = statements.slice(0, -1).map((one, index) => sql`${sql.literal(`part_${index}`)} AS (${one})`)
    return this.run(sql`WITH ${sql.csv(others)} ${last}`)
  }

  /** Inserts at least one row. */
  insert(table: Table, rows: ReadonlyArray<SqlRow>): Statement<object> {
    const { sql } = this
    // The type demands a list that is not empty.
    return sql`INSERT INTO ${this.table(table)} ${sql.insert(rows as unknown as readonly [Record<string, unknown>])}`
  }

  /** Makes an insert replace `columns` of a row that already has the same key. */
  onConflict(key: ReadonlyArray<string>, columns: ReadonlyArray<string>): Fragment {
    const { sql } = this
    const one = (column: string) =>
      this.dialect === "mysql"
        ? sql`${sql(column)} = VALUES(${sql(column)})`
        : sql`${sql(column)} = excluded.${sql(column)}`
    return this.dialect === "mysql"
      ? sql`ON DUPLICATE KEY UPDATE ${sql.csv(columns.map(one))}`
      : sql`ON CONFLICT (${sql.csv(key.map((column) => sql`${sql(column)}`))}) DO UPDATE SET ${sql.csv(columns.map(one))}`
  }

  /** Makes an insert skip rows whose `id` exists. */
  get unlessThere(): Fragment {
    return this.sql.literal(
      this.dialect === "mysql" ? "ON DUPLICATE KEY UPDATE id = id" : "ON CONFLICT (id) DO NOTHING"
    )
  }

  /** Deletes at most `most` matching rows, so that the statement does not take long. */
  deleteSome(table: Table, fit: Fragment, most: number): Statement<object> {
    const { sql } = this
    const from = sql`${this.table(table)} WHERE ${fit} LIMIT ${sql.literal(String(most))}`
    switch (this.dialect) {
      case "pg":
        return sql`DELETE FROM ${this.table(table)} WHERE ctid = ANY(ARRAY(SELECT ctid FROM ${from}))`
      case "sqlite":
        return sql`DELETE FROM ${this.table(table)} WHERE rowid IN (SELECT rowid FROM ${from})`
      case "mysql":
        return sql`DELETE FROM ${from}`
    }
  }

  /** A parameter whose type the statement does not say otherwise. */
  text(value: string): Fragment {
    return this.dialect === "pg" ? this.sql`CAST(${value} AS TEXT)` : this.sql`${value}`
  }

  big(value: number): Fragment {
    return this.dialect === "pg" ? this.sql`CAST(${value} AS BIGINT)` : this.sql`${value}`
  }

  get announcing(): Announcing | undefined {
    return this.dialect === "pg" && isAnnouncing(this.sql) ? this.sql : undefined
  }

  /**
   * Runs an effect outside the caller's transaction: shared state must not depend on whether that is rolled back. It runs on its own
   * fiber, so that an interrupted caller does not wait until the driver has cancelled the statement.
   */
  apart<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const outside = Effect.updateContext(
      effect,
      (context: Context.Context<R>) => Context.omit(this.sql.transactionService)(context) as Context.Context<R>
    )
    return Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.forkDetach(Effect.interruptible(outside), { startImmediately: true }), (fiber) =>
        Effect.onInterrupt(restore(Fiber.join(fiber)), () => Effect.sync(() => fiber.interruptUnsafe()))
      )
    )
  }

  /** Reads the number of the tables on PostgreSQL, which names their channel. */
  get named(): Effect.Effect<void, SqlError.SqlError> {
    if (this.dialect !== "pg") return Effect.void
    const [quoted] = this.sql`${this.table("s")}`.compile(true)
    return Effect.map(this.rows(this.sql`SELECT CAST(CAST(to_regclass(${quoted}) AS oid) AS TEXT) AS oid`), ([row]) => {
      // A channel belongs to one database, so the number of a table is unique.
      this.channel = `circuit_breakers_${String(row?.["oid"])}`
    })
  }
}

/** The time of the statement, not of the transaction: one value for all rows, so that queries can use indexes. */
const clocks: Readonly<Record<Dialect, string>> = {
  pg: "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)",
  // `NOW` depends on the time zone of the connection, in which an hour of autumn occurs twice.
  mysql: "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)",
  sqlite: "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
}

/** Escapes the NUL character, which PostgreSQL cannot store. */
export const storable = (text: string): string => text.replaceAll("\u0000", "\\u0000")

/** A whole number of a row: drivers return a number, a text or a bigint. */
export const toNumber = (value: unknown): number => Number(value)

/** A whole number from 0 to below 2^53. Anything else, which another program may have written, counts as 0. */
export const toWhole = (value: unknown): number => {
  const n = toNumber(value)
  return Number.isSafeInteger(n) && n > 0 && n < Number.MAX_SAFE_INTEGER ? n : 0
}

/** The database of the client. Dies if the client is for another kind of database. */
export const database = (location: TableLocation): Effect.Effect<Database, never, SqlClient.SqlClient> =>
  Effect.map(SqlClient.SqlClient, (sql) => {
    const dialect = sql.onDialectOrElse({
      pg: (): Dialect | undefined => "pg",
      mysql: (): Dialect | undefined => "mysql",
      sqlite: (): Dialect | undefined => "sqlite",
      orElse: (): Dialect | undefined => undefined
    })
    if (dialect === undefined) throw new Error("SqlStore supports PostgreSQL, MySQL, MariaDB and SQLite")
    return new Database(sql, location, dialect)
  })
