import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { type Changed, type DigestsAnswer, type LoadAnswer, limits, type PageAnswer } from "../store/SharedStore.ts"
import { type Database, type SqlRow, toNumber, toWhole } from "./database.ts"
import { toAge, toStored } from "./records.ts"

export const page = (database: Database, since: number, limit: number): Effect.Effect<PageAnswer, SqlError> => {
  const { now, sql } = database
  const records = database.table("s")
  const most = Math.max(0, Math.min(Math.floor(limit), limits.page))
  // Only another program can have written a greater epoch.
  const last = sql.literal(String(Number.MAX_SAFE_INTEGER - 1))
  const found = database.rows(sql`
    SELECT 'store' AS kind, '' AS circuit, epoch, life AS body, trimmed AS age, ${now} AS written_at, 0 AS listed
      FROM ${database.table("_store")} WHERE id = 1
    UNION ALL SELECT 'live', '', COUNT(*), '', 0, 0, 0 FROM ${database.table("_voters")} WHERE ends_at > ${now}
    UNION ALL SELECT 'listed', '', COUNT(*), '', 0, 0, 0 FROM ${records}
      WHERE listed = 1 AND (ends_at IS NULL OR ends_at > ${now})
    UNION ALL SELECT * FROM (SELECT 'change' AS kind, circuit, epoch,
        CASE WHEN ends_at IS NULL OR ends_at > ${now} THEN body END AS body, ${now} - written_at AS age, written_at, listed
      FROM ${records} WHERE changed = 1 AND epoch > ${database.big(since)} AND epoch <= ${last}
      ORDER BY epoch LIMIT ${sql.literal(String(most))}) changes`)
  return Effect.map(found, (rows) => {
    const one = (kind: string): SqlRow => rows.find((row) => row["kind"] === kind) ?? {}
    const changes = rows.flatMap((row): ReadonlyArray<Changed> => {
      const epoch = toWhole(row["epoch"])
      if (row["kind"] !== "change" || epoch === 0) return []
      return [
        {
          circuit: String(row["circuit"]),
          epoch,
          listed: toNumber(row["listed"]) === 1,
          record: toStored(row)
        }
      ]
    })
    const store = one("store")
    return {
      time: toAge(store["written_at"]),
      live: toWhole(one("live")["epoch"]),
      life: String(store["body"] ?? ""),
      epoch: toWhole(store["epoch"]),
      trimmed: toWhole(store["age"]),
      listed: toWhole(one("listed")["epoch"]),
      changes: changes.sort((a, b) => a.epoch - b.epoch)
    }
  })
}

export const load = (database: Database, circuits: ReadonlyArray<string>): Effect.Effect<LoadAnswer, SqlError> => {
  const { now, sql } = database
  const found =
    circuits.length === 0
      ? sql``
      : sql`UNION ALL SELECT circuit, epoch, body, ${now} - written_at FROM ${database.table("s")}
          WHERE circuit IN ${sql.in(circuits)} AND (ends_at IS NULL OR ends_at > ${now})`
  // No circuit has an empty name.
  return Effect.map(
    database.rows(sql`SELECT '' AS circuit, ${now} AS epoch, '' AS body, 0 AS age ${found}`),
    (rows) => {
      const records = new Map(rows.map((row) => [String(row["circuit"]), row]))
      const time = toAge(records.get("")?.["epoch"])
      records.delete("")
      return {
        time,
        records: circuits.map((circuit) => {
          const row = records.get(circuit)
          return row === undefined ? undefined : toStored(row)
        })
      }
    }
  )
}

/** The digests of the live voters whose names come after `after`, ascending. */
export const digests = (database: Database, after: string): Effect.Effect<DigestsAnswer, SqlError> => {
  const { now, sql } = database
  const most = limits.digests
  const found = database.rows(sql`
    SELECT '' AS voter, '' AS digest, ${now} AS at
    UNION ALL SELECT * FROM (SELECT voter, digest, 0 AS at FROM ${database.table("_voters")}
      WHERE ends_at > ${now} AND digest IS NOT NULL AND voter > ${after}
      ORDER BY voter LIMIT ${sql.literal(String(most))}) digests`)
  return Effect.map(found, (rows) => {
    const all = rows.map((row) => ({ voter: String(row["voter"]), digest: String(row["digest"]), at: row["at"] }))
    // No voter has an empty name. The order is that of the database.
    const digests = all.filter(({ voter }) => voter !== "").map(({ digest, voter }) => ({ voter, digest }))
    const time = toAge(all.find(({ voter }) => voter === "")?.at)
    return { time, digests, next: digests.length < most ? undefined : digests.at(-1)?.voter }
  })
}
