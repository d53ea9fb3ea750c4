import { readFileSync } from "node:fs"
import { assert, describe } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import { audited, recovers } from "./support/audited.ts"
import { type Database, databases, on } from "./support/databases.ts"
import { live } from "./support/redisLive.ts"
import { type Connection, say } from "./support/sqlFleet.ts"
import { play } from "./support/verbs.ts"

const page = (name: string) => readFileSync(new URL(`../docs/${name}.md`, import.meta.url), "utf8")

// ---- The statements of the page -------------------------------------------------------------------------------------

const labels: Readonly<Record<string, ReadonlyArray<Database>>> = {
  "PostgreSQL:": ["PostgreSQL"],
  "MySQL and MariaDB:": ["MariaDB"],
  "SQLite:": ["SQLite"]
}

/** The statements that the page has for a database, by heading. */
const statementsFor = (database: Database): Readonly<Record<string, string>> => {
  const found: Record<string, string> = {}
  for (const section of page("audit-sql").split(/^## /m).slice(1)) {
    const [heading = ""] = section.split("\n")
    for (const [, label = "", statement = ""] of section.matchAll(/(?:^(\w[^\n]*:)\n\n)?```sql\n([\s\S]*?)```/gm)) {
      if ((labels[label] ?? databases).includes(database)) found[heading] = statement
    }
  }
  return found
}

const headings = Object.keys(statementsFor("PostgreSQL"))

// ---- The tables of the page -----------------------------------------------------------------------------------------

interface Described {
  /** By column: its type, and whether it may be null. */
  readonly columns: Readonly<Record<string, string>>
  readonly indexes: ReadonlyArray<string>
}

const described = (table: string): Described => {
  const section = page("audit-tables").split(`## ${table}\n`)[1]?.split(/^## /m)[0] ?? ""
  const rows = section.matchAll(/^\| `(\w+)` \| (\w+) \|[^|]*\| (yes|no) \|/gm)
  const [, indexes = ""] = section.match(/^Indexes: (.*)\.$/m) ?? []
  return {
    columns: Object.fromEntries(Array.from(rows, ([, name = "", type, nullable]) => [name, `${type} ${nullable}`])),
    indexes: Array.from(indexes.matchAll(/\(([^)]*)\)/g), ([, of = ""]) => of.replaceAll("`", "")).sort()
  }
}

/** What each database calls the types of the page. */
const types: Readonly<Record<Database, Readonly<Record<string, string>>>> = {
  PostgreSQL: { bigint: "integer", "double precision": "real", text: "text" },
  MariaDB: { bigint: "integer", double: "real", longtext: "text", varchar: "id" },
  SQLite: { INTEGER: "integer", REAL: "real", TEXT: "text" }
}

const columnsOf: Readonly<Record<Database, (table: string) => string>> = {
  PostgreSQL: (table) => `SELECT column_name AS name, data_type AS type, is_nullable AS nullable
    FROM information_schema.columns WHERE table_name = '${table}'`,
  MariaDB: (table) => `SELECT column_name AS name, data_type AS type, is_nullable AS nullable
    FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '${table}'`,
  SQLite: (table) =>
    `SELECT name, type, CASE "notnull" WHEN 0 THEN 'YES' ELSE 'NO' END AS nullable FROM pragma_table_info('${table}')`
}

const indexesOf: Readonly<Record<Database, (table: string) => string>> = {
  PostgreSQL: (table) => `SELECT substring(indexdef from '\\((.*)\\)') AS columns FROM pg_indexes
    WHERE tablename = '${table}' AND indexname NOT LIKE '%_pkey'`,
  MariaDB: (table) => `SELECT GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ', ') AS columns
    FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = '${table}' AND index_name <> 'PRIMARY'
    GROUP BY index_name`,
  SQLite: (table) => `SELECT (SELECT group_concat(name, ', ') FROM pragma_index_info(list.name)) AS columns
    FROM pragma_index_list('${table}') AS list WHERE origin = 'c'`
}

const actual = (database: Database, sql: Connection, table: string) =>
  Effect.gen(function* () {
    const columns = yield* say(sql, columnsOf[database](table))
    const indexes = yield* say(sql, indexesOf[database](table))
    return {
      columns: Object.fromEntries(
        columns.map(({ name, nullable, type }) => {
          const known = types[database][String(type)] ?? String(type)
          return [String(name), `${known} ${nullable === "YES" ? "yes" : "no"}`]
        })
      ),
      indexes: indexes.map(({ columns }) => String(columns)).sort()
    }
  })

/** Where a database has one type for both, they are the same. */
const comparable = (database: Database, { columns, indexes }: Described): Described => ({
  columns:
    database === "MariaDB"
      ? columns
      : Object.fromEntries(Object.entries(columns).map(([name, type]) => [name, type.replace(/^id /, "text ")])),
  indexes
})

// ---- What happened --------------------------------------------------------------------------------------------------

const number = (value: unknown) => Number(value)

/** Fails as often, each time with a new key: no circuit of the name opens. */
const failAtKeys = (name: string, n: number) =>
  Effect.forEach(Array.from({ length: n }), () => play("F", { name, key: `${++keys}` }), { discard: true })
let keys = 0

describe.each(databases)("the trail in %s, read in SQL", (database) => {
  const ground = on(database)

  const trail = (name: string, test: (sql: Connection) => Effect.Effect<void, unknown, Scope.Scope>) =>
    live(
      name,
      Effect.gen(function* () {
        const { open } = yield* ground.place
        const sql = yield* open
        const program = Effect.gen(function* () {
          yield* play("FF", { name: "orders" })
          for (const key of ["acme", "acme", "other"]) {
            yield* play("FF", { name: "card payments", key })
            yield* recovers({ name: "card payments", key })
            yield* CircuitBreaker.reset("card payments", { key })
          }
          yield* CircuitBreaker.isolate("mail", { reason: "drill", actor: "ann" })
          yield* CircuitBreaker.isolate("mail", { reason: "still", actor: "ann" })
          yield* failAtKeys("few", 12)
          yield* failAtKeys("many", 3)
          yield* Snapshots.take()
          yield* say(sql, "UPDATE circuit_breaker_snapshots SET at = at - 5400000")
          yield* failAtKeys("few", 2)
          yield* Effect.sleep(5)
          yield* Snapshots.take()
          yield* failAtKeys("many", 11)
          yield* Effect.sleep(5)
          yield* Snapshots.take()
          yield* AuditTrail.flush
          yield* test(sql)
        })
        const context = yield* audited(sql, { prefix: "circuit_breaker", metadata: { region: "eu" } })
        yield* Effect.provideContext(program, context)
      }),
      60_000
    )

  trail("answers each statement of the page with what happened", (sql) =>
    Effect.gen(function* () {
      const statements = statementsFor(database)
      assert.deepStrictEqual(Object.keys(statements), headings)
      const rows = (heading: string, circuit = "payments") =>
        say(sql, (statements[heading] ?? "").replace("'payments'", `'${circuit}'`))
      const at = (row: Record<string, unknown>) => `${row["circuit"]}/${row["circuit_key"]}`

      const open = yield* rows("Open now")
      assert.deepStrictEqual(
        open.map((row) => [at(row), row["scope"], row["why"]]),
        [["orders/null", "local", "Tripped"]]
      )

      const opened = yield* rows("Opened today")
      const times = Object.fromEntries(opened.map((row) => [at(row), number(row["openings"])]))
      assert.deepStrictEqual(times, { "orders/null": 1, "card payments/acme": 2, "card payments/other": 1 })
      assert.strictEqual(at(opened[0] ?? {}), "card payments/acme")

      const outages = yield* rows("Outages and downtime")
      const counts = Object.fromEntries(outages.map((row) => [at(row), number(row["outages"])]))
      assert.deepStrictEqual(counts, { "card payments/acme": 2, "card payments/other": 1 })
      for (const row of outages) {
        assert.isAtLeast(number(row["seconds_down"]), 0.09 * number(row["outages"]))
        assert.closeTo(number(row["mean_time_to_recover"]), number(row["seconds_down"]) / number(row["outages"]), 0.001)
      }

      const failures = yield* rows("More than 10 failures in the last hour")
      assert.deepStrictEqual(
        failures.map((row) => [row["circuit"], number(row["failures"])]),
        [["many", 11]]
      )

      const events = yield* rows("The last 50 events of a circuit", "card%0020payments/acme")
      const lines = yield* AuditTrail.history("card payments", { key: "acme", limit: 50 }).pipe(
        Effect.provideContext(yield* audited(sql, { prefix: "circuit_breaker" }))
      )
      assert.deepStrictEqual(
        events.map((row) => [row["from_state"], row["to_state"], row["why"]]),
        lines.map(({ from, to, why }) => [from, to, why])
      )
      assert.deepStrictEqual(JSON.parse(String(events[0]?.["metadata"])), { region: "eu" })

      const days = yield* rows("Transitions per day")
      const sums: Record<string, number> = {}
      for (const row of days) {
        const state = String(row["to_state"])
        sums[state] = (sums[state] ?? 0) + number(row["transitions"])
      }
      assert.deepStrictEqual(sums, { Open: 4, HalfOpen: 3, Closed: 3, Isolated: 1 })
    })
  )

  trail("has times that are times, in UTC, whatever the zone of the connection is", (sql) =>
    Effect.gen(function* () {
      // What a database makes of the time back again, by its own functions.
      const back = {
        PostgreSQL: "CAST(EXTRACT(EPOCH FROM at) * 1000 AS BIGINT)",
        MariaDB: "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', at) DIV 1000",
        SQLite: "CAST(ROUND(unixepoch(at, 'subsec') * 1000) AS INTEGER)"
      }[database]
      if (database === "PostgreSQL") yield* say(sql, "SET TIME ZONE 'Asia/Kathmandu'")
      if (database === "MariaDB") yield* say(sql, "SET time_zone = '+05:45'")
      for (const view of ["circuit_breaker_events_view", "circuit_breaker_snapshots_view"]) {
        const rows = yield* say(sql, `SELECT at_ms, ${back} AS same FROM ${view}`)
        assert.isAbove(rows.length, 0)
        for (const { at_ms, same } of rows) assert.strictEqual(number(same), number(at_ms), view)
      }
      if (database === "SQLite") return
      const kind = database === "PostgreSQL" ? "timestamp with time zone" : "datetime"
      const columns = yield* say(
        sql,
        `SELECT table_name AS name, column_name AS col, data_type AS type FROM information_schema.columns
          WHERE table_name LIKE '%\\_view' AND column_name IN ('at', 'since', 'outage_since', 'ends_at', 'started_at', 'ended_at')
          AND table_schema NOT IN ('information_schema', 'mysql', 'sys', 'performance_schema', 'pg_catalog')`
      )
      assert.isAtLeast(columns.length, 8)
      for (const { col, name, type } of columns) assert.strictEqual(type, kind, `${name}.${col}`)
    })
  )

  trail("has the tables that the page describes, column by column and index by index", (sql) =>
    Effect.gen(function* () {
      for (const table of ["events", "states", "heartbeats", "snapshots"].map((one) => `circuit_breaker_${one}`)) {
        const onPage = described(table)
        assert.isAbove(Object.keys(onPage.columns).length, 0, table)
        assert.deepStrictEqual(
          comparable(database, yield* actual(database, sql, table)),
          comparable(database, onPage),
          table
        )
      }
    })
  )
})
