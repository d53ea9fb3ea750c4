import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, type Duration, Effect, Exit, Fiber, Layer, Logger, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { BreakerPolicy, BreakerStore, CircuitBreaker, SharedStore, Trip } from "effect-fuse"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import * as SqlStore from "effect-fuse/SqlStore"
import { SharedStoreContract } from "effect-fuse/testing"
import { afterAll, beforeAll } from "vitest"
import { type MariadbServer, mariadbServer, mariadbUrl } from "./support/mariadbServer.ts"
import { fails, type Replica, standing, standsAt, trip, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import {
  ask,
  type Connection,
  connectMysql,
  living,
  onMariadb,
  type Place,
  replica,
  say,
  sharedStore
} from "./support/sqlFleet.ts"
import { play, succeed } from "./support/verbs.ts"

const scope = Effect.runSync(Scope.make())
let server: MariadbServer
let contract: Place
beforeAll(async () => {
  server = await Effect.runPromise(Scope.provide(mariadbServer, scope))
  contract = await Effect.runPromise(Scope.provide(place, scope))
}, 180_000)
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const place = Effect.suspend(() => onMariadb(mariadbUrl(server)))
/** On the server that a test may kill, and whose settings are known. */
const ownPlace = Effect.suspend(() => onMariadb(server.url))

const migrated = (sql: Connection) => Effect.provideContext(SqlStore.migrate(), sql)

const areLive = (sql: Connection, n = 2) =>
  until(
    `${n} live`,
    Effect.map(living(sql), (seen) => seen === n)
  )

/** What each of them says reaches all, and they open together. */
const areTogether = (replicas: ReadonlyArray<Replica>, circuit: string) =>
  Effect.gen(function* () {
    for (const [i, one] of replicas.entries()) {
      yield* one.run(CircuitBreaker.isolate(`${circuit} ${i}`))
      yield* standsAt(replicas, "Isolated (fleet)", { circuit: `${circuit} ${i}` })
    }
    for (const one of replicas) yield* works(one, { circuit })
    yield* trip(replicas, { circuit })
  })

/** Waits for a second, whatever it is that cannot be interrupted. */
const impatient = <A, E>(self: Effect.Effect<A, E>, duration: Duration.Input = "1 second") =>
  Effect.flatMap(Effect.forkDetach(self), (fiber) =>
    Effect.timeoutOrElse(Fiber.join(fiber), { duration, orElse: () => Effect.succeed("late" as const) })
  )

/** Calls get what they would get without a store and as soon, and the circuit of who sees failures opens. */
const isUnharmed = (one: Replica, other: Replica, circuit: string) =>
  Effect.gen(function* () {
    for (let i = 0; i < 20; i++) {
      assert.strictEqual(yield* impatient(works(one, { circuit })), "ok")
      assert.strictEqual(yield* impatient(works(other, { circuit })), "ok")
    }
    for (let i = 0; i < 5; i++) assert.strictEqual(yield* impatient(fails(one, { circuit })), "down")
    assert.strictEqual(yield* impatient(works(one, { circuit })), "Cooldown (local)")
    assert.strictEqual(yield* impatient(works(other, { circuit })), "ok")
  })

/** What is forced while nobody can be told holds here at once. */
const force = (one: Replica, circuit: string) =>
  Effect.gen(function* () {
    assert.strictEqual(yield* impatient(Effect.as(one.run(CircuitBreaker.isolate(circuit)), "forced")), "forced")
    assert.strictEqual(yield* impatient(works(one, { circuit })), "Isolated (local)")
  })

/** Names of which a database might take two for one, or none for a name. */
const wild = [
  "api",
  "API",
  "Api",
  "api ",
  "api  ",
  " api",
  "api\t",
  "ápi",
  "api\u0000",
  "апи 🔑",
  "апи 🗝",
  "straße",
  "strasse",
  "%",
  "_",
  "\\",
  "'; DROP TABLE circuit_breakers; --",
  "`",
  "?",
  "line\nbreak\r\n",
  "é".repeat(390)
]

const open = Effect.suspend(() =>
  Effect.flatMap(contract.open, (sql) => sharedStore(sql, { prefix: "contract", pollInterval: "20 millis" }))
)

describe("MariaDB keeps the contract", () => {
  for (const { name, test } of SharedStoreContract.cases(open)) it.live(name, () => Effect.scoped(test), 60_000)
})

describe("circuits on MariaDB", () => {
  live(
    "open together on fewer failures than each would need, and close together after one probe",
    Effect.gen(function* () {
      const { open } = yield* place
      const policy = { trip: { _tag: "Consecutive", failures: 8 }, cooldown: "1 second" } as const
      const replicas = yield* Effect.all([0, 1, 2].map(() => Effect.flatMap(open, (sql) => replica(sql, { policy }))))
      yield* areLive(yield* open, 3)
      for (const one of replicas) assert.strictEqual(yield* works(one), "ok")
      yield* trip(replicas)
      for (const one of replicas) {
        const { cause, totals } = yield* one.run(CircuitBreaker.inspect("api"))
        assert.match(cause?.detail ?? "", /in [23] of 3 processes together$/)
        assert.isBelow(totals.failures, 8)
      }
      const [first] = replicas
      assert(first !== undefined)
      yield* until(
        "a probe found it well",
        Effect.map(works(first), (seen) => seen === "ok")
      )
      yield* standsAt(replicas, "Closed (local)")
    })
  )

  live(
    "that people force are so in all processes and in those that start later, until they are released",
    Effect.gen(function* () {
      const { open } = yield* place
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      yield* a.run(CircuitBreaker.isolate("isolated", { key: "k", reason: "drill", actor: "ann" }))
      yield* b.run(CircuitBreaker.disable("disabled", { for: "1 hour" }))
      const fresh = yield* replica(yield* open)
      yield* standsAt([a, b, fresh], "Isolated (fleet)", { circuit: "isolated", key: "k" })
      yield* standsAt([a, b, fresh], "Disabled (fleet)", { circuit: "disabled" })
      const { cause } = yield* fresh.run(CircuitBreaker.inspect("isolated", { key: "k" }))
      assert.deepStrictEqual([cause?.detail, cause?.actor], ["drill", "ann"])
      yield* fresh.run(CircuitBreaker.release("isolated", { key: "k" }))
      yield* standsAt([a, b, fresh], "Closed (local)", { circuit: "isolated", key: "k" })
    })
  )

  live(
    "are heard of when the others look, long before they list",
    Effect.gen(function* () {
      const { open } = yield* place
      const options = { syncInterval: "5 minutes", pollInterval: 50 } as const
      const [a, b] = [yield* replica(yield* open, options), yield* replica(yield* open, options)]
      yield* areLive(yield* open)
      yield* until(
        "one hears of the other",
        Effect.gen(function* () {
          yield* a.run(CircuitBreaker.release("forced"))
          yield* a.run(CircuitBreaker.isolate("forced"))
          yield* Effect.sleep(200)
          return (yield* standing(b, { circuit: "forced" })) === "Isolated (fleet)"
        })
      )
      yield* works(a)
      yield* works(b)
      yield* trip([a, b])
    })
  )

  live(
    "may have any name and key, and no two of these are one",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const a = yield* replica(sql)
      const calls = wild.flatMap((text) => [
        { circuit: text, key: undefined },
        { circuit: "api", key: text }
      ])
      for (const { circuit, key } of calls) {
        const reason = JSON.stringify([circuit, key])
        yield* a.run(CircuitBreaker.open(circuit, { key, for: "1 minute", reason, actor: key ?? circuit }))
      }
      yield* until(
        "all are told",
        Effect.map(ask(sql, "SELECT COUNT(*) FROM circuit_breakers"), (n) => n === calls.length)
      )
      const fresh = yield* replica(yield* open)
      yield* until(
        "all are known",
        Effect.map(
          fresh.run(CircuitBreaker.list),
          (all) => all.filter(({ state }) => state === "Open").length === calls.length
        )
      )
      for (const { circuit, key } of calls) {
        assert.strictEqual(yield* works(fresh, { circuit, key }), "Cooldown (fleet)")
        const here = yield* a.run(CircuitBreaker.inspect(circuit, { key }))
        assert.deepStrictEqual((yield* fresh.run(CircuitBreaker.inspect(circuit, { key }))).cause, here.cause)
      }
      for (const circuit of ["aPI", "api   ", "Straße", "апи"])
        assert.strictEqual(yield* works(fresh, { circuit }), "ok")
    })
  )

  live(
    "of two prefixes, and of two databases, never meet",
    Effect.gen(function* () {
      const { open } = yield* place
      const other = (yield* place).url.replace(/.*\//, "")
      const of = (options: SqlStore.TableOptions) => Effect.flatMap(open, (sql) => replica(sql, options))
      const places = [{ prefix: "shop" }, { prefix: "shop_b" }, { prefix: "shop", schema: other }]
      for (const [i, options] of places.entries()) {
        const [a, b] = [yield* of(options), yield* of(options)]
        yield* a.run(CircuitBreaker.isolate(`circuit ${i}`))
        yield* standsAt([b], "Isolated (fleet)", { circuit: `circuit ${i}` })
      }
      for (const [i, options] of places.entries()) {
        const fresh = yield* of(options)
        yield* standsAt([fresh], "Isolated (fleet)", { circuit: `circuit ${i}` })
        for (const j of [0, 1, 2]) {
          if (j !== i) assert.strictEqual(yield* works(fresh, { circuit: `circuit ${j}` }), "ok")
        }
      }
    })
  )

  live(
    "leave nothing behind that has ended",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      yield* (yield* replica(sql)).run(CircuitBreaker.isolate("forced"))
      const past = Date.now() - 1_000
      const later = Date.now() + 600_000
      yield* say(
        sql,
        `INSERT INTO circuit_breakers VALUES ('old', 1, '{}', 1, 1, ${past}), ('new', 2, '{}', 0, 1, ${later})`
      )
      yield* say(sql, `INSERT INTO circuit_breaker_ballots VALUES ('old', 'b', 'v', 0, '1', ${past})`)
      yield* say(sql, `INSERT INTO circuit_breaker_inquiries VALUES ('old', 'b', 0, 1, ${past})`)
      yield* say(sql, `INSERT INTO circuit_breaker_voices VALUES ('old', ${past})`)
      // Each process begins by sweeping.
      yield* replica(yield* open)
      yield* until(
        "all of it is gone",
        Effect.map(
          ask(
            sql,
            `SELECT (SELECT COUNT(*) FROM circuit_breakers WHERE circuit = 'old')
              + (SELECT COUNT(*) FROM circuit_breaker_ballots) + (SELECT COUNT(*) FROM circuit_breaker_inquiries)
              + (SELECT COUNT(*) FROM circuit_breaker_voices WHERE voice = 'old')`
          ),
          (n) => n === 0
        )
      )
      yield* until(
        "what is young is there",
        Effect.map(
          say(sql, "SELECT circuit FROM circuit_breakers ORDER BY circuit"),
          (left) => left.map(({ circuit }) => circuit).join() === "forced,new"
        )
      )
    })
  )

  live(
    "hold what was decided within a transaction of the caller's that is rolled back",
    Effect.gen(function* () {
      const { open } = yield* place
      const [sql, another] = [yield* open, yield* open]
      const [a, b] = [yield* replica(sql), yield* replica(another)]
      yield* areLive(sql)
      yield* say(sql, "CREATE TABLE orders (id INTEGER)")
      const written = ask(another, "SELECT COUNT(*) FROM circuit_breakers WHERE circuit = 'forced'")
      const during = yield* Effect.exit(
        Context.get(sql, SqlClient.SqlClient).withTransaction(
          Effect.gen(function* () {
            yield* say(sql, "INSERT INTO orders VALUES (1)")
            yield* a.run(CircuitBreaker.isolate("forced"))
            return yield* Effect.fail(yield* written)
          })
        )
      )
      assert.deepStrictEqual(during, Exit.fail(1))
      yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
      assert.strictEqual(yield* ask(sql, "SELECT COUNT(*) FROM orders"), 0)
    })
  )

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

  live(
    "know the time in the hour that comes twice",
    Effect.gen(function* () {
      const { url } = yield* ownPlace
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

/** What is logged while it runs, at the end of it. */
const logging = <A, E, R>(use: (lines: ReadonlyArray<string>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ cause, message }) => {
      lines.push(`${[message].flat().map(String).join(" ")} ${Cause.pretty(cause)}`)
    })
    return Effect.provide(use(lines), Logger.layer([logger]))
  })

const tables = ({ open, url }: Place) =>
  Effect.flatMap(open, (sql) =>
    Effect.map(
      say(
        sql,
        `SELECT table_name AS name FROM information_schema.tables
          WHERE table_schema = '${url.replace(/.*\//, "")}'`
      ),
      (rows) => rows.map(({ name }) => String(name)).sort()
    )
  )

const names = ["ballots", "eras", "events", "inquiries", "snapshots", "states", "versions", "voices"]
const ours = [...names.map((name) => `circuit_breaker_${name}`), "circuit_breakers"]

describe("tables in MariaDB", () => {
  live(
    "are made once by ten that start together, and again by nobody",
    Effect.gen(function* () {
      const made = yield* place
      const clients = yield* Effect.all(Array.from({ length: 10 }, () => made.open))
      const migrate = Effect.forEach(clients, migrated, { concurrency: "unbounded" })
      yield* migrate
      const [sql] = clients
      assert(sql !== undefined)
      const store = yield* sharedStore(sql)
      const { record } = yield* store.swap({ circuit: "api", expectedEra: 0, body: "b", ttl: undefined, listed: true })
      yield* migrate
      assert.strictEqual((yield* store.load("api"))?.era, record?.era)
      assert.deepStrictEqual(yield* tables(made), ours)
      assert.strictEqual(yield* ask(sql, "SELECT COUNT(*) FROM circuit_breaker_versions"), 3)
      assert.strictEqual(yield* ask(sql, "SELECT COUNT(*) FROM circuit_breaker_eras"), 1)
    })
  )

  live(
    "are made by whichever of ten programs comes first",
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

  for (const [what, lost] of [
    ["were made in part, by a program that came to no end", ["_voices", "_events", "_snapshots"]],
    ["are lost, but for the list of what was made", ["s", ...names.map((name) => `_${name}`)]]
  ] as const) {
    live(
      `that ${what}, are made`,
      Effect.gen(function* () {
        const made = yield* place
        const sql = yield* made.open
        yield* migrated(sql)
        for (const table of lost) {
          if (table !== "_versions") yield* say(sql, `DROP TABLE circuit_breaker${table}`)
        }
        yield* Effect.forEach(yield* Effect.all([made.open, made.open]), migrated, { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* tables(made), ours)
        const indexes = yield* ask(
          sql,
          `SELECT COUNT(DISTINCT table_name, index_name) FROM information_schema.statistics
            WHERE table_schema = DATABASE() AND index_name <> 'PRIMARY'`
        )
        assert.strictEqual(indexes, 12)
      })
    )
  }

  live(
    "that are lost while they are used are made again",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const [a, b] = [yield* replica(sql), yield* replica(yield* open)]
      yield* areLive(sql)
      for (const table of ours) yield* say(sql, `DROP TABLE IF EXISTS ${table}`)
      yield* areTogether([a, b], "afterwards")
    })
  )

  for (const table of ["circuit_breakers", "circuit_breaker_voices", "circuit_breaker_versions"]) {
    live(
      `are not made beside one that is called ${table} and is somebody else's, which stays as it is, until that is gone`,
      logging((lines) =>
        Effect.gen(function* () {
          const made = yield* place
          const sql = yield* made.open
          yield* say(sql, `CREATE TABLE ${table} (id INTEGER, what TEXT)`)
          yield* say(sql, `INSERT INTO ${table} VALUES (1, 'of the electrician')`)
          const error = yield* Effect.flip(migrated(sql))
          assert.strictEqual(error._tag, "MigrationError")
          const [a, b] = [yield* replica(sql), yield* replica(yield* made.open)]
          yield* until(
            "both say so",
            Effect.sync(() => lines.filter((line) => line.includes("is not there yet")).length === 2)
          )
          yield* isUnharmed(a, b, "api")
          const rows = yield* say(sql, `SELECT * FROM ${table}`)
          assert.deepStrictEqual(
            rows.map(({ id, what }) => [Number(id), what]),
            [[1, "of the electrician"]]
          )
          assert.deepStrictEqual(yield* tables(made), [table])
          yield* say(sql, `RENAME TABLE ${table} TO of_the_electrician`)
          yield* areTogether([a, b], "afterwards")
          assert.deepStrictEqual(yield* tables(made), [...ours, "of_the_electrician"])
        })
      )
    )
  }

  live(
    "are not for a user without rights, whose circuits are its own until it gets them, of which it needs none to make tables",
    Effect.gen(function* () {
      const made = yield* ownPlace
      const sql = yield* made.open
      const [name, user] = [made.url.replace(/.*\//, ""), made.url.replace(/.*\//, "poor_")]
      yield* Effect.acquireRelease(say(sql, `CREATE USER ${user}@'127.0.0.1'`), () =>
        say(sql, `DROP USER ${user}@'127.0.0.1'`)
      )
      yield* say(sql, `GRANT SELECT ON ${name}.* TO ${user}@'127.0.0.1'`)
      const poor = yield* connectMysql(made.url.replace("root@", `${user}@`))
      assert.strictEqual((yield* Effect.flip(migrated(poor)))._tag, "MigrationError")
      const [a, b] = [yield* replica(poor), yield* replica(sql, { migrate: false })]
      yield* isUnharmed(a, b, "meanwhile")
      assert.deepStrictEqual(yield* tables(made), [])
      yield* migrated(sql)
      yield* migrated(poor)
      yield* say(sql, `GRANT INSERT, UPDATE, DELETE ON ${name}.* TO ${user}@'127.0.0.1'`)
      yield* areTogether([a, b, yield* replica(poor)], "afterwards")
    })
  )

  live(
    "are waited for where the program may not make them, and used when somebody has",
    Effect.gen(function* () {
      const made = yield* place
      const sql = yield* made.open
      const [a, b] = [yield* replica(sql, { migrate: false }), yield* replica(yield* made.open, { migrate: false })]
      yield* isUnharmed(a, b, "meanwhile")
      assert.deepStrictEqual(yield* tables(made), [])
      yield* migrated(sql)
      yield* areTogether([a, b], "afterwards")
    })
  )

  for (const [what, era, body] of [
    ["garbage", 5, "garbage"],
    ["of another version", 5, '{"v":2,"state":{"_tag":"Open"}}'],
    ["of an era beyond all numbers", "9007199254740991", "garbage"],
    ["of the greatest era that a column has", "9223372036854775807", "garbage"]
  ] as const) {
    live(
      `have a record that is ${what}, which harms nobody and stays as it is`,
      Effect.gen(function* () {
        const { open } = yield* place
        const sql = yield* open
        const [a, b] = [yield* replica(sql), yield* replica(yield* open)]
        yield* areLive(sql)
        yield* say(sql, `INSERT INTO circuit_breakers VALUES ('api', ${era}, '${body}', 1, 1, NULL)`)
        const fresh = yield* replica(yield* open)
        for (const one of [a, b, fresh]) yield* isUnharmed(one, yield* replica(sql), "api")
        yield* areTogether([a, b, fresh], "other")
        const rows = yield* say(
          sql,
          "SELECT CAST(era AS CHAR) AS era, body FROM circuit_breakers WHERE circuit = 'api'"
        )
        assert.deepStrictEqual(
          rows.map((row) => [row["era"], row["body"]]),
          [[String(era), body]]
        )
      })
    )
  }
})

describe("MariaDB that", () => {
  live(
    "crashes takes nothing from callers, and is used again when it is back",
    Effect.gen(function* () {
      const { open } = yield* ownPlace
      const sql = yield* open
      const [a, b] = [yield* replica(sql), yield* replica(yield* open)]
      yield* areLive(sql)
      yield* a.run(CircuitBreaker.open("before", { for: "1 minute" }))
      yield* standsAt([b], "Open (fleet)", { circuit: "before" })
      yield* Effect.acquireUseRelease(
        server.kill,
        () =>
          Effect.gen(function* () {
            yield* isUnharmed(a, b, "meanwhile")
            yield* isUnharmed(b, a, "at the same time")
            yield* force(b, "forced meanwhile")
          }),
        () => server.start
      )
      yield* areLive(sql)
      yield* areTogether([a, b], "afterwards")
      const fresh = yield* replica(yield* open)
      yield* standsAt([a, b, fresh], "Isolated (fleet)", { circuit: "forced meanwhile" })
      for (const one of [a, b, fresh]) assert.strictEqual(yield* works(one, { circuit: "before" }), "Cooldown (fleet)")
      for (const one of [b, fresh]) assert.strictEqual(yield* works(one, { circuit: "meanwhile" }), "ok")
    })
  )

  live(
    "is not there when the program starts keeps it from nothing, and is used when it comes",
    Effect.gen(function* () {
      const { open } = yield* ownPlace
      const [a, b] = yield* Effect.acquireUseRelease(
        server.kill,
        () =>
          Effect.gen(function* () {
            const made = [yield* replica(yield* open), yield* replica(yield* open)] as const
            yield* isUnharmed(...made, "meanwhile")
            yield* force(made[0], "forced")
            return made
          }),
        () => server.start
      )
      yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
      yield* areTogether([a, b], "afterwards")
    })
  )

  live(
    "hangs takes nothing from callers, and is heard again when it goes on",
    Effect.gen(function* () {
      const { open } = yield* ownPlace
      const sql = yield* open
      const [a, b] = [yield* replica(sql), yield* replica(yield* open)]
      yield* areLive(sql)
      yield* Effect.acquireUseRelease(
        server.pause,
        () =>
          Effect.gen(function* () {
            yield* isUnharmed(a, b, "meanwhile")
            yield* force(a, "forced")
          }),
        () => server.resume
      )
      yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
      yield* areTogether([a, b], "afterwards")
    })
  )

  live(
    "ends all connections is asked again on new ones",
    Effect.gen(function* () {
      const { open, url } = yield* ownPlace
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      const admin = yield* connectMysql(url, { maxConnections: 1 })
      yield* areLive(admin)
      for (let i = 0; i < 3; i++) {
        const others = yield* say(
          admin,
          "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        for (const { id } of others) yield* Effect.ignoreCause(say(admin, `KILL ${id}`))
        yield* isUnharmed(a, b, `meanwhile ${i}`)
      }
      yield* areTogether([a, b], "afterwards")
    })
  )

  for (const [what, lock] of [
    ["the counter", "UPDATE circuit_breaker_eras SET era = era + 1 WHERE id = 1"],
    [
      "all records and ballots",
      "SELECT * FROM circuit_breakers, circuit_breaker_ballots, circuit_breaker_voices FOR UPDATE"
    ]
  ] as const) {
    live(
      `keeps somebody else's lock on ${what} takes nothing from callers`,
      Effect.gen(function* () {
        const { open } = yield* ownPlace
        const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
        const admin = yield* open
        yield* areLive(admin)
        const held = yield* Deferred.make<void>()
        const transaction = Context.get(admin, SqlClient.SqlClient).withTransaction(
          Effect.andThen(Effect.andThen(say(admin, lock), Deferred.succeed(held, undefined)), Effect.never)
        )
        const holds = yield* Effect.forkChild(transaction)
        yield* Deferred.await(held)
        yield* force(a, "forced")
        yield* isUnharmed(a, b, "meanwhile")
        yield* Fiber.interrupt(holds)
        yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
        yield* areTogether([a, b], "afterwards")
      })
    )
  }
})

const policies = Layer.orDie(
  BreakerPolicy.layer({ default: { trip: Trip.failures({ atLeast: 2, of: 10 }), cooldown: "100 millis" } })
)

type Audited = AuditTrail.AuditTrail | BreakerStore.BreakerStore

/** A program that writes a trail. */
const audited = (
  sql: Connection,
  options: AuditTrail.Options = {},
  store: Layer.Layer<BreakerStore.BreakerStore> = BreakerStore.layerMemory
) =>
  Layer.build(
    Layer.fresh(
      Layer.orDie(AuditTrail.layer({ flushInterval: 0, ...options })).pipe(
        Layer.provideMerge(Layer.mergeAll(store, policies, Logger.layer([]))),
        Layer.provide(Layer.succeedContext(sql))
      )
    )
  )

const written = (n: number) =>
  until(
    `${n} written`,
    Effect.map(AuditTrail.stats, (stats) => stats.written >= n && stats.pending === 0)
  )

describe("a trail in MariaDB", () => {
  const trail = <A, E>(name: string, test: Effect.Effect<A, E, Audited>, options?: AuditTrail.Options) =>
    live(
      name,
      Effect.gen(function* () {
        const { open } = yield* place
        yield* Effect.provideContext(test, yield* audited(yield* open, options))
      })
    )

  trail(
    "has what happened, why, by whom, and what was counted",
    Effect.gen(function* () {
      yield* play("SSFF", { key: "eu" })
      yield* CircuitBreaker.isolate("mail", { reason: "migration", actor: "ann" })
      yield* CircuitBreaker.release("mail", { actor: "bob" })
      yield* written(3)
      const [opened, ...others] = yield* AuditTrail.history("api", { key: "eu" })
      assert.deepStrictEqual(others, [])
      assert.deepInclude(opened, {
        circuit: "api",
        key: "eu",
        from: "Closed",
        to: "Open",
        why: "Tripped",
        detail: "2 failures in the last 10 calls (limit 2)",
        actor: undefined,
        scope: "local",
        process: "checkout 🧾",
        mode: "enforce",
        openings: 1,
        retryAfterMillis: 100,
        counts: { calls: 4, failures: 2, slow: 0, streak: 2 },
        metadata: { region: "Zürich 🏔" }
      })
      const [released, isolated] = yield* AuditTrail.history("mail")
      assert.deepInclude(isolated, { to: "Isolated", detail: "migration", actor: "ann", retryAfterMillis: undefined })
      assert.deepInclude(released, { from: "Isolated", to: "Closed", why: "Released", actor: "bob" })
    }),
    { process: "checkout 🧾", metadata: { region: "Zürich 🏔" } }
  )

  trail(
    "answers what is open, failing and forced now",
    Effect.gen(function* () {
      yield* play("FF")
      yield* play("FF", { name: "recovered" })
      yield* until(
        "it recovered",
        Effect.map(succeed({ name: "recovered" }), (exit) => exit._tag === "Success")
      )
      yield* CircuitBreaker.isolate("mail", { reason: "drill", actor: "ann" })
      yield* written(5)
      const names = (list: ReadonlyArray<AuditTrail.Standing>) =>
        list.map(({ circuit, state }) => `${circuit} ${state}`)
      assert.deepStrictEqual(names(yield* AuditTrail.openNow), ["api Open"])
      assert.deepStrictEqual(names(yield* AuditTrail.failing), ["api Open"])
      const [forced] = yield* AuditTrail.forced
      assert.deepInclude(forced, {
        circuit: "mail",
        state: "Isolated",
        detail: "drill",
        actor: "ann",
        endsAt: undefined
      })
    })
  )

  trail(
    "answers what opened how often, per day, for how long, and how soon it was back",
    Effect.gen(function* () {
      for (const key of ["a", "a", "A"]) {
        yield* play("FF", { key })
        yield* until(
          "it recovered",
          Effect.map(succeed({ key }), (exit) => exit._tag === "Success")
        )
        yield* CircuitBreaker.reset("api", { key })
      }
      yield* play("FF", { name: "api " })
      yield* written(13)
      const opened = yield* AuditTrail.openedWithin({ within: "1 hour" })
      assert.deepStrictEqual(opened.map(({ circuit, key, times }) => `${circuit}/${key} ${times}`).sort(), [
        "api /undefined 1",
        "api/A 1",
        "api/a 2"
      ])
      assert.strictEqual(opened[0]?.times, 2)
      const days = yield* AuditTrail.transitionsPerDay()
      const openings = days.filter(({ to }) => to === "Open").reduce((sum, { transitions }) => sum + transitions, 0)
      assert.strictEqual(openings, 4)
      for (const { day } of days) {
        assert.include(
          [0, 1].map((ago) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10)),
          day
        )
      }
      const longest = yield* AuditTrail.longestOpenings()
      assert.strictEqual(longest.length, 3)
      assert.isAtLeast(longest[0]?.downMillis ?? 0, longest[1]?.downMillis ?? 0)
      assert.isAtLeast(longest[1]?.downMillis ?? 0, longest[2]?.downMillis ?? 0)
      const { meanMillis, recoveries } = yield* AuditTrail.timeToRecover()
      assert.strictEqual(recoveries, 3)
      assert.isAtLeast(meanMillis ?? 0, 90)
      assert.strictEqual((yield* AuditTrail.timeToRecover({ name: "api" })).recoveries, 3)
      for (const name of ["API", "api ", "api  ", "other"]) {
        assert.strictEqual((yield* AuditTrail.timeToRecover({ name })).recoveries, 0, JSON.stringify(name))
      }
      assert.deepStrictEqual(yield* AuditTrail.openedWithin({ within: 1 }), [])
    })
  )

  trail(
    "goes back page by page",
    Effect.gen(function* () {
      for (let i = 0; i < 5; i++) {
        yield* CircuitBreaker.isolate("api", { reason: `${i}` })
        yield* Effect.sleep(2)
      }
      yield* written(5)
      const first = yield* AuditTrail.history("api", { limit: 2 })
      const next = yield* AuditTrail.history("api", { limit: 10, before: first.at(-1)?.at })
      assert.deepStrictEqual(
        [...first, ...next].map(({ detail }) => detail),
        ["4", "3", "2", "1", "0"]
      )
    })
  )

  trail(
    "is pruned in batches, and keeps what is not old",
    Effect.gen(function* () {
      for (let i = 0; i < 25; i++) yield* CircuitBreaker.isolate("api", { key: `${i}` })
      yield* CircuitBreaker.isolate("old")
      yield* CircuitBreaker.release("old")
      yield* AuditTrail.flush
      assert.strictEqual(yield* AuditTrail.prune({ olderThan: "1 hour" }), 0)
      yield* Effect.sleep("50 millis")
      const n = yield* AuditTrail.prune({ olderThan: "40 millis", batch: 10 })
      assert.strictEqual(n, 28, "27 lines, and one circuit that is closed")
      assert.deepStrictEqual(yield* AuditTrail.history("api", { key: "3" }), [])
      assert.strictEqual((yield* AuditTrail.forced).length, 25, "what is forced is known, however old")
    })
  )

  trail(
    "has what was counted, over time",
    Effect.gen(function* () {
      yield* play("SSF", { key: "a" })
      yield* succeed({ key: "b" })
      yield* Snapshots.take({ process: "checkout 🧾" })
      yield* play("F", { key: "a" })
      yield* CircuitBreaker.isolate("o'ther\n\ud800")
      yield* Effect.sleep(5)
      yield* Snapshots.take({ process: "checkout 🧾" })
      const series = yield* Snapshots.series("api", { within: "1 hour" })
      assert.deepStrictEqual(
        series.map(({ calls, circuits, failureRate, failures, healthy, process, state, successes }) => [
          calls,
          successes,
          failures,
          failureRate,
          circuits,
          healthy,
          state,
          process
        ]),
        [
          [4, 3, 1, 1 / 3 / 2, 2, 2, "Closed", "checkout 🧾"],
          [5, 3, 2, 0.5, 2, 1, "Open", "checkout 🧾"]
        ]
      )
      assert.strictEqual((yield* Snapshots.series("o'ther\n\ud800")).length, 1)
      for (const name of ["API", "api ", "o'ther"]) assert.deepStrictEqual(yield* Snapshots.series(name), [])
    })
  )

  trail(
    "has any name, key, reason and actor as it was, and no two of them are one",
    Effect.gen(function* () {
      for (const name of wild) {
        yield* CircuitBreaker.isolate(name, { reason: name, actor: name })
        yield* CircuitBreaker.isolate("api", { key: name, reason: `key ${name}` })
      }
      yield* AuditTrail.flush
      for (const name of wild) {
        const entries = yield* AuditTrail.history(name)
        const kept = name.replace("\u0000", "\\u0000")
        assert.deepStrictEqual(
          entries.map(({ actor, circuit, key }) => [circuit, key, actor]),
          [[kept, undefined, kept]]
        )
        const ofKey = yield* AuditTrail.history("api", { key: name })
        assert.deepStrictEqual(
          ofKey.map(({ circuit, key }) => [circuit, key]),
          [["api", kept]]
        )
      }
      assert.strictEqual((yield* AuditTrail.forced).length, 2 * wild.length)
      assert.deepStrictEqual(yield* AuditTrail.history("aPI"), [])
    })
  )

  live(
    "has each line of a fleet once, whose processes write of the same circuits at once",
    Effect.gen(function* () {
      const { open } = yield* place
      const shared = yield* SharedStore.makeMemory
      const program = (process: string) =>
        Effect.flatMap(open, (sql) => {
          const store = Layer.orDie(BreakerStore.layerShared(shared, { process, syncInterval: "100 millis" }))
          return audited(sql, { process, flushInterval: "5 minutes" }, store)
        })
      const [a, b] = [yield* program("a"), yield* program("b")]
      const keys = Array.from({ length: 200 }, (_, i) => `${i}`)
      const all = (state: string, program: typeof a) =>
        until(
          `all are ${state}`,
          Effect.map(
            Effect.forEach(keys, (key) => Effect.provideContext(CircuitBreaker.state("api", { key }), program)),
            (states) => states.every((one) => one === state)
          )
        )
      for (let round = 0; round < 5; round++) {
        for (const key of keys) yield* Effect.provideContext(CircuitBreaker.isolate("api", { key }), a)
        yield* all("Isolated", b)
        // Of two lines of the same millisecond either may be the last.
        yield* Effect.sleep(5)
        for (const key of keys.toReversed()) yield* Effect.provideContext(CircuitBreaker.release("api", { key }), b)
        yield* all("Closed", a)
        yield* Effect.sleep(5)
        yield* Effect.all(
          [a, b].map((program) => Effect.provideContext(AuditTrail.flush, program)),
          { concurrency: "unbounded" }
        )
      }
      const days = yield* Effect.provideContext(AuditTrail.transitionsPerDay(), a)
      const lines = days.reduce((sum, { transitions }) => sum + transitions, 0)
      const stats = yield* Effect.forEach([a, b], (program) => Effect.provideContext(AuditTrail.stats, program))
      assert.strictEqual(
        lines,
        stats.reduce((sum, { written }) => sum + written, 0)
      )
      assert.isAtLeast(lines, 5 * 2 * keys.length)
      assert.deepStrictEqual(yield* Effect.provideContext(AuditTrail.forced, a), [])
    })
  )

  live(
    "is written when the database comes, and when it is back, each line once",
    Effect.gen(function* () {
      const { open } = yield* ownPlace
      const sql = yield* open
      yield* server.kill
      yield* Effect.addFinalizer(() => Effect.andThen(server.kill, server.start))
      yield* Effect.gen(function* () {
        for (let i = 0; i < 3; i++) yield* CircuitBreaker.isolate("api", { key: `before ${i}` })
        assert.deepStrictEqual(yield* AuditTrail.stats, { written: 0, pending: 3, dropped: 0 })
        yield* server.start
        yield* written(3)
        yield* server.kill
        for (let i = 0; i < 3; i++) yield* CircuitBreaker.isolate("api", { key: `between ${i}` })
        assert.strictEqual((yield* succeed({ name: "unharmed" }))._tag, "Success")
        yield* server.start
        yield* written(6)
        assert.strictEqual((yield* AuditTrail.forced).length, 6)
        const days = yield* AuditTrail.transitionsPerDay()
        assert.strictEqual(
          days.reduce((sum, { transitions }) => sum + transitions, 0),
          6
        )
      }).pipe((test) => Effect.flatMap(audited(sql), (context) => Effect.provideContext(test, context)))
    })
  )
})

const many = 20_000

/** A trail of ninety days and a thousand circuits, of which every third line is a recovery. */
const fill = (sql: Connection) =>
  Effect.gen(function* () {
    const now = `${Date.now()}`
    yield* say(
      sql,
      `INSERT INTO circuit_breaker_events
          (id, at, circuit_id, circuit, from_state, to_state, why, scope, process, mode, era, openings, down_for)
        SELECT CONCAT('e', seq), ${now} - seq * 388800, CONCAT('c', seq % 1000), CONCAT('c', seq % 1000), 'Closed',
          ELT(1 + seq % 3, 'Open', 'HalfOpen', 'Closed'), 'Tripped', 'fleet', 'p', 'enforce', seq, 1,
          IF(seq % 3 = 2, 60000 - seq, NULL) FROM seq_1_to_${many}`
    )
    yield* say(
      sql,
      `INSERT INTO circuit_breaker_states (circuit_id, owner, circuit, state, since, why, openings)
        SELECT CONCAT('c', seq), '', CONCAT('c', seq), IF(seq % 500 = 0, 'Open', 'Closed'),
          ${now} - IF(seq % 100 = 0, 90, 1) * 86400000, 'Tripped', 1 FROM seq_1_to_${many}`
    )
    yield* say(
      sql,
      `INSERT INTO circuit_breaker_snapshots SELECT CONCAT('s', seq), ${now} - seq * 388800, CONCAT('c', seq % 100),
          CONCAT('c', seq % 100), 'p', 'Closed', 1, 1, 1, 1, 1, 1, 1, 1, 1, 0 FROM seq_1_to_${many}`
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
  live(
    "answers a store and a trail by indexes, and reads no table from its beginning to its end",
    Effect.gen(function* () {
      const { url } = yield* ownPlace
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
