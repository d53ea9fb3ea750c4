import type { Database, Table } from "./database.ts"

/** Converts milliseconds since 1970 to the timestamp type of the database, in UTC. */
const timestamp = ({ dialect }: Database, millis: string): string => {
  switch (dialect) {
    case "pg":
      return `to_timestamp((${millis}) / 1000.0)`
    case "mysql":
      return `CAST(CAST('1970-01-01' AS DATETIME(6)) + INTERVAL (${millis}) * 1000 MICROSECOND AS DATETIME(3))`
    case "sqlite":
      // SQLite has no timestamp type. This is the text format that its own date functions return and compare.
      return `strftime('%Y-%m-%d %H:%M:%f', (${millis}) / 1000.0, 'unixepoch')`
  }
}

const seconds = (millis: string): string => `(${millis}) / 1000.0`

/**
 * The SQL condition for rows of the table of states that are valid now. A row of a process is valid while the process renews its
 * heartbeat. The row of an isolation is valid until the isolation ends, even if no process has detected the end.
 */
export const isCurrent = (database: Database): string => {
  const heartbeats = quoted(database, "_heartbeats")
  const now = database.clock
  return `(owner = '' OR owner IN (SELECT living.owner FROM ${heartbeats} AS living WHERE living.ends_at >= ${now}))
    AND (state <> 'Isolated' OR ends_at IS NULL OR ends_at >= ${now})`
}

const quoted = (database: Database, table: Table): string => {
  const [text] = database.sql`${database.table(table)}`.compile(true)
  return text
}

/** The views, for reports and other programs. They have the rows of the tables, with timestamps instead of milliseconds. */
export const views = (database: Database): Partial<Record<Table, string>> => {
  const time = (millis: string) => timestamp(database, millis)
  return {
    _events_view: `SELECT id, ${time("at")} AS at, at AS at_ms, circuit_id, circuit, circuit_key, from_state, to_state, why, detail, actor,
      scope, process, mode, openings, ${seconds("retry_after")} AS retry_after_seconds, ${seconds("lasted")} AS lasted_seconds,
      outage, ${time("outage_since")} AS outage_since, outage_openings, ${seconds("down_for")} AS down_seconds,
      calls, failures, slow, streak, metadata
      FROM ${quoted(database, "_events")}`,
    _states_view: `SELECT circuit_id, circuit, circuit_key, state, CASE WHEN owner = '' THEN 'fleet' ELSE 'local' END AS scope, owner,
      ${time("since")} AS since, why, detail, actor, openings, ${time("outage_since")} AS outage_since, outage_openings,
      ${time("ends_at")} AS ends_at
      FROM ${quoted(database, "_states")} WHERE ${isCurrent(database)}`,
    _outages_view: `SELECT circuit_id, MIN(circuit) AS circuit, MIN(circuit_key) AS circuit_key, outage,
      ${time("MIN(outage_since)")} AS started_at, ${time("MIN(at)")} AS ended_at, ${seconds("MIN(down_for)")} AS seconds,
      MAX(outage_openings) AS openings, MIN(scope) AS scope
      FROM ${quoted(database, "_events")} WHERE down_for IS NOT NULL GROUP BY circuit_id, outage`,
    _snapshots_view: `SELECT ${time("at")} AS at, at AS at_ms, circuit_name AS circuit_id, circuit, process, run, state, circuits, healthy, calls, successes,
      failures, ignored, slow, rejected, in_flight, failure_rate
      FROM ${quoted(database, "_snapshots")}`
  }
}
