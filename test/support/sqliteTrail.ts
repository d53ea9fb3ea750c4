import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Layer, Logger } from "effect"
import { SqlClient } from "effect/sql"
import { BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import { afterAll } from "vitest"
import { type SqliteOptions, sqlite } from "./sqlite.ts"
import { quick, times } from "./verbs.ts"

/** Databases and trails in a temporary folder, which is removed after the tests of the file that calls this. */
export const sqliteTrails = () => {
  const folder = mkdtempSync(join(tmpdir(), "trail-"))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  let files = 0
  const database = (options?: SqliteOptions) => sqlite(join(folder, `${++files}.db`), options)
  /** A program with circuits and a trail, whose tables have the prefix `trail`. */
  const trail = (options: AuditTrail.Options = {}, client = database()) =>
    Layer.provideMerge(
      AuditTrail.layer({ flushInterval: 0, prefix: "trail", ...options }),
      Layer.mergeAll(BreakerStore.layerMemory, BreakerPolicy.layer({ default: quick }), Logger.layer([]), client)
    )
  return { database, trail }
}

export const hour = 3_600_000

/** Opens and closes each circuit `often` times, and dates the entries back by this number of hours. */
export const opened = (circuits: ReadonlyArray<string>, hours: number, often = 1) =>
  Effect.gen(function* () {
    for (const name of circuits) {
      yield* times(often, Effect.andThen(CircuitBreaker.open(name), CircuitBreaker.close(name)))
    }
    yield* AuditTrail.flush
    const sql = yield* SqlClient.SqlClient
    yield* sql`UPDATE trail_events SET at = at - ${hours * hour} WHERE ${sql.in("circuit", circuits)}`
    yield* sql`UPDATE trail_states SET since = since - ${hours * hour} WHERE ${sql.in("circuit", circuits)}`
  })

/** How many rows a table of the trail has. */
export const rows = (table: "trail_events" | "trail_states" | "trail_snapshots") =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.map(sql`SELECT * FROM ${sql(table)}`, (found) => found.length))
