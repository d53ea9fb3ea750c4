import { assert, describe } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import { on, onOwn, ours, tablesIn } from "./support/databases.ts"
import { castOf, exchanged, swapOf } from "./support/exchanges.ts"
import { live } from "./support/redisLive.ts"
import { ask, type Connection, connectMysql, migrated, say, sharedStore } from "./support/sqlFleet.ts"

// What is about MariaDB alone. What holds for every database is tested with all of them, in the other files.

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
        const cast = { box: "b", epoch: 0, ballot: [1], ttl: 60_000, inquire: 30_000, roll: 30_000 }
        const swap = { expectedEpoch: 0, body: "b", ttl: 60_000, listed: true }
        type Ask<A> = (store: (typeof stores)[number], circuit: string, i: number) => Effect.Effect<A, unknown>
        const atOnce = <A>(circuits: ReadonlyArray<string>, ask: Ask<A>) =>
          Effect.all(
            stores.flatMap((store, i) => circuits.map((circuit) => ask(store, circuit, i))),
            { concurrency: "unbounded" }
          )
        yield* Effect.forEach(stores, (store) => store.load([]))
        for (let round = 0; round < 5; round++) {
          const circuits = Array.from({ length: 5 }, (_, i) => `${round}-${i}`)
          const vote = atOnce(circuits, (store, circuit, i) => castOf(store, { ...cast, circuit }, { voter: `v${i}` }))
          yield* vote
          const tallies = yield* vote
          assert.deepStrictEqual(
            tallies.map(({ tally }) => [tally?.voters, tally?.asked !== undefined, tally?.rolled !== undefined]),
            tallies.map(() => [10, true, true])
          )
          const moves = yield* atOnce(circuits, (store, circuit) => swapOf(store, { ...swap, circuit }))
          assert.strictEqual(moves.filter(({ swapped }) => swapped).length, circuits.length)
        }
      })
    )
  }
})

describe("circuits on a MariaDB in Berlin", () => {
  const { place } = onOwn("MariaDB")

  live(
    "know the time in the repeated hour at the end of daylight saving time",
    Effect.gen(function* () {
      const { url } = yield* place
      const sql = yield* connectMysql(url, { maxConnections: 1 })
      const store = yield* sharedStore(sql)
      yield* store.load([])
      // Summer time ended in Berlin, where the server is, at 1:00 UTC.
      for (const time of ["2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z"]) {
        yield* say(sql, `SET timestamp = ${Date.parse(time) / 1_000}`)
        const circuit = time.replaceAll(":", ".")
        yield* swapOf(store, { circuit, expectedEpoch: 0, body: "b", ttl: undefined, listed: true })
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
      ["circuit_breaker_voters", "circuit_breaker_events", "circuit_breaker_snapshots"]
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
        assert.strictEqual(indexes, 17)
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
          (id, at, circuit_id, circuit, from_state, to_state, why, scope, process, mode, epoch, openings, outage, outage_since, down_for)
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
        SELECT CONCAT('c', seq), seq, '{}', 0, 1, 1, ${now} + 600000 + seq, ${now} + 600000 + seq FROM seq_1_to_${many}`
    )
    yield* say(
      sql,
      `INSERT INTO circuit_breaker_ballots
        SELECT CONCAT('c', seq % 2000), CONCAT('v', seq), 'b', seq, 0, '1', ${now} + 600000 + seq FROM seq_1_to_${many}`
    )
    yield* say(
      sql,
      `INSERT INTO circuit_breaker_boxes
        SELECT CONCAT('c', seq), 'b', seq, 1, '1', 1, 0, 0, 0, 0, 1, ${now}, ${now} + 600000 + seq FROM seq_1_to_${many}`
    )
    const tables = ["s", "_events", "_states", "_snapshots", "_ballots", "_boxes"]
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
      const store = yield* sharedStore(sql)
      const reader = yield* Layer.build(Layer.provide(Layer.orDie(AuditTrail.layerReader()), Layer.succeedContext(sql)))
      const cast = { circuit: "c5", epoch: 5, box: "b", ttl: 1_000 }
      const questions: Readonly<Record<string, Effect.Effect<unknown, unknown, AuditTrail.AuditTrail>>> = {
        "a record": store.load(["c5"]),
        "a page": store.page(many - 100, 1_000),
        "a heartbeat": exchanged(store, { voter: "v5" }),
        "a ballot": castOf(store, { ...cast, ballot: [1], inquire: 1, roll: 1 }),
        "a ballot that is taken back": castOf(store, { ...cast, ballot: undefined, inquire: 0, roll: 0 }),
        "a move": swapOf(store, { circuit: "c6", expectedEpoch: 6, body: "x", ttl: 1_000, listed: true }),
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
