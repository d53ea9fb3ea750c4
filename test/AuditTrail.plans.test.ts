import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { AuditTrail } from "effect-fuse/audit"
import * as SqlStore from "effect-fuse/SqlStore"
import { client, postgresServer } from "./support/postgresServer.ts"

const million = 1_000_000

/** A trail of ninety days and a thousand circuits, of which every third line is a recovery. */
const fill = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO circuit_breaker_events
      (id, at, circuit_id, circuit, from_state, to_state, why, scope, process, mode, epoch, openings, outage, outage_since, down_for)
    SELECT 'e' || i, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint - (i::bigint * 7776), 'c' || (i % 1000), 'c' || (i % 1000),
      CASE i % 3 WHEN 0 THEN 'Closed' WHEN 1 THEN 'Open' ELSE 'HalfOpen' END,
      CASE i % 3 WHEN 0 THEN 'Open' WHEN 1 THEN 'HalfOpen' ELSE 'Closed' END,
      'Tripped', 'fleet', 'p', 'enforce', i, 1, 'o' || (i / 3), i, CASE i % 3 WHEN 2 THEN i % 60000 END
    FROM generate_series(1, ${million}) AS i`
  yield* sql`INSERT INTO circuit_breaker_states (circuit_id, owner, circuit, state, since, why, openings, version)
    SELECT 'c' || i, '', 'c' || i, CASE WHEN i % 500 = 0 THEN 'Open' ELSE 'Closed' END,
      (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint - (CASE WHEN i % 100 = 0 THEN 90 ELSE 1 END) * 86400000::bigint, 'Tripped', 1, ''
    FROM generate_series(1, 100000) AS i`
  yield* sql`VACUUM ANALYZE circuit_breaker_events`
  yield* sql`VACUUM ANALYZE circuit_breaker_states`
})

/** How often a table was read from its beginning to its end, and by an index. */
const scans = (table: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`SELECT pg_stat_force_next_flush()`
    const [row] =
      yield* sql`SELECT seq_scan, COALESCE(idx_scan, 0) AS idx_scan FROM pg_stat_user_tables WHERE relname = ${table}`
    return { whole: Number(row?.["seq_scan"]), byIndex: Number(row?.["idx_scan"]) }
  })

const questions: Readonly<Record<string, Effect.Effect<unknown, unknown, AuditTrail.AuditTrail>>> = {
  "what is open now": AuditTrail.openNow,
  "what fails": AuditTrail.failing,
  "what is forced": AuditTrail.forced,
  "what opened within a day": AuditTrail.openedWithin(),
  "the history of one": AuditTrail.history("c7"),
  "its next page": AuditTrail.history("c7", { before: Date.now() - 30 * 86_400_000 }),
  "the history of all": AuditTrail.latest(),
  "its page before a line": AuditTrail.latest({ before: { at: Date.now() - 30 * 86_400_000, id: "x" } }),
  "transitions per day, of a month": AuditTrail.transitionsPerDay(),
  "the longest openings of a month": AuditTrail.longestOpenings(),
  "the time to recover, of a week": AuditTrail.timeToRecover({ within: "7 days" }),
  "what is old": AuditTrail.prune({ olderThan: "89 days" })
}

describe("with a million lines", () => {
  it.live(
    "every question is answered by an index, and none reads the whole trail",
    () =>
      Effect.gen(function* () {
        const server = yield* postgresServer
        const sql = client(server.url, { maxConnections: 1 })
        yield* Effect.gen(function* () {
          yield* SqlStore.migrate()
          yield* fill
          const tables = ["circuit_breaker_events", "circuit_breaker_states"]
          for (const [question, answer] of Object.entries(questions)) {
            const before = yield* Effect.forEach(tables, scans)
            yield* answer
            const after = yield* Effect.forEach(tables, scans)
            assert.deepStrictEqual(
              after.map(({ whole }) => whole),
              before.map(({ whole }) => whole),
              `${question}: read a table from its beginning to its end`
            )
            const used = after.reduce((sum, one, i) => sum + one.byIndex - (before[i]?.byIndex ?? 0), 0)
            assert.isAbove(used, 0, question)
          }
        }).pipe(Effect.provide(Layer.provideMerge(Layer.orDie(AuditTrail.layerReader()), sql)))
      }).pipe(Effect.scoped),
    180_000
  )
})
