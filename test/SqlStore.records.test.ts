import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Logger, Scope } from "effect"
import { CircuitBreaker } from "effect-fuse"
import * as SqlStore from "effect-fuse/SqlStore"
import { afterAll, beforeAll } from "vitest"
import { client, postgresServer } from "./support/postgresServer.ts"
import { fails, type Replica, standing, standsAt, trip, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { ask, type Connection, living, onPostgres, onSqlite, replica, say, sharedStore } from "./support/sqlFleet.ts"

const scope = Effect.runSync(Scope.make())
let url = ""
beforeAll(async () => {
  url = (await Effect.runPromise(Scope.provide(postgresServer, scope))).url
}, 180_000)
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const postgres = Effect.suspend(() => onPostgres(url))
const places = { PostgreSQL: postgres, SQLite: onSqlite }

/** What is logged while it runs, at the end of it. */
const logging = <A, E, R>(use: (lines: ReadonlyArray<string>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ cause, message }) => {
      lines.push(`${[message].flat().map(String).join(" ")} ${Cause.pretty(cause)}`)
    })
    return Effect.provide(use(lines), Logger.layer([logger]))
  })

/** Each decides for itself, as it would without a store. */
const isOnItsOwn = (one: Replica, circuit: string) =>
  Effect.gen(function* () {
    for (let i = 0; i < 10; i++) assert.strictEqual(yield* works(one, { circuit }), "ok")
    for (let i = 0; i < 5; i++) assert.strictEqual(yield* fails(one, { circuit }), "down")
    yield* standsAt([one], "Open (local)", { circuit })
    yield* one.run(CircuitBreaker.isolate(`${circuit} forced`))
    assert.strictEqual(yield* works(one, { circuit: `${circuit} forced` }), "Isolated (local)")
  })

const areTogether = (replicas: ReadonlyArray<Replica>, circuit: string) =>
  Effect.gen(function* () {
    for (const [i, one] of replicas.entries()) {
      yield* one.run(CircuitBreaker.isolate(`${circuit} ${i}`))
      yield* standsAt(replicas, "Isolated (fleet)", { circuit: `${circuit} ${i}` })
    }
    for (const one of replicas) yield* works(one, { circuit })
    yield* trip(replicas, { circuit })
  })

const tables = (sql: Connection) =>
  Effect.map(say(sql, "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"), (rows) =>
    rows.map(({ name }) => name)
  )

const ours = ["ballots", "eras", "events", "inquiries", "snapshots", "states", "versions", "voices"].map(
  (name) => `circuit_breaker_${name}`
)

describe.each(["PostgreSQL", "SQLite"] as const)("what is kept in %s", (database) => {
  const place = places[database]

  for (const [what, era, body] of [
    ["that is no JSON", 5, "garbage"],
    ["of JSON that is something else", 5, '{"v":1,"state":[]}'],
    ["of another version", 5, '{"v":2,"state":{"_tag":"Open"}}'],
    ["that is empty", 5, ""],
    ["of a negative era", -5, "garbage"],
    ["of an era beyond all numbers", "9007199254740991", "garbage"],
    ["of the greatest era that a column has", "9223372036854775807", "garbage"]
  ] as const) {
    // The client of the tests cannot read that from SQLite: it fails.
    if (database === "SQLite" && era === "9223372036854775807") continue
    live(
      `and ${what} harms nobody, and stays as it is`,
      Effect.gen(function* () {
        const { open } = yield* place
        const sql = yield* open
        const [a, b] = [yield* replica(sql), yield* replica(sql)]
        yield* until(
          "both live",
          Effect.map(living(sql), (n) => n === 2)
        )
        yield* say(sql, `INSERT INTO circuit_breakers VALUES ('api', ${era}, '${body}', 1, 1, NULL)`)
        const fresh = yield* replica(yield* open)
        for (const one of [a, b, fresh]) {
          for (let i = 0; i < 10; i++) assert.strictEqual(yield* works(one), "ok")
          for (let i = 0; i < 5; i++) assert.strictEqual(yield* fails(one), "down")
          yield* standsAt([one], "Open (local)")
        }
        yield* a.run(CircuitBreaker.isolate("api"))
        assert.strictEqual(yield* works(a), "Isolated (local)")
        yield* areTogether([a, b, fresh], "other")
        const rows = yield* say(
          sql,
          "SELECT CAST(era AS TEXT) AS era, body, listed FROM circuit_breakers WHERE circuit = 'api'"
        )
        assert.deepStrictEqual(
          rows.map((row) => [row["era"], row["body"], Number(row["listed"])]),
          [[String(era), body, 1]]
        )
      })
    )
  }

  live(
    "is made once by ten that start together, and again by nobody",
    Effect.gen(function* () {
      const { open } = yield* place
      const clients = yield* Effect.all(Array.from({ length: 10 }, () => open))
      const migrate = Effect.forEach(clients, (sql) => Effect.provideContext(SqlStore.migrate(), sql), {
        concurrency: "unbounded"
      })
      yield* migrate
      const [sql] = clients
      assert(sql !== undefined)
      const store = yield* sharedStore(sql)
      const { record } = yield* store.swap({ circuit: "api", expectedEra: 0, body: "b", ttl: undefined, listed: true })
      yield* migrate
      assert.strictEqual((yield* store.load("api"))?.era, record?.era)
      assert.strictEqual(yield* ask(sql, "SELECT COUNT(*) FROM circuit_breaker_versions"), 3)
      assert.strictEqual(yield* ask(sql, "SELECT COUNT(*) FROM circuit_breaker_eras"), 1)
    })
  )

  live(
    "is made by whichever of ten programs comes first",
    Effect.gen(function* () {
      const { open } = yield* place
      const replicas = yield* Effect.all(
        Array.from({ length: 10 }, () => Effect.flatMap(open, (sql) => replica(sql))),
        { concurrency: "unbounded" }
      )
      const [first] = replicas
      assert(first !== undefined)
      yield* first.run(CircuitBreaker.isolate("api"))
      yield* standsAt(replicas, "Isolated (fleet)")
    })
  )

  live(
    "is waited for where the program may not make it, and used when somebody has",
    logging((lines) =>
      Effect.gen(function* () {
        const { open } = yield* place
        const sql = yield* open
        const [a, b] = [yield* replica(sql, { migrate: false }), yield* replica(yield* open, { migrate: false })]
        yield* isOnItsOwn(a, "api")
        yield* until(
          "both say so",
          Effect.sync(() => lines.filter((line) => line.includes("is not there yet")).length === 2)
        )
        yield* Effect.sleep(1_000)
        assert.strictEqual(lines.filter((line) => line.includes("is not there yet")).length, 2)
        yield* Effect.provideContext(SqlStore.migrate(), sql)
        yield* areTogether([a, b], "afterwards")
        yield* standsAt([a, b], "Isolated (fleet)", { circuit: "api forced" })
        assert.strictEqual(yield* works(yield* replica(sql, { migrate: false }), { circuit: "api" }), "ok")
      })
    )
  )

  for (const table of ["circuit_breakers", "circuit_breaker_voices", "circuit_breaker_versions"]) {
    live(
      `leaves a table alone that is called ${table} and is somebody else's`,
      logging((lines) =>
        Effect.gen(function* () {
          const { open } = yield* place
          const sql = yield* open
          yield* say(sql, `CREATE TABLE ${table} (id INTEGER, what TEXT)`)
          yield* say(sql, `INSERT INTO ${table} VALUES (1, 'of the electrician')`)
          const error = yield* Effect.flip(Effect.provideContext(SqlStore.migrate(), sql))
          assert.include(["MigrationError", "SqlError"], error._tag)
          const a = yield* replica(sql)
          const b = yield* replica(yield* open)
          yield* isOnItsOwn(a, "api")
          assert.strictEqual(yield* works(b, { circuit: "api" }), "ok")
          yield* Effect.sleep(1_500)
          assert.strictEqual(lines.filter((line) => line.includes("is not there yet")).length, 2)
          const rows = yield* say(sql, `SELECT * FROM ${table}`)
          assert.deepStrictEqual(
            rows.map(({ id, what }) => [Number(id), what]),
            [[1, "of the electrician"]]
          )
          for (const one of ["circuit_breaker_eras", "circuit_breaker_ballots"]) {
            assert.isNaN(yield* ask(sql, `SELECT COUNT(*) FROM ${one}`))
          }
        })
      )
    )
  }

  live(
    "stays usable by who is there already when it is emptied by hand, but for the counter",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const [a, b] = [yield* replica(sql), yield* replica(yield* open)]
      yield* a.run(CircuitBreaker.isolate("forced", { reason: "drill" }))
      yield* standsAt([b], "Isolated (fleet)", { circuit: "forced" })
      for (const table of ["s", "_ballots", "_inquiries", "_voices"])
        yield* say(sql, `DELETE FROM circuit_breaker${table}`)
      yield* areTogether([a, b], "afterwards")
      yield* standsAt([a, b, yield* replica(sql)], "Isolated (fleet)", { circuit: "forced" })
    })
  )
})

describe("what is kept in PostgreSQL", () => {
  live(
    "is not for a role without rights, whose circuits are its own until it gets them",
    logging((lines) =>
      Effect.gen(function* () {
        const { open, url: own } = yield* postgres
        const sql = yield* open
        const role = own.replace(/.*\//, "role_")
        yield* Effect.acquireRelease(say(sql, `CREATE ROLE ${role} LOGIN`), () =>
          Effect.ignoreCause(Effect.andThen(say(sql, `DROP OWNED BY ${role}`), say(sql, `DROP ROLE ${role}`)))
        )
        const poor = yield* Layer.build(client(own.replace("postgres@", `${role}@`)))
        const error = yield* Effect.flip(Effect.provideContext(SqlStore.migrate(), poor))
        assert.include(["MigrationError", "SqlError"], error._tag)
        const [a, b] = [yield* replica(poor), yield* replica(poor)]
        yield* isOnItsOwn(a, "api")
        yield* until(
          "both say so",
          Effect.sync(() => lines.filter((line) => line.includes("is not there yet")).length === 2)
        )
        assert.strictEqual(yield* standing(b, { circuit: "api" }), "Closed (local)")
        assert.deepStrictEqual(yield* tables(sql), [])
        // With tables of somebody else's that it may not read, with some that it may not write, and with all that it needs.
        yield* Effect.provideContext(SqlStore.migrate(), sql)
        const reads = yield* replica(poor, { migrate: false })
        yield* isOnItsOwn(reads, "api")
        yield* say(sql, `GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}`)
        yield* isOnItsOwn(reads, "still")
        yield* say(sql, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role}`)
        yield* areTogether([reads, yield* replica(sql), yield* replica(poor, { migrate: false })], "afterwards")
        assert.deepStrictEqual(yield* tables(sql), [...ours, "circuit_breakers"])
      })
    )
  )

  live(
    "and announced by somebody else harms nobody",
    Effect.gen(function* () {
      const { open } = yield* postgres
      const sql = yield* open
      const [a, b] = [yield* replica(sql, { syncInterval: "5 minutes" }), yield* replica(yield* open)]
      yield* until(
        "both live",
        Effect.map(living(sql), (n) => n === 2)
      )
      for (const text of ["", "R", "R x api {}", "R 5 api nonsense", "R 5 api ", "R 99999999999999999999 api {}"]) {
        yield* say(sql, `SELECT pg_notify('circuit_breaker', '${text}')`)
      }
      for (const text of ["I 7 api b", "I 0 api ", "R 1 %%% {}", "Q 1 api x", "R -1 api {}", "R 0  {}"]) {
        yield* say(sql, `SELECT pg_notify('circuit_breaker', '${text}')`)
      }
      for (const one of [a, b]) assert.strictEqual(yield* works(one), "ok")
      yield* b.run(CircuitBreaker.isolate("other"))
      yield* standsAt([a], "Isolated (fleet)", { circuit: "other" })
      for (const one of [a, b]) assert.strictEqual(yield* works(one), "ok")
    })
  )
})
