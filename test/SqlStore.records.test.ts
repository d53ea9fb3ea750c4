import { assert, describe } from "@effect/vitest"
import { Cause, Effect, Logger } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { databases, on, onOwn, ours, servers, tablesIn } from "./support/databases.ts"
import { swapOf } from "./support/exchanges.ts"
import { standing, standsAt, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { areLive, ask, migrated, replica, say, sharedStore } from "./support/sqlFleet.ts"
import { areTogether, force, isUnharmed } from "./support/unharmed.ts"

/** Collects the log lines of an effect, which can read them while it runs. */
const logging = <A, E, R>(use: (lines: ReadonlyArray<string>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make(({ cause, message }) => {
      lines.push(`${[message].flat().map(String).join(" ")} ${Cause.pretty(cause)}`)
    })
    return Effect.provide(use(lines), Logger.layer([logger]))
  })

/** The number of warnings that the tables cannot be used. */
const said = (lines: ReadonlyArray<string>) => lines.filter((line) => line.includes("cannot be used yet")).length

/** Both processes log the warning once, although they try several times a second at first. */
const bothSaySo = (lines: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    yield* until(
      "both say so",
      Effect.sync(() => said(lines) === 2)
    )
    yield* Effect.sleep(250)
    assert.strictEqual(said(lines), 2)
  })

describe.each(databases)("the data of a store in %s", (database) => {
  const ground = on(database)
  const { asText, place } = ground

  for (const [what, epoch, body] of [
    ["that is not JSON", 5, "garbage"],
    ["of JSON of another shape", 5, '{"v":1,"state":[]}'],
    ["of another version", 5, '{"v":2,"state":{"_tag":"Open"}}'],
    ["that is empty", 5, ""]
  ] as const) {
    live(
      `a record ${what} does no harm and is not changed`,
      Effect.gen(function* () {
        const { open } = yield* place
        const sql = yield* open
        const [a, b, well] = [yield* replica(sql), yield* replica(yield* open), yield* replica(sql)]
        yield* areLive(sql, 3)
        yield* say(sql, `INSERT INTO circuit_breakers VALUES ('api', ${epoch}, '${body}', 1, 1, 1, NULL, NULL)`)
        const fresh = yield* replica(yield* open)
        for (const one of [a, b, fresh]) {
          yield* isUnharmed(one, well, "api")
          assert.strictEqual(yield* standing(one), "Open (local)")
        }
        yield* force(a, "api")
        yield* areTogether([a, b, fresh], "other")
        const rows = yield* say(
          sql,
          `SELECT ${asText("epoch")} AS epoch, body, listed FROM circuit_breakers WHERE circuit = 'api'`
        )
        assert.deepStrictEqual(
          rows.map((row) => [row["epoch"], row["body"], Number(row["listed"])]),
          [[String(epoch), body, 1]]
        )
      })
    )
  }

  for (const epoch of ["-5", "0", "9007199254740991", "9223372036854775807"]) {
    // The client of the tests cannot read this number from SQLite.
    if (database === "SQLite" && epoch === "9223372036854775807") continue
    live(
      `a record with the epoch ${epoch} counts as missing and is replaced`,
      Effect.gen(function* () {
        const { open } = yield* place
        const sql = yield* open
        const store = yield* sharedStore(sql)
        yield* store.load([])
        yield* say(sql, `INSERT INTO circuit_breakers VALUES ('api', ${epoch}, 'garbage', 1, 1, 1, NULL, NULL)`)
        assert.deepStrictEqual((yield* store.load(["api"])).records, [undefined])
        assert.deepStrictEqual((yield* store.page(0, 10)).changes, [])
        const { record, swapped } = yield* swapOf(store, {
          circuit: "api",
          expectedEpoch: 0,
          body: "b",
          ttl: 5_000,
          listed: true
        })
        assert.isTrue(swapped)
        assert.strictEqual((yield* store.page(0, 10)).changes[0]?.epoch, record?.epoch)
      })
    )
  }

  live(
    "ten processes that start together create the tables once",
    Effect.gen(function* () {
      const { open } = yield* place
      const clients = yield* Effect.all(Array.from({ length: 10 }, () => open))
      const migrate = Effect.forEach(clients, migrated, { concurrency: "unbounded" })
      yield* migrate
      const [sql] = clients
      assert(sql !== undefined)
      const store = yield* sharedStore(sql)
      const { record } = yield* swapOf(store, {
        circuit: "api",
        expectedEpoch: 0,
        body: "b",
        ttl: undefined,
        listed: true
      })
      yield* migrate
      assert.strictEqual((yield* store.load(["api"])).records[0]?.epoch, record?.epoch)
      assert.deepStrictEqual(yield* tablesIn(ground, sql), ours)
      assert.strictEqual(yield* ask(sql, "SELECT COUNT(*) FROM circuit_breaker_versions"), 4)
      assert.strictEqual(yield* ask(sql, "SELECT COUNT(*) FROM circuit_breaker_store"), 1)
    })
  )

  live(
    "ten replicas that start together create the tables and share circuits",
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
    "a process that may not create the tables waits for them, and uses them when they exist",
    logging((lines) =>
      Effect.gen(function* () {
        const { open } = yield* place
        const sql = yield* open
        const [a, b] = [yield* replica(sql, { migrate: false }), yield* replica(yield* open, { migrate: false })]
        yield* isUnharmed(a, b, "api")
        yield* force(a, "forced")
        yield* bothSaySo(lines)
        assert.deepStrictEqual(yield* tablesIn(ground, sql), [])
        yield* migrated(sql)
        yield* areTogether([a, b], "afterwards")
        yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
        assert.strictEqual(said(lines), 2)
        assert.strictEqual(yield* works(yield* replica(sql, { migrate: false })), "ok")
      })
    )
  )

  for (const table of ["circuit_breakers", "circuit_breaker_voters", "circuit_breaker_versions"]) {
    live(
      `a table of another program called ${table} is not changed; the tables are created when it is gone`,
      logging((lines) =>
        Effect.gen(function* () {
          const { open } = yield* place
          const sql = yield* open
          yield* say(sql, `CREATE TABLE ${table} (id INTEGER, what TEXT)`)
          yield* say(sql, `INSERT INTO ${table} VALUES (1, 'of the electrician')`)
          const error = yield* Effect.flip(migrated(sql))
          assert.include(database === "MariaDB" ? ["MigrationError"] : ["MigrationError", "SqlError"], error._tag)
          const [a, b] = [yield* replica(sql), yield* replica(yield* open)]
          yield* isUnharmed(a, b, "api")
          yield* force(a, "forced")
          yield* bothSaySo(lines)
          const rows = yield* say(sql, `SELECT * FROM ${table}`)
          assert.deepStrictEqual(
            rows.map(({ id, what }) => [Number(id), what]),
            [[1, "of the electrician"]]
          )
          // If tables are created in a transaction, the empty table of versions is created outside of it.
          const list = database === "MariaDB" ? [] : ["circuit_breaker_versions"]
          assert.deepStrictEqual(yield* tablesIn(ground, sql), [...new Set([...list, table])].sort())
          yield* say(sql, `ALTER TABLE ${table} RENAME TO of_the_electrician`)
          yield* areTogether([a, b], "afterwards")
          yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
          assert.deepStrictEqual(yield* tablesIn(ground, sql), [...ours, "of_the_electrician"])
          assert.strictEqual(said(lines), 2)
        })
      )
    )
  }

  live(
    "running processes go on if all tables but the counter are emptied",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const [a, b] = [yield* replica(sql), yield* replica(yield* open)]
      yield* a.run(CircuitBreaker.isolate("forced", { reason: "drill" }))
      yield* standsAt([b], "Isolated (fleet)", { circuit: "forced" })
      for (const table of ["s", "_ballots", "_boxes", "_voters", "_rolls"])
        yield* say(sql, `DELETE FROM circuit_breaker${table}`)
      yield* areTogether([a, b], "afterwards")
      yield* standsAt([a, b, yield* replica(sql)], "Isolated (fleet)", { circuit: "forced" })
    })
  )
})

describe.each(servers)("the tables of a store in %s", (database) => {
  const ground = onOwn(database)

  live(
    "a user without permissions has local circuits until the permissions are granted",
    logging((lines) =>
      Effect.gen(function* () {
        const made = yield* ground.place
        const sql = yield* made.open
        const { grant, url } = yield* ground.user(made)
        // Each process has its own client, because a store may keep one of its connections.
        const connected = ground.connect(url)
        const poor = yield* connected
        const error = yield* Effect.flip(migrated(poor))
        assert.include(["MigrationError", "SqlError"], error._tag)
        const [a, b] = [yield* replica(yield* connected), yield* replica(yield* connected)]
        yield* isUnharmed(a, b, "api")
        yield* force(a, "forced")
        yield* bothSaySo(lines)
        assert.strictEqual(yield* standing(b), "Closed (local)")
        assert.deepStrictEqual(yield* tablesIn(ground, sql), [])
        // Other tables may not be readable, some tables may not be writable, or it has all permissions that it needs.
        yield* migrated(sql)
        const [c, d] = [
          yield* replica(yield* connected, { migrate: false }),
          yield* replica(yield* made.open, { migrate: false })
        ]
        yield* isUnharmed(c, d, "meanwhile")
        yield* force(c, "forced meanwhile")
        yield* grant("SELECT")
        yield* isUnharmed(c, d, "still")
        yield* force(c, "forced with read permission")
        // If all tables exist, no permission to create tables is needed. PostgreSQL locks the tables to check them.
        if (database === "MariaDB") yield* migrated(poor)
        yield* grant("SELECT, INSERT, UPDATE, DELETE")
        yield* migrated(poor)
        const all = [a, c, d, yield* replica(sql), yield* replica(poor)]
        yield* areTogether(all, "afterwards")
        for (const circuit of ["forced", "forced meanwhile", "forced with read permission"]) {
          yield* standsAt(all, "Isolated (fleet)", { circuit })
        }
        assert.deepStrictEqual(yield* tablesIn(ground, sql), ours)
      })
    )
  )
})

describe("an invalid notification in PostgreSQL", () => {
  const { place } = onOwn("PostgreSQL")

  live(
    "of another program does no harm",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const [a, b] = [yield* replica(sql, { syncInterval: "5 minutes" }), yield* replica(yield* open)]
      yield* areLive(sql)
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
