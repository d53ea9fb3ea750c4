import * as Effect from "effect/Effect"
import * as Migrator from "effect/sql/Migrator"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Database } from "./database.ts"

/** The types of columns, which databases call differently. */
const types = ({ dialect }: Database) => ({
  // What MySQL is to find by a text must have a length, and be compared letter by letter.
  id: (length: number) => (dialect === "mysql" ? `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin` : "TEXT"),
  text: dialect === "mysql" ? "LONGTEXT" : "TEXT",
  big: dialect === "sqlite" ? "INTEGER" : "BIGINT",
  small: dialect === "sqlite" ? "INTEGER" : "SMALLINT",
  real: dialect === "sqlite" ? "REAL" : "DOUBLE PRECISION",
  counted:
    dialect === "pg"
      ? "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
      : dialect === "mysql"
        ? "BIGINT AUTO_INCREMENT PRIMARY KEY"
        : "INTEGER PRIMARY KEY AUTOINCREMENT"
})

/** Milliseconds since 1970 are whole numbers everywhere: a time zone cannot change them. */
const steps = (database: Database) => {
  const { sql } = database
  const { big, id, small, text } = types(database)
  const make = (table: Parameters<Database["table"]>[0], columns: string) =>
    database.run(sql`CREATE TABLE ${database.table(table)} (${sql.literal(columns)})`)
  const index = (table: Parameters<Database["table"]>[0], name: string, columns: string) =>
    database.run(
      sql`CREATE INDEX ${sql(`${database.tableName(table).replace(/^.*\./, "")}_${name}`)} ON ${database.table(table)} (${sql.literal(columns)})`
    )
  return {
    "0001_records_and_ballots": Effect.gen(function* () {
      yield* make(
        "s",
        `circuit ${id(2000)} NOT NULL PRIMARY KEY, era ${big} NOT NULL, body ${text} NOT NULL,
         listed ${small} NOT NULL, written_at ${big} NOT NULL, ends_at ${big}`
      )
      yield* index("s", "ends", "ends_at")
      yield* index("s", "eras", "era")
      yield* make(
        "_ballots",
        `circuit ${id(2000)} NOT NULL, box ${id(255)} NOT NULL, voice ${id(255)} NOT NULL, era ${big} NOT NULL,
         numbers ${text} NOT NULL, ends_at ${big} NOT NULL, PRIMARY KEY (circuit, box, voice)`
      )
      yield* index("_ballots", "ends", "ends_at")
      yield* make(
        "_inquiries",
        `circuit ${id(2000)} NOT NULL, box ${id(255)} NOT NULL, era ${big} NOT NULL, asked_at ${big} NOT NULL,
         ends_at ${big} NOT NULL, PRIMARY KEY (circuit, box)`
      )
      yield* index("_inquiries", "ends", "ends_at")
      yield* index("_inquiries", "asked", "asked_at")
      yield* make("_voices", `voice ${id(255)} NOT NULL PRIMARY KEY, ends_at ${big} NOT NULL`)
      // One row: the last era of all, so that none comes again, whatever was forgotten.
      yield* make("_eras", `id ${small} NOT NULL PRIMARY KEY, era ${big} NOT NULL`)
      yield* database.run(sql`INSERT INTO ${database.table("_eras")} (id, era) VALUES (1, 0)`)
    })
  }
}

/**
 * Makes the tables that are missing. Many processes may do so at once. A table that has one of their names and is not of these is
 * an error, and stays as it is.
 */
export const migrate = (
  database: Database
): Effect.Effect<void, Migrator.MigrationError | SqlError, SqlClient.SqlClient> =>
  Effect.asVoid(
    Migrator.make({})({
      loader: Migrator.fromRecord(steps(database)),
      table: database.tableName("_migrations")
    })
  )

/** That all tables are there, for a program that may not make them. */
export const check = (database: Database): Effect.Effect<void, SqlError> =>
  Effect.forEach(
    ["s", "_ballots", "_inquiries", "_voices", "_eras"] as const,
    (table) => database.run(database.sql`SELECT 1 AS one FROM ${database.table(table)} WHERE 1 = 0`),
    { discard: true }
  )
