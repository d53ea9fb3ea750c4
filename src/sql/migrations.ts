import * as Effect from "effect/Effect"
import * as Migrator from "effect/sql/Migrator"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Database, Table } from "./database.ts"
import { views } from "./views.ts"

const types = ({ dialect }: Database) => ({
  // MySQL can only index texts with a length. `ascii_bin` compares them exactly.
  id: (length: number) => (dialect === "mysql" ? `VARCHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin` : "TEXT"),
  // Any text, whatever the default character set of the database.
  text: dialect === "mysql" ? "LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" : "TEXT",
  big: dialect === "sqlite" ? "INTEGER" : "BIGINT",
  small: dialect === "sqlite" ? "INTEGER" : "SMALLINT",
  real: dialect === "sqlite" ? "REAL" : "DOUBLE PRECISION"
})

/** Inserts the single row of a store. */
export const firstRow = (database: Database) => {
  const row = { id: 1, epoch: 0, trimmed: 0, born_at: 0, life: "", head: 0, burials: 0, swept_at: 0 }
  return database.sql`${database.insert("_store", [row])} ${database.unlessThere}`
}

/** The migrations. Times are whole numbers of milliseconds since 1970, which do not depend on time zones. */
const steps = (database: Database) => {
  const { sql } = database
  const { big, id, real, small, text } = types(database)
  /** Creates a table with its indexes. On MySQL this is one repeatable statement, because MySQL cannot roll it back. */
  const make = (table: Table, columns: string, indexes: Readonly<Record<string, string>> = {}) => {
    const name = database.table(table)
    const named = Object.entries(indexes).map(
      ([index, of]) => [sql(`${database.tableName(table).replace(/^.*\./, "")}_${index}`), sql.literal(of)] as const
    )
    if (database.dialect === "mysql") {
      const all = sql.csv([columns, ...named.map(([index, of]) => sql`INDEX ${index} (${of})`)])
      return database.run(sql`CREATE TABLE IF NOT EXISTS ${name} (${all})`)
    }
    return Effect.andThen(
      database.run(sql`CREATE TABLE ${name} (${sql.literal(columns)})`),
      Effect.forEach(named, ([index, of]) => database.run(sql`CREATE INDEX ${index} ON ${name} (${of})`), {
        discard: true
      })
    )
  }
  return {
    "0001_records_and_ballots": Effect.gen(function* () {
      // `changed` is 1 if pages show the record. `gone_at` is when the record can be deleted.
      yield* make(
        "s",
        `circuit ${id(2000)} NOT NULL PRIMARY KEY, epoch ${big} NOT NULL, body ${text} NOT NULL,
         listed ${small} NOT NULL, changed ${small} NOT NULL, written_at ${big} NOT NULL, ends_at ${big}, gone_at ${big}`,
        { changed: "changed, epoch", listed: "listed, ends_at", gone: "gone_at" }
      )
      yield* make(
        "_ballots",
        `circuit ${id(2000)} NOT NULL, voter ${id(255)} NOT NULL, box ${id(255)} NOT NULL, epoch ${big} NOT NULL,
         life ${big} NOT NULL, numbers ${text} NOT NULL, ends_at ${big} NOT NULL, PRIMARY KEY (circuit, voter, box)`,
        { ends: "ends_at" }
      )
      yield* make(
        "_boxes",
        `circuit ${id(2000)} NOT NULL, box ${id(255)} NOT NULL, epoch ${big} NOT NULL, voters ${big} NOT NULL,
         sums ${text} NOT NULL, asked_at ${big} NOT NULL, roll_seq ${big} NOT NULL, roll_at ${big} NOT NULL, roll_ends_at ${big} NOT NULL,
         burials ${big} NOT NULL, built_at ${big} NOT NULL, valid_until ${big} NOT NULL, ends_at ${big} NOT NULL,
         PRIMARY KEY (circuit, box)`,
        { ends: "ends_at" }
      )
      yield* make(
        "_voters",
        `voter ${id(255)} NOT NULL PRIMARY KEY, life ${big} NOT NULL, heard ${big} NOT NULL, ends_at ${big} NOT NULL,
         digest ${text}`,
        { ends: "ends_at, heard" }
      )
      yield* make(
        "_rolls",
        `seq ${big} NOT NULL PRIMARY KEY, prev ${big} NOT NULL, circuit ${id(2000)} NOT NULL, epoch ${big} NOT NULL,
         box ${id(255)} NOT NULL, term ${big} NOT NULL, ends_at ${big} NOT NULL`,
        { ends: "ends_at" }
      )
      // One row. Each exchange that casts or swaps locks it.
      yield* make(
        "_store",
        `id ${small} NOT NULL PRIMARY KEY, epoch ${big} NOT NULL, trimmed ${big} NOT NULL, born_at ${big} NOT NULL,
         life ${id(200)} NOT NULL, head ${big} NOT NULL, burials ${big} NOT NULL, swept_at ${big} NOT NULL`
      )
      yield* database.run(firstRow(database))
    }),
    "0002_events": Effect.gen(function* () {
      yield* make(
        "_events",
        `id ${id(120)} NOT NULL PRIMARY KEY, at ${big} NOT NULL, circuit_id ${id(1500)} NOT NULL, circuit ${text} NOT NULL,
         circuit_key ${text}, from_state ${id(10)} NOT NULL, to_state ${id(10)} NOT NULL, why ${id(30)} NOT NULL,
         detail ${text}, actor ${text}, scope ${id(10)} NOT NULL, process ${text} NOT NULL, mode ${id(10)} NOT NULL,
         epoch ${big} NOT NULL, openings ${big} NOT NULL, retry_after ${big}, lasted ${big},
         outage ${id(150)}, outage_since ${big}, outage_openings ${big}, down_for ${big},
         calls ${big}, failures ${big}, slow ${big}, streak ${big}, metadata ${text}`,
        {
          circuit: "circuit_id, at",
          at: "at, to_state, from_state",
          to: "to_state, at",
          down: "down_for, at",
          outage: "outage, down_for"
        }
      )
      // The latest state of each circuit, by owner: the fleet, or one process whose circuit differs from it.
      yield* make(
        "_states",
        `circuit_id ${id(1500)} NOT NULL, owner ${id(120)} NOT NULL, circuit ${text} NOT NULL, circuit_key ${text},
         state ${id(10)} NOT NULL, since ${big} NOT NULL, why ${id(30)} NOT NULL, detail ${text}, actor ${text},
         openings ${big} NOT NULL, ends_at ${big}, outage_since ${big}, outage_openings ${big},
         version ${id(40)} NOT NULL, PRIMARY KEY (circuit_id, owner)`,
        { state: "state, since", owner: "owner" }
      )
      // How long the states of a process count.
      yield* make(
        "_heartbeats",
        `owner ${id(120)} NOT NULL PRIMARY KEY, process ${text} NOT NULL, ends_at ${big} NOT NULL`,
        { ends: "ends_at" }
      )
    }),
    "0003_snapshots": Effect.gen(function* () {
      yield* make(
        "_snapshots",
        `id ${id(120)} NOT NULL PRIMARY KEY, at ${big} NOT NULL, circuit ${text} NOT NULL, circuit_name ${id(500)} NOT NULL,
         process ${text} NOT NULL, run ${id(120)} NOT NULL, state ${id(10)} NOT NULL, circuits ${big} NOT NULL, healthy ${big} NOT NULL,
         calls ${big} NOT NULL, successes ${big} NOT NULL, failures ${big} NOT NULL, ignored ${big} NOT NULL,
         slow ${big} NOT NULL, rejected ${big} NOT NULL, in_flight ${big} NOT NULL, failure_rate ${real}`,
        { name: "circuit_name, at", at: "at" }
      )
    }),
    // Checked only here: a program needs no rights on views.
    "0004_views": Effect.andThen(
      Effect.forEach(Object.entries(views(database)), ([view, select]) => makeView(view as Table, select), {
        discard: true
      }),
      check(database, ofViews)
    )
  }

  function makeView(view: Table, select: string): Effect.Effect<void, SqlError> {
    const make = (how: string) =>
      database.run(sql`${sql.literal(how)} ${database.table(view)} AS ${sql.literal(select)}`)
    switch (database.dialect) {
      case "pg":
        return make("CREATE VIEW")
      case "sqlite":
        return make("CREATE VIEW IF NOT EXISTS")
      case "mysql": {
        // An existing view with this name does not change. If it has other columns, the later `check` fails.
        const isThere = check(database, { [view]: "1" })
        return Effect.catch(isThere, () => make("CREATE OR REPLACE VIEW"))
      }
    }
  }
}

/** Creates missing tables, safely from many processes at once. Fails if a table has other columns, and leaves it as it is. */
export const migrate = (
  database: Database
): Effect.Effect<void, Migrator.MigrationError | SqlError, SqlClient.SqlClient> => {
  const run = (loaded: MigrationSteps) =>
    Migrator.make({})({ loader: Migrator.fromRecord(loaded), table: database.tableName("_versions") })
  const all = steps(database)
  const made: Effect.Effect<unknown, Migrator.MigrationError | SqlError, SqlClient.SqlClient> =
    database.dialect === "mysql" ? oneByOne(database, all, run({})) : run(all)
  return Effect.andThen(made, check(database, { ...ofStore, ...ofTrail }))
}

/**
 * {@link migrate} if a table is missing. If the tables of the store exist, a failure to create the others is ignored: the database may be
 * a replica, or the user may have no right to create tables.
 */
export const migrateIfMissing = (
  database: Database
): Effect.Effect<void, Migrator.MigrationError | SqlError, SqlClient.SqlClient> =>
  Effect.catch(check(database, { ...ofStore, ...ofTrail }), () =>
    Effect.catch(migrate(database), (error) => Effect.mapError(check(database, ofStore), () => error))
  )

type MigrationSteps = Parameters<typeof Migrator.fromRecord>[0]

/**
 * The migrations on MySQL, which commits after each table. So nothing is created if a table belongs to another program. The steps may run
 * in many processes at once, and again after an interruption. They are recorded when all are done, in the table that `versions` creates.
 */
const oneByOne = <R>(database: Database, all: MigrationSteps, versions: Effect.Effect<unknown, unknown, R>) => {
  const { sql } = database
  const isMissing = ([table, columns]: readonly [string, string]) => {
    const isOurs = Effect.as(check(database, { [table]: columns }), false)
    // The table exists: check it again, because another process may have created it in the meantime.
    return Effect.catch(isOurs, () =>
      Effect.matchEffect(check(database, { [table]: "1" }), {
        onSuccess: () => isOurs,
        onFailure: () => Effect.succeed(true)
      })
    )
  }
  const tables = Object.entries({ ...ofStore, ...ofTrail, _versions: "migration_id, name" })
  const rows = Object.keys(all).map((name) => ({ migration_id: Number.parseInt(name, 10), name: name.slice(5) }))
  const entered = database.rows(sql`SELECT migration_id FROM ${database.table("_versions")}`)
  const isDone = Effect.flatMap(Effect.forEach(tables, isMissing), (missing) =>
    missing.includes(true) ? Effect.succeed(false) : Effect.map(entered, ({ length }) => length >= rows.length)
  )
  const enter = database.run(sql`${database.insert("_versions", rows)} ON DUPLICATE KEY UPDATE name = VALUES(name)`)
  return Effect.flatMap(isDone, (done) =>
    done ? Effect.void : Effect.all([...Object.values(all), versions, enter], { discard: true })
  ).pipe(
    Effect.mapError(
      (cause) => new Migrator.MigrationError({ kind: "Failed", cause, message: "The tables could not be created" })
    )
  )
}

/** The columns that a store uses, and those that an audit trail uses. */
export const ofStore = {
  s: "circuit, epoch, body, listed, changed, written_at, ends_at, gone_at",
  _ballots: "circuit, voter, box, epoch, life, numbers, ends_at",
  _boxes:
    "circuit, box, epoch, voters, sums, asked_at, roll_seq, roll_at, roll_ends_at, burials, built_at, valid_until, ends_at",
  _voters: "voter, life, heard, ends_at, digest",
  _rolls: "seq, prev, circuit, epoch, box, term, ends_at",
  _store: "id, epoch, trimmed, born_at, life, head, burials, swept_at"
}
export const ofTrail = {
  _events: "id, at, circuit_id, to_state, outage, down_for, metadata",
  _states: "circuit_id, owner, state, since, ends_at, version",
  _heartbeats: "owner, ends_at",
  _snapshots: "id, at, circuit_name, run, failure_rate"
}
const ofViews = {
  _events_view: "at, at_ms, circuit, to_state, outage_since, down_seconds",
  _states_view: "circuit, state, scope, since, outage_since",
  _outages_view: "circuit, started_at, ended_at, seconds",
  _snapshots_view: "at, at_ms, circuit, failures"
}

/** Fails if a table is missing or has other columns. */
export const check = (database: Database, tables: Partial<Record<Table, string>>): Effect.Effect<void, SqlError> =>
  Effect.forEach(
    Object.entries(tables) as ReadonlyArray<[Table, string]>,
    ([table, columns]) =>
      database.run(database.sql`SELECT ${database.sql.literal(columns)} FROM ${database.table(table)} WHERE 1 = 0`),
    { discard: true }
  )
