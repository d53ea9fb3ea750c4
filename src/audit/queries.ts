import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import { type Database, type SqlRow, storable, type Table, toNumber } from "../sql/database.ts"
import { isCurrent } from "../sql/views.ts"
import { circuitId } from "../store/codec.ts"
import { shortId } from "./trailRows.ts"

type QueryResult<A> = Effect.Effect<ReadonlyArray<A>, SqlError>

const optionalNumber = (value: unknown): number | undefined =>
  value === null || value === undefined ? undefined : toNumber(value)
const optionalText = (value: unknown): string | undefined =>
  value === null || value === undefined ? undefined : String(value)

/** One line of the trail. */
export interface Entry {
  readonly id: string
  readonly at: number
  readonly circuit: string
  readonly key: string | undefined
  readonly from: string
  readonly to: string
  readonly why: string
  readonly detail: string | undefined
  readonly actor: string | undefined
  readonly scope: string
  readonly process: string
  readonly mode: string
  readonly epoch: number
  readonly openings: number
  /** How long the circuit planned to reject calls after this transition; `undefined` without a planned end. */
  readonly retryAfterMillis: number | undefined
  /** How long the previous state lasted; `undefined` if unknown. */
  readonly lastedMillis: number | undefined
  /**
   * The outage that the circuit is in, also beneath an override, or has just left. `since` is the start of its first opening, in
   * milliseconds since 1970, and `openings` is the number of its openings.
   */
  readonly outage: { readonly since: number; readonly openings: number } | undefined
  /** How long the outage lasted, from its first opening. Only set on the line that ends the outage. */
  readonly downMillis: number | undefined
  /** The counts at that moment; `undefined` if there were none. */
  readonly counts:
    | { readonly calls: number; readonly failures: number; readonly slow: number; readonly streak: number }
    | undefined
  readonly metadata: unknown
}

/** Another program may have written a text that is not JSON. */
const parse = (text: string | undefined): unknown => {
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const toOutage = (row: SqlRow) =>
  row["outage_since"] === null || row["outage_since"] === undefined
    ? undefined
    : { since: toNumber(row["outage_since"]), openings: toNumber(row["outage_openings"]) }

const toEntry = (row: SqlRow): Entry => ({
  id: String(row["id"]),
  at: toNumber(row["at"]),
  circuit: String(row["circuit"]),
  key: optionalText(row["circuit_key"]),
  from: String(row["from_state"]),
  to: String(row["to_state"]),
  why: String(row["why"]),
  detail: optionalText(row["detail"]),
  actor: optionalText(row["actor"]),
  scope: String(row["scope"]),
  process: String(row["process"]),
  mode: String(row["mode"]),
  epoch: toNumber(row["epoch"]),
  openings: toNumber(row["openings"]),
  retryAfterMillis: optionalNumber(row["retry_after"]),
  lastedMillis: optionalNumber(row["lasted"]),
  outage: toOutage(row),
  downMillis: optionalNumber(row["down_for"]),
  counts:
    row["calls"] === null || row["calls"] === undefined
      ? undefined
      : {
          calls: toNumber(row["calls"]),
          failures: toNumber(row["failures"]),
          slow: toNumber(row["slow"]),
          streak: toNumber(row["streak"])
        },
  metadata: parse(optionalText(row["metadata"]))
})

/** The latest state of a circuit. */
export interface Standing {
  readonly circuit: string
  readonly key: string | undefined
  readonly state: string
  /** The run of the process that decided the state alone; `undefined` if the fleet decided it. */
  readonly owner: string | undefined
  /** Milliseconds since 1970. */
  readonly since: number
  readonly why: string
  readonly detail: string | undefined
  readonly actor: string | undefined
  readonly openings: number
  /** The outage that the circuit is in, also beneath an override. `since` is the start of its first opening. */
  readonly outage: { readonly since: number; readonly openings: number } | undefined
  /** The planned end of the rejections, in milliseconds since 1970; `undefined` without a planned end. */
  readonly endsAt: number | undefined
}

const toStanding = (row: SqlRow): Standing => ({
  circuit: String(row["circuit"]),
  key: optionalText(row["circuit_key"]),
  state: String(row["state"]),
  owner: row["owner"] === "" ? undefined : optionalText(row["owner"]),
  since: toNumber(row["since"]),
  why: String(row["why"]),
  detail: optionalText(row["detail"]),
  actor: optionalText(row["actor"]),
  openings: toNumber(row["openings"]),
  outage: toOutage(row),
  endsAt: optionalNumber(row["ends_at"])
})

export const standing = (database: Database, states: ReadonlyArray<string>): QueryResult<Standing> => {
  const { sql } = database
  return Effect.map(
    database.rows(
      sql`SELECT * FROM ${database.table("_states")} WHERE ${sql.in("state", states)} AND ${sql.literal(isCurrent(database))}
        ORDER BY since, circuit_id`
    ),
    (rows) => rows.map(toStanding)
  )
}

/** How often a circuit opened. */
export interface OpeningsOf {
  readonly circuit: string
  readonly key: string | undefined
  readonly times: number
  /** Milliseconds since 1970. */
  readonly last: number
}

interface TimeRange {
  readonly within: number
  readonly limit: number
}

export const opened = (database: Database, { limit, within }: TimeRange): QueryResult<OpeningsOf> => {
  const { now, sql } = database
  return Effect.map(
    database.rows(sql`SELECT MIN(circuit) AS circuit, MIN(circuit_key) AS circuit_key, COUNT(*) AS times, MAX(at) AS last
      FROM ${database.table("_events")} WHERE to_state = 'Open' AND from_state <> 'Open' AND at >= ${now} - ${database.big(within)}
      GROUP BY circuit_id ORDER BY times DESC, last DESC, circuit_id LIMIT ${sql.literal(String(limit))}`),
    (rows) =>
      rows.map((row) => ({
        circuit: String(row["circuit"]),
        key: optionalText(row["circuit_key"]),
        times: toNumber(row["times"]),
        last: toNumber(row["last"])
      }))
  )
}

/** Where a page ends and the next one begins: all lines of that time, or this line. */
export type Before = number | Pick<Entry, "at" | "id">

export const history = (
  database: Database,
  of: {
    /** `undefined` for all circuits. */
    readonly circuit: { readonly name: string; readonly key: string | undefined } | undefined
    readonly limit: number
    readonly before: Before | undefined
  }
): QueryResult<Entry> => {
  const { sql } = database
  const { before, circuit, limit } = of
  const whose = circuit === undefined ? sql`1 = 1` : sql`circuit_id = ${shortId(circuitId(circuit.name, circuit.key))}`
  const at = database.big(Math.floor(typeof before === "object" ? before.at : (before ?? 0)))
  const when =
    before === undefined
      ? sql``
      : typeof before === "number"
        ? sql`AND at < ${at}`
        : sql`AND at <= ${at} AND (at < ${at} OR id < ${before.id})`
  return Effect.map(
    database.rows(sql`SELECT * FROM ${database.table("_events")} WHERE ${whose} ${when}
      ORDER BY at DESC, id DESC LIMIT ${sql.literal(String(limit))}`),
    (rows) => rows.map(toEntry)
  )
}

/** How many transitions there were on a day. */
export interface PerDay {
  /** The day in UTC, such as `2026-11-21`. */
  readonly day: string
  readonly to: string
  readonly transitions: number
}

const dayMillis = 86_400_000
/** The last day of a `Date`, in days since 1970. */
const lastDay = 100_000_000

export const perDay = (database: Database, within: number): QueryResult<PerDay> => {
  const { now, sql } = database
  const day = sql.literal(`FLOOR(at / ${dayMillis}.0)`)
  return Effect.map(
    database.rows(sql`SELECT ${day} AS day, to_state, COUNT(*) AS transitions FROM ${database.table("_events")}
      WHERE at >= ${now} - ${database.big(within)} AND from_state <> to_state
      GROUP BY ${day}, to_state ORDER BY day DESC, to_state`),
    (rows) =>
      rows.flatMap((row) => {
        const day = toNumber(row["day"])
        // Another program may have written a time beyond all dates.
        if (!(Math.abs(day) <= lastDay)) return []
        const [date = ""] = new Date(day * dayMillis).toISOString().split("T")
        return [{ day: date, to: String(row["to_state"]), transitions: toNumber(row["transitions"]) }]
      })
  )
}

/**
 * Selects the first line that ends an outage. An outage may have several such lines, because a process with a health check, or without its
 * store, detects the end itself.
 */
const isFirstEnd = (database: Database): Fragment => {
  const { sql } = database
  const events = database.table("_events")
  return sql`NOT EXISTS (SELECT 1 FROM ${events} AS earlier WHERE earlier.outage = e.outage
    AND (earlier.down_for < e.down_for OR (earlier.down_for = e.down_for AND earlier.id < e.id))
    AND earlier.circuit_id = e.circuit_id)`
}

export const longest = (database: Database, { limit, within }: TimeRange): QueryResult<Entry> => {
  const { now, sql } = database
  return Effect.map(
    database.rows(sql`SELECT e.* FROM ${database.table("_events")} AS e
      WHERE e.down_for IS NOT NULL AND e.at >= ${now} - ${database.big(within)} AND ${isFirstEnd(database)}
      ORDER BY e.down_for DESC, e.id DESC LIMIT ${sql.literal(String(limit))}`),
    (rows) => rows.map(toEntry)
  )
}

export const recovery = (
  database: Database,
  within: number,
  name: string | undefined
): Effect.Effect<{ readonly meanMillis: number | undefined; readonly recoveries: number }, SqlError> => {
  const { now, sql } = database
  // MySQL ignores spaces at the ends of texts when it compares them.
  const length = database.dialect === "mysql" ? sql`AND CHAR_LENGTH(circuit) = CHAR_LENGTH(${name})` : sql``
  const named = name === undefined ? sql`` : sql`AND circuit = ${storable(name)} ${length}`
  return Effect.map(
    // Several lines may end one outage. Only the first one counts.
    database.rows(sql`SELECT AVG(down) AS mean, COUNT(*) AS recoveries FROM (
        SELECT MIN(down_for) AS down FROM ${database.table("_events")}
        WHERE down_for IS NOT NULL AND at >= ${now} - ${database.big(within)} ${named} GROUP BY circuit_id, outage
      ) AS ended`),
    ([row]) => ({ meanMillis: optionalNumber(row?.["mean"]), recoveries: toNumber(row?.["recoveries"] ?? 0) })
  )
}

interface Pruning {
  readonly batch: number
  readonly closedFor: number
  readonly olderThan: number
}

/** Deletes old rows in batches of `batch`. Calls `progress` after each batch with the total so far. */
export const prune = (
  database: Database,
  { batch, closedFor, olderThan }: Pruning,
  progress: (deleted: number) => void = () => {}
): Effect.Effect<number, SqlError> => {
  const { now, sql } = database
  const size = sql.literal(String(batch))
  let deleted = 0
  const inBatches = (
    table: Table,
    {
      condition,
      key,
      of,
      time
    }: {
      readonly key: string
      readonly time: string
      readonly condition: Fragment
      readonly of: (rows: ReadonlyArray<SqlRow>) => Fragment
    }
  ) => {
    const name = database.table(table)
    // Ordered by time, because otherwise some databases read the whole table.
    const found = database.rows(
      sql`SELECT ${sql.literal(key)} FROM ${name} WHERE ${condition} ORDER BY ${sql.literal(time)} LIMIT ${size}`
    )
    const all: Effect.Effect<void, SqlError> = Effect.flatMap(found, (rows) => {
      if (rows.length === 0) return Effect.void
      // A row that was renewed in between stays.
      const gone = database.run(sql`DELETE FROM ${name} WHERE ${of(rows)} AND ${condition}`)
      return Effect.andThen(gone, () => {
        deleted += rows.length
        progress(deleted)
        return rows.length < batch ? Effect.void : all
      })
    })
    return all
  }
  const old = {
    key: "id",
    time: "at",
    condition: sql`at < ${now} - ${database.big(olderThan)}`,
    of: (rows: ReadonlyArray<SqlRow>) => {
      const ids = rows.map((row) => String(row["id"]))
      return sql`${sql.in("id", ids)}`
    }
  }
  const last = (which: Fragment) => ({
    key: "circuit_id, owner",
    time: "since",
    condition: sql`${which} AND since < ${now} - ${database.big(closedFor)}`,
    of: (rows: ReadonlyArray<SqlRow>) =>
      sql`(circuit_id, owner) IN (${sql.csv(rows.map((row) => sql`(${row["circuit_id"]}, ${row["owner"]})`))})`
  })
  const heartbeats = database.table("_heartbeats")
  const isDead = sql`owner <> '' AND owner NOT IN (SELECT living.owner FROM ${heartbeats} AS living WHERE living.ends_at >= ${now})`
  return Effect.all([
    inBatches("_events", old),
    inBatches("_snapshots", old),
    inBatches("_states", last(sql`state = 'Closed'`)),
    // A process that crashed did not delete its states.
    inBatches("_states", last(sql`state <> 'Closed' AND ${isDead}`)),
    // No process has called the circuit since its cooldown ended, or the process that did has crashed.
    inBatches("_states", last(sql`state = 'Open' AND owner = '' AND ends_at < ${now} - ${database.big(closedFor)}`)),
    inBatches("_states", last(sql`state = 'HalfOpen' AND owner = ''`)),
    inBatches("_heartbeats", {
      key: "owner",
      time: "ends_at",
      condition: sql`ends_at < ${now} - ${database.big(closedFor)}`,
      of: (rows) =>
        sql`${sql.in(
          "owner",
          rows.map((row) => String(row["owner"]))
        )}`
    })
  ]).pipe(Effect.map(() => deleted))
}
