import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type * as SqlError from "effect/sql/SqlError"
import type { Fragment, Identifier, Statement } from "effect/sql/Statement"

/** What a table is called, beginning with the prefix of all. */
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

/** Where the tables are. */
export interface TableLocation {
  /** Begins the name of each table. */
  readonly prefix: string
  /** The schema that they are in, where that is not the connection's own. */
  readonly schema: string | undefined
}

export type Dialect = "pg" | "mysql" | "sqlite"

/** A client that can announce and hear what others announce: that of PostgreSQL. */
interface Announcing {
  readonly listen: (
    channel: string
  ) => Effect.Effect<Queue.Dequeue<{ readonly payload: string }, SqlError.SqlError>, SqlError.SqlError, Scope.Scope>
}

const isAnnouncing = (sql: object): sql is Announcing => "listen" in sql && typeof sql.listen === "function"

export type SqlRow = Readonly<Record<string, unknown>>

/** So many rows are written by one statement: databases take no more than some ten thousand parameters. */
export const batchSize = 500

/** A database and the location of its tables. This class contains what differs between the kinds of databases. */
export class Database {
  readonly sql: SqlClient.SqlClient
  readonly dialect: Dialect
  /** Milliseconds since 1970 by the clock of the database, new with each statement of a transaction. */
  readonly now: Fragment
  /** The same as text. */
  readonly clock: string
  /** The channel of what is announced, where there is one: of these very tables, whatever other database or schema has the same. */
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

  /** The rows of a statement, their columns named as they are in it. */
  rows(statement: Statement<object>): Effect.Effect<ReadonlyArray<SqlRow>, SqlError.SqlError> {
    return statement.withoutTransform as Effect.Effect<ReadonlyArray<SqlRow>, SqlError.SqlError>
  }

  run(statement: Statement<object>): Effect.Effect<void, SqlError.SqlError> {
    return Effect.asVoid(statement.withoutTransform)
  }

  /**
   * Runs statements that do not depend on one another. PostgreSQL runs them as one statement, which takes one round trip: all of
   * them see what was there before, so no two may write the same row.
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

  /** Writes rows, of which there is at least one. */
  insert(table: Table, rows: ReadonlyArray<SqlRow>): Statement<object> {
    const { sql } = this
    // The type wants it to be seen that there is one.
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

  /** Writes rows but those that are there: of tables whose key is `id`. */
  get unlessThere(): Fragment {
    return this.sql.literal(
      this.dialect === "mysql" ? "ON DUPLICATE KEY UPDATE id = id" : "ON CONFLICT (id) DO NOTHING"
    )
  }

  /** Deletes some of the rows that fit, so that a statement does not take long. */
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

  /** A parameter, where nothing else says what it is. */
  text(value: string): Fragment {
    return this.dialect === "pg" ? this.sql`CAST(${value} AS TEXT)` : this.sql`${value}`
  }

  /** The same for a whole number. */
  big(value: number): Fragment {
    return this.dialect === "pg" ? this.sql`CAST(${value} AS BIGINT)` : this.sql`${value}`
  }

  /** The client's listener, if it has one. */
  get announcing(): Announcing | undefined {
    return this.dialect === "pg" && isAnnouncing(this.sql) ? this.sql : undefined
  }

  /**
   * Not in the transaction of whoever happens to call: what is shared holds whether that is rolled back or not. And on a fiber
   * of its own: a driver may take its time to give up a statement, and who gives up waiting does not wait for that.
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

  /** Finds out what these tables are called among all that the server has. */
  get named(): Effect.Effect<void, SqlError.SqlError> {
    if (this.dialect !== "pg") return Effect.void
    const [quoted] = this.sql`${this.table("s")}`.compile(true)
    return Effect.map(this.rows(this.sql`SELECT CAST(CAST(to_regclass(${quoted}) AS oid) AS TEXT) AS oid`), ([row]) => {
      // Channels are of one database: the number of the table is enough.
      this.channel = `circuit_breakers_${String(row?.["oid"])}`
    })
  }
}

/** When the statement came, and not when the transaction began: one time for all rows, which indexes can be asked for. */
const clocks: Readonly<Record<Dialect, string>> = {
  pg: "CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT)",
  // `NOW` would be of the connection's time zone, where an hour of autumn comes twice.
  mysql: "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000)",
  sqlite: "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
}

/** What comes from outside may be anything, and PostgreSQL has texts of all letters but this one. */
export const storable = (text: string): string => text.replaceAll("\u0000", "\\u0000")

/** Whole numbers come as numbers, as texts or as bigints. */
export const toNumber = (value: unknown): number => Number(value)

/** A whole number from 0 to below 2^53. Anything else, as another program may have written, is as good as 0. */
export const toWhole = (value: unknown): number => {
  const n = toNumber(value)
  return Number.isSafeInteger(n) && n > 0 && n < Number.MAX_SAFE_INTEGER ? n : 0
}

/** The database of the client that is there; it dies if that is of a kind that is not known. */
export const database = (location: TableLocation): Effect.Effect<Database, never, SqlClient.SqlClient> =>
  Effect.map(SqlClient.SqlClient, (sql) => {
    const dialect = sql.onDialectOrElse({
      pg: (): Dialect | undefined => "pg",
      mysql: (): Dialect | undefined => "mysql",
      sqlite: (): Dialect | undefined => "sqlite",
      orElse: (): Dialect | undefined => undefined
    })
    if (dialect === undefined) throw new Error("SqlStore knows PostgreSQL, MySQL, MariaDB and SQLite")
    return new Database(sql, location, dialect)
  })
