import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { foreignMessage } from "../core/foreign.ts"
import { type Database, database, toNumber } from "../sql/database.ts"
import * as migrations from "../sql/migrations.ts"
import { sqlStore } from "../sql/store.ts"
import { tableLocation, tableLocationFields } from "../sql/tableLocation.ts"
import { versionCheck } from "./findings.ts"
import { CommandFailure } from "./messages.ts"
import { type AskServer, asking, checkedFlags, type DatabaseServer, leadOf, optional } from "./server.ts"
import type { CommandSettings } from "./settings.ts"
import { sqlite } from "./sqlite.ts"
import type { GivenUrl } from "./urls.ts"

const kinds = {
  pg: {
    kind: "PostgreSQL",
    oldest: 12,
    announces: true,
    rights: "The user needs SELECT, INSERT, UPDATE and DELETE on the tables."
  },
  sqlite: { kind: "SQLite", oldest: 3.35, announces: false, rights: "Make the file and its folder writable." }
} as const

export const databaseServer = (
  where: GivenUrl,
  settings: CommandSettings
): Effect.Effect<DatabaseServer, CommandFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const { prefix, schema } = settings
    const options = { prefix: Option.getOrUndefined(prefix), schema: Option.getOrUndefined(schema) }
    const location = tableLocation(yield* checkedFlags(tableLocationFields, options))
    const layer = yield* clientLayer(where)
    const open = Effect.gen(function* () {
      const client = yield* Layer.build(layer)
      const found = yield* Effect.provideContext(database(location), client)
      yield* found.run(found.sql`SELECT 1`)
      return { client, found }
    })
    const { client, found } = yield* asking(where, settings)(open)
    const { sql } = found
    const { announces, kind, oldest, rights } = kinds[found.dialect === "pg" ? "pg" : "sqlite"]
    return {
      kind,
      label: where.label,
      explain: where.explain,
      database: found,
      client,
      store: (ask) =>
        Effect.as(
          Effect.andThen(checkTables({ ask, server: { database: found } }, migrations.ofStore), ask(found.named)),
          sqlStore(found).store
        ),
      circuits: (most) =>
        Effect.map(
          found.rows(sql`SELECT circuit FROM ${found.table("s")} UNION SELECT circuit FROM ${found.table("_ballots")}
            LIMIT ${sql.literal(String(most))}`),
          (rows) => rows.map((row) => String(row["circuit"]))
        ),
      clockLead: leadOf(Effect.map(found.rows(sql`SELECT ${found.now} AS t`), ([row]) => toNumber(row?.["t"]))),
      clockAdvice:
        "Circuits work: the store uses only its own clock. Times in logs and in the trail differ: set up time synchronization.",
      checks: (ask) => Effect.map(versionCheck(kind, oldest, ask(versionOf(found))), (one) => [one]),
      announces,
      rights
    }
  })

const versionOf = (database: Database) => {
  const { dialect, sql } = database
  const asked =
    dialect === "pg" ? sql`SELECT current_setting('server_version') AS v` : sql`SELECT sqlite_version() AS v`
  return Effect.map(database.rows(asked), ([row]) => String(row?.["v"] ?? ""))
}

const noTables =
  "If the tables do not exist, create them with effect-fuse migrate. --prefix and --schema select the tables."

/** Checks that the tables exist and have the right columns. It does not create them. */
export const checkTables = (
  { ask, server }: { readonly ask: AskServer; readonly server: Pick<DatabaseServer, "database"> },
  tables: Parameters<typeof migrations.check>[1]
): Effect.Effect<void, CommandFailure> => ask(migrations.check(server.database, tables), noTables)

// ---- Clients --------------------------------------------------------------------------------------------------------

/** Reads the file from a URL such as `sqlite:shop.db`, `sqlite:///var/shop.db` or `file:///var/shop.db`. */
const fileOf = ({ from, url }: GivenUrl): Effect.Effect<string, CommandFailure> =>
  Effect.try({
    try: () => (url.protocol === "file:" ? fileURLToPath(url) : decodeURIComponent(url.pathname)),
    catch: (error) => new CommandFailure({ code: 1, message: `${from}: ${foreignMessage(error)}` })
  })

const clientLayer = (where: GivenUrl): Effect.Effect<Layer.Layer<SqlClient.SqlClient, SqlError>, CommandFailure> => {
  if (where.url.protocol === "sqlite:" || where.url.protocol === "file:") {
    // SQLite would create a missing file.
    return Effect.gen(function* () {
      const file = yield* fileOf(where)
      if (!existsSync(file))
        return yield* new CommandFailure({ code: 2, message: `${where.label}: the file does not exist` })
      // Some versions of Node print a warning when they load this module, so only SQLite loads it.
      const { DatabaseSync } = yield* Effect.promise(() => import("node:sqlite"))
      return sqlite(() => new DatabaseSync(file, { timeout: 5_000 }))
    })
  }
  return Effect.map(
    optional("@effect/sql-pg", () => import("@effect/sql-pg")),
    ({ PgClient }) =>
      PgClient.layer({ url: Redacted.make(where.text), maxConnections: 2, applicationName: "effect-fuse" })
  )
}
