import { assert, describe } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import * as SqlStore from "effect-fuse/SqlStore"
import { on, onOwn, ours, tablesIn } from "./support/databases.ts"
import { live } from "./support/redisLive.ts"
import { ask, type Connection, connectMysql, say, sharedStore } from "./support/sqlFleet.ts"

// What is about MariaDB alone. What holds for every database is tested with all of them, in the other files.

const migrated = (sql: Connection) => Effect.provideContext(SqlStore.migrate(), sql)

describe("circuits on MariaDB", () => {
  const { place } = on("MariaDB")

  for (const level of ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]) {
    live(
      `are asked about by ten processes at once, and moved by one of them, where transactions are ${level.toLowerCase()}`,
      Effect.gen(function* () {
        const { url } = yield* place
        const begin = `SET SESSION TRANSACTION ISOLATION LEVEL ${level}`
        const stores = yield* Effect.all(
          Array.from({ length: 10 }, () => Effect.flatMap(connectMysql(url, { begin }), (sql) => sharedStore(sql)))
        )
        const cast = { box: "b", era: 0, ballot: [1], ttl: 60_000, inquire: 30_000 }
        const swap = { expectedEra: 0, body: "b", ttl: 60_000, listed: true }
        type Ask<A> = (store: (typeof stores)[number], circuit: string, i: number) => Effect.Effect<A, unknown>
        const atOnce = <A>(circuits: ReadonlyArray<string>, ask: Ask<A>) =>
          Effect.all(
            stores.flatMap((store, i) => circuits.map((circuit) => ask(store, circuit, i))),
            { concurrency: "unbounded" }
          )
        yield* Effect.forEach(stores, (store) => store.load("any"))
        for (let round = 0; round < 5; round++) {
          const circuits = Array.from({ length: 5 }, (_, i) => `${round}-${i}`)
          const vote = atOnce(circuits, (store, circuit, i) => store.cast({ ...cast, circuit, voice: `v${i}` }))
          yield* vote
          const tallies = yield* vote
          assert.deepStrictEqual(
            tallies.map(({ tally }) => [tally?.voices, tally?.asked !== undefined]),
            tallies.map(() => [10, true])
          )
          const moves = yield* atOnce(circuits, (store, circuit) => store.swap({ ...swap, circuit }))
          assert.strictEqual(moves.filter(({ swapped }) => swapped).length, circuits.length)
        }
      })
    )
  }
})

describe("circuits on a MariaDB in Berlin", () => {
  const { place } = onOwn("MariaDB")

  live(
    "know the time in the hour that comes twice",
    Effect.gen(function* () {
      const { url } = yield* place
      const sql = yield* connectMysql(url, { maxConnections: 1 })
      const store = yield* sharedStore(sql, { pollInterval: "5 minutes" })
      yield* store.load("any")
      // Summer time ended in Berlin, where the server is, at 1:00 UTC.
      for (const time of ["2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z"]) {
        yield* say(sql, `SET timestamp = ${Date.parse(time) / 1_000}`)
        const circuit = time.replaceAll(":", ".")
        yield* store.swap({ circuit, expectedEra: 0, body: "b", ttl: undefined, listed: true })
        const written = yield* ask(sql, `SELECT written_at FROM circuit_breakers WHERE circuit = '${circuit}'`)
        assert.strictEqual(new Date(written).toISOString(), new Date(time).toISOString())
      }
    })
  )
})

/** MariaDB commits with each table that is made: what is made in part stays so. */
describe("tables in MariaDB", () => {
  const ground = on("MariaDB")

  for (const [what, lost] of [
    [
      "were made in part, by a program that came to no end",
      ["circuit_breaker_voices", "circuit_breaker_events", "circuit_breaker_snapshots"]
    ],
    ["are lost, but for the list of what was made", ours.filter((table) => !table.endsWith("_versions"))]
  ] as const) {
    live(
      `that ${what}, are made`,
      Effect.gen(function* () {
        const made = yield* ground.place
        const sql = yield* made.open
        yield* migrated(sql)
        for (const table of lost) yield* say(sql, `DROP TABLE ${table}`)
        yield* Effect.forEach(yield* Effect.all([made.open, made.open]), migrated, { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* tablesIn(ground, sql), ours)
        const indexes = yield* ask(
          sql,
          `SELECT COUNT(DISTINCT table_name, index_name) FROM information_schema.statistics
            WHERE table_schema = DATABASE() AND index_name <> 'PRIMARY'`
        )
        assert.strictEqual(indexes, 15)
      })
    )
  }
})

const many = 20_000

/** A trail of ninety days and a thousand circuits, of which every third line is a recovery. */
const fill = (sql: Connection) =>
  Effect.gen(function* () {
    const now = `${Date.now()}`
    yield* say(
      sql,
      `INSERT INTO circuit_breaker_events
          (id, at, circuit_id, circuit, from_state, to_state, why, scope, process, mode, era, openings, outage, outage_since, down_for)
        SELECT CONCAT('e', seq), ${now} - seq * 388800, CONCAT('c', seq % 1000), CONCAT('c', seq % 1000), 'Closed',
          ELT(1 + seq % 3, 'Open', 'HalfOpen', 'Closed'), 'Tripped', 'fleet', 'p', 'enforce', seq, 1, CONCAT('o', seq), seq,
          IF(seq % 3 = 2, 60000 - seq, NULL) FROM seq_1_to_${many}`
    )
    yield* say(
      sql,
      `INSERT INTO circuit_breaker_states (circuit_id, owner, circuit, state, since, why, openings, version)
        SELECT CONCAT('c', seq), '', CONCAT('c', seq), IF(seq % 500 = 0, 'Open', 'Closed'),
          ${now} - IF(seq % 100 = 0, 90, 1) * 86400000, 'Tripped', 1, '' FROM seq_1_to_${many}`
    )
    yield* say(
      sql,
      `INSERT INTO circuit_breaker_snapshots SELECT CONCAT('s', seq), ${now} - seq * 388800, CONCAT('c', seq % 100),
          CONCAT('c', seq % 100), 'p', 'r', 'Closed', 1, 1, 1, 1, 1, 1, 1, 1, 1, 0 FROM seq_1_to_${many}`
    )
    yield* say(
      sql,
      `INSERT INTO circuit_breakers
        SELECT CONCAT('c', seq), seq, '{}', 0, 1, ${now} + 600000 + seq FROM seq_1_to_${many}`
    )
    yield* say(
      sql,
      `INSERT INTO circuit_breaker_ballots
        SELECT CONCAT('c', seq % 2000), 'b', CONCAT('v', seq), seq, '1', ${now} + 600000 + seq FROM seq_1_to_${many}`
    )
    yield* say(
      sql,
      `INSERT INTO circuit_breaker_inquiries
        SELECT CONCAT('c', seq), 'b', seq, ${now} - seq * 10, ${now} + 600000 + seq FROM seq_1_to_${many}`
    )
    const tables = ["s", "_events", "_states", "_snapshots", "_ballots", "_inquiries"]
    yield* say(sql, `ANALYZE TABLE ${tables.map((table) => `circuit_breaker${table}`).join(", ")}`)
  })

describe("with thousands of lines, MariaDB", () => {
  const { place } = onOwn("MariaDB")

  live(
    "answers a store and a trail by indexes, and reads no table from its beginning to its end",
    Effect.gen(function* () {
      const { url } = yield* place
      // What it read is counted for each connection.
      const sql = yield* connectMysql(url, { maxConnections: 1 })
      yield* migrated(sql)
      yield* fill(sql)
      const store = yield* sharedStore(sql, { pollInterval: "5 minutes" })
      const reader = yield* Layer.build(Layer.provide(Layer.orDie(AuditTrail.layerReader()), Layer.succeedContext(sql)))
      const cast = { circuit: "c5", box: "b", voice: "v5", era: 5, ttl: 1_000 }
      const questions: Readonly<Record<string, Effect.Effect<unknown, unknown, AuditTrail.AuditTrail>>> = {
        "a record": store.load("c5"),
        "a ballot": store.cast({ ...cast, ballot: [1], inquire: 1 }),
        "a ballot that is taken back": store.cast({ ...cast, ballot: undefined, inquire: 0 }),
        "a move": store.swap({ circuit: "c6", expectedEra: 6, body: "x", ttl: 1_000, listed: true }),
        "what is open now": AuditTrail.openNow,
        "what fails": AuditTrail.failing,
        "what is forced": AuditTrail.forced,
        "what opened within a day": AuditTrail.openedWithin(),
        "the history of one": AuditTrail.history("c7"),
        "its next page": AuditTrail.history("c7", { before: Date.now() - 30 * 86_400_000 }),
        "transitions per day, of a week": AuditTrail.transitionsPerDay({ within: "7 days" }),
        "the longest openings of a month": AuditTrail.longestOpenings(),
        "the time to recover, of a week": AuditTrail.timeToRecover({ within: "7 days" }),
        "snapshots of a day": Snapshots.series("c7"),
        "what is old": AuditTrail.prune({ olderThan: "89 days" })
      }
      for (const [question, answer] of Object.entries(questions)) {
        yield* say(sql, "FLUSH STATUS")
        yield* Effect.provideContext(answer, reader)
        const counters = yield* say(sql, "SHOW SESSION STATUS LIKE 'Handler_read%'")
        const read = counters.reduce((sum, row) => sum + Number(row["Value"]), 0)
        // Which index it takes is the planner's: of all recoveries, a third of the lines, or of the week.
        assert.isBelow(read, many / 2, question)
      }
    })
  )
})
