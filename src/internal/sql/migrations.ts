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
  real: dialect === "sqlite" ? "REAL" : "DOUBLE PRECISION"
})

/** Milliseconds since 1970 are whole numbers everywhere: a time zone cannot change them. */
const steps = (database: Database) => {
  const { sql } = database
  const { big, id, real, small, text } = types(database)
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
    }),
    "0002_events": Effect.gen(function* () {
      yield* make(
        "_events",
        `id ${id(120)} NOT NULL PRIMARY KEY, at ${big} NOT NULL, circuit_id ${id(1500)} NOT NULL, circuit ${text} NOT NULL,
         circuit_key ${text}, from_state ${id(10)} NOT NULL, to_state ${id(10)} NOT NULL, why ${id(30)} NOT NULL,
         detail ${text}, actor ${text}, scope ${id(10)} NOT NULL, process ${text} NOT NULL, mode ${id(10)} NOT NULL,
         era ${big} NOT NULL, openings ${big} NOT NULL, retry_after ${big}, lasted ${big}, down_for ${big},
         calls ${big}, failures ${big}, slow ${big}, streak ${big}, metadata ${text}`
      )
      yield* index("_events", "circuit", "circuit_id, at")
      yield* index("_events", "at", "at, to_state")
      yield* index("_events", "to", "to_state, at")
      yield* index("_events", "down", "down_for, at")
      // What each owner last said of a circuit: the fleet, or a process of its own.
      yield* make(
        "_states",
        `circuit_id ${id(1500)} NOT NULL, owner ${id(120)} NOT NULL, circuit ${text} NOT NULL, circuit_key ${text},
         state ${id(10)} NOT NULL, since ${big} NOT NULL, why ${id(30)} NOT NULL, detail ${text}, actor ${text},
         openings ${big} NOT NULL, ends_at ${big}, PRIMARY KEY (circuit_id, owner)`
      )
      yield* index("_states", "state", "state, since")
    }),
    "0003_snapshots": Effect.gen(function* () {
      yield* make(
        "_snapshots",
        `id ${id(120)} NOT NULL PRIMARY KEY, at ${big} NOT NULL, circuit ${text} NOT NULL, circuit_name ${id(500)} NOT NULL,
         process ${text} NOT NULL, state ${id(10)} NOT NULL, circuits ${big} NOT NULL, healthy ${big} NOT NULL,
         calls ${big} NOT NULL, successes ${big} NOT NULL, failures ${big} NOT NULL, ignored ${big} NOT NULL,
         slow ${big} NOT NULL, rejected ${big} NOT NULL, in_flight ${big} NOT NULL, failure_rate ${real} NOT NULL`
      )
      yield* index("_snapshots", "name", "circuit_name, at")
      yield* index("_snapshots", "at", "at")
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
  Effect.andThen(
    Migrator.make({})({
      loader: Migrator.fromRecord(steps(database)),
      table: database.tableName("_versions")
    }),
    check(database, { ...ofStore, ...ofTrail })
  )

/** What a store reads and writes, and what a trail does. */
export const ofStore = {
  s: "circuit, era, body, listed, written_at, ends_at",
  _ballots: "circuit, box, voice, era, numbers, ends_at",
  _inquiries: "circuit, box, era, asked_at, ends_at",
  _voices: "voice, ends_at",
  _eras: "id, era"
}
export const ofTrail = {
  _events: "id, at, circuit_id, to_state, down_for, metadata",
  _states: "circuit_id, owner, state, since, ends_at",
  _snapshots: "id, at, circuit_name, failure_rate"
}

/** That tables are there, and are these: for a program that may not make them, and after they were made. */
export const check = (
  database: Database,
  tables: Partial<Record<Parameters<Database["table"]>[0], string>>
): Effect.Effect<void, SqlError> =>
  Effect.forEach(
    Object.entries(tables) as ReadonlyArray<[Parameters<Database["table"]>[0], string]>,
    ([table, columns]) =>
      database.run(database.sql`SELECT ${database.sql.literal(columns)} FROM ${database.table(table)} WHERE 1 = 0`),
    { discard: true }
  )
