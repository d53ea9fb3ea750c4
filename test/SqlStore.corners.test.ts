import { assert, describe } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Migrator } from "effect/sql"
import { CircuitBreaker } from "effect-fuse"
import * as SqlStore from "effect-fuse/SqlStore"
import { databases, on, onOwn, ours, servers } from "./support/databases.ts"
import { fails, standing, standsAt, trip, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { areLive, ask, type Connection, connect, listening, replica, say } from "./support/sqlFleet.ts"
import { areTogether, impatient } from "./support/unharmed.ts"
import { wired } from "./support/wired.ts"

const listen = (sql: Connection, n: number) =>
  until(
    `${n} listen`,
    Effect.map(listening(sql), (seen) => seen === n)
  )

const never = { syncInterval: "5 minutes" } as const

describe("fleets on one PostgreSQL", () => {
  const { place } = onOwn("PostgreSQL")

  for (const [what, one, other] of [
    [
      "schemas and prefixes that read the same in a row",
      { schema: "a", prefix: "b_c" },
      { schema: "a_b", prefix: "c" }
    ],
    ["a schema, and a prefix that begins like it", { schema: "a", prefix: "c" }, { prefix: "a_c" }]
  ] as const) {
    live(
      `of ${what} never meet`,
      Effect.gen(function* () {
        const { open } = yield* place
        const sql = yield* open
        for (const schema of ["a", "a_b"]) yield* say(sql, `CREATE SCHEMA ${schema}`)
        const a = yield* replica(yield* open, { ...never, ...one })
        const second = yield* replica(yield* open, { ...never, ...one })
        const b = yield* replica(yield* open, { ...never, ...other })
        yield* listen(sql, 3)
        yield* a.run(CircuitBreaker.isolate("api"))
        yield* standsAt([second], "Isolated (fleet)")
        yield* Effect.sleep(200)
        assert.strictEqual(yield* works(b), "ok")
      })
    )
  }

  live(
    "of two default schemas never meet",
    Effect.gen(function* () {
      const { open, url } = yield* place
      const sql = yield* open
      for (const name of ["one", "two"]) {
        yield* say(sql, `CREATE SCHEMA ${name}`)
        const role = url.replace(/.*\//, `${name}_`)
        yield* Effect.acquireRelease(say(sql, `CREATE ROLE ${role} LOGIN SUPERUSER`), () =>
          Effect.andThen(say(sql, `DROP OWNED BY ${role} CASCADE`), say(sql, `DROP ROLE ${role}`))
        )
        yield* say(sql, `ALTER ROLE ${role} SET search_path TO ${name}`)
      }
      const as = (name: string) => connect(url.replace("postgres@", `${url.replace(/.*\//, `${name}_`)}@`))
      const a = yield* replica(yield* as("one"), never)
      const second = yield* replica(yield* as("one"), never)
      const b = yield* replica(yield* as("two"), never)
      yield* listen(sql, 3)
      yield* a.run(CircuitBreaker.isolate("api"))
      yield* standsAt([second], "Isolated (fleet)")
      yield* Effect.sleep(200)
      assert.strictEqual(yield* ask(sql, "SELECT COUNT(*) FROM two.circuit_breakers"), 0)
      assert.strictEqual(yield* works(b), "ok")
    })
  )

  live(
    "of the longest schema and prefix that are allowed are fleets",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const longest = { schema: "s".repeat(40), prefix: "p".repeat(40) }
      yield* say(sql, `CREATE SCHEMA ${longest.schema}`)
      const [a, b] = [yield* replica(yield* open, longest), yield* replica(yield* open, longest)]
      yield* a.run(CircuitBreaker.isolate("api"))
      yield* standsAt([b], "Isolated (fleet)")
    })
  )
})

describe("circuits on PostgreSQL", () => {
  const { place } = onOwn("PostgreSQL")
  const unicode = (from: number) =>
    Array.from({ length: 500 }, (_, i) => String.fromCharCode(from + ((i * 7919) % 20_000))).join("")

  live(
    "that are too long to be found by an index are each process's own, and the others are shared all the same",
    Effect.gen(function* () {
      const { open } = yield* place
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      const call = { circuit: unicode(0x4e00), key: unicode(0x4f00) }
      yield* a.run(CircuitBreaker.isolate(call.circuit, { key: call.key }))
      assert.strictEqual(yield* standing(a, call), "Isolated (local)")
      for (let i = 0; i < 3; i++) yield* fails(b, call)
      yield* a.run(CircuitBreaker.isolate("short"))
      yield* standsAt([b], "Isolated (fleet)", { circuit: "short" })
      assert.strictEqual(yield* standing(b, call), "Closed (local)")
    })
  )

  live(
    "may have a long name and a long reason",
    Effect.gen(function* () {
      const { open } = yield* place
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      const circuit = "é".repeat(400)
      yield* a.run(CircuitBreaker.isolate(circuit, { reason: "x".repeat(6_500) }))
      yield* standsAt([b], "Isolated (fleet)", { circuit })
    })
  )
})

describe("a database that has few letters", () => {
  const { connect, place } = onOwn("PostgreSQL")

  live(
    "takes records with any reason, and the others that go with them",
    Effect.gen(function* () {
      const { open, url } = yield* place
      const name = `${url.replace(/.*\//, "")}_latin`
      const admin = yield* open
      yield* Effect.acquireRelease(
        say(admin, `CREATE DATABASE ${name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`),
        () => Effect.ignoreCause(say(admin, `DROP DATABASE ${name} WITH (FORCE)`))
      )
      const latin = connect(url.replace(/[^/]*$/, name))
      const [a, b] = [yield* replica(yield* latin), yield* replica(yield* latin)]
      const reasons = { plain: "plain", greek: "σφάλμα", smile: "down \u{1f622}", half: "\ud83d", zero: "a\u0000b" }
      yield* Effect.forEach(
        Object.entries(reasons),
        ([circuit, reason]) => a.run(CircuitBreaker.isolate(circuit, { reason })),
        { concurrency: "unbounded" }
      )
      for (const circuit of Object.keys(reasons)) yield* standsAt([b], "Isolated (fleet)", { circuit })
      const { cause } = yield* b.run(CircuitBreaker.inspect("greek"))
      assert.strictEqual(cause?.detail, reasons.greek)
    })
  )
})

describe.each(databases)("a record in %s", (database) => {
  const { place } = on(database)

  live(
    "of an operator who says far too much is cut, and stops no other",
    Effect.gen(function* () {
      const { open } = yield* place
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      const much = "x".repeat(20_000_000)
      const circuits = ["one", "two", "three"]
      yield* Effect.forEach(
        circuits,
        (circuit) => a.run(CircuitBreaker.isolate(circuit, circuit === "two" ? { actor: much, reason: "drill" } : {})),
        { concurrency: "unbounded" }
      )
      for (const circuit of circuits) yield* standsAt([b], "Isolated (fleet)", { circuit })
      const { cause } = yield* b.run(CircuitBreaker.inspect("two"))
      assert.deepStrictEqual([cause?.detail, cause?.actor?.length], ["drill", 10_000])
    })
  )
})

describe.each(servers)("%s that hangs", (database) => {
  const ground = onOwn(database)

  live(
    "lets the program end",
    Effect.gen(function* () {
      const { admin, open, wire } = yield* wired(ground)
      const a = yield* replica(yield* open)
      yield* areLive(admin, 1)
      for (let i = 0; i < 3; i++) yield* fails(a)
      yield* wire.hang
      const b = yield* replica(yield* open)
      const seen = [yield* impatient(Effect.as(a.end, "ended"), "3 seconds")]
      seen.push(yield* impatient(Effect.as(b.end, "ended"), "3 seconds"))
      yield* Effect.andThen(wire.mend, wire.cut)
      assert.deepStrictEqual(seen, ["ended", "ended"])
    })
  )

  for (let i = 0; i < 3; i++) {
    live(
      `lets people force a circuit at once, right after it began to (${i})`,
      Effect.gen(function* () {
        const { admin, open, wire } = yield* wired(ground)
        const a = yield* replica(yield* open)
        yield* areLive(admin, 1)
        yield* Effect.sleep(100 * i)
        yield* wire.hang
        const forced = Effect.as(a.run(CircuitBreaker.isolate("api")), "forced")
        const seen = yield* impatient(forced)
        yield* Effect.andThen(wire.mend, wire.cut)
        assert.strictEqual(seen, "forced")
      })
    )

    live(
      `lets a call through, or tells it no at once, when a probe is due (${i})`,
      Effect.gen(function* () {
        const { admin, open, wire } = yield* wired(ground)
        const a = yield* replica(yield* open, { syncInterval: "5 minutes" })
        yield* areLive(admin, 1)
        yield* a.run(CircuitBreaker.open("api", { for: 300 }))
        yield* until(
          "the cooldown is over",
          Effect.map(a.run(CircuitBreaker.inspect("api")), ({ retryAfter }) => String(retryAfter) === "0 millis")
        )
        yield* wire.hang
        const seen = new Set<string>()
        for (let n = 0; n < 5; n++) {
          seen.add(yield* impatient(works(a)))
          yield* Effect.sleep(100)
        }
        yield* Effect.andThen(wire.mend, wire.cut)
        for (const one of seen) assert.include(["ok", "ProbesBusy (fleet)"], one)
      })
    )
  }
})

describe.each(databases)("tables in %s", (database) => {
  const { place } = on(database)

  live(
    "that are emptied by hand, all of them, are used again",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const [a, b] = [yield* replica(sql), yield* replica(yield* open)]
      yield* areLive(sql, 2)
      for (const table of ["s", "_ballots", "_boxes", "_voters", "_rolls", "_store"])
        yield* say(sql, `DELETE FROM circuit_breaker${table}`)
      for (const one of [a, b]) yield* works(one)
      yield* trip([a, b])
    })
  )

  live(
    "that are lost are made again",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const [a, b] = [yield* replica(sql), yield* replica(yield* open)]
      yield* areLive(sql, 2)
      // PostgreSQL takes the views that need them with them, if it is told to.
      const word = database === "PostgreSQL" ? "CASCADE" : ""
      for (const table of ours) yield* say(sql, `DROP TABLE IF EXISTS ${table} ${word}`)
      yield* areTogether([a, b], "afterwards")
    })
  )

  for (const [what, ran] of [
    ["that nothing was run of yet", false],
    ["with migrations of its own", true]
  ] as const) {
    live(
      `are not entered in a table of migrations that is the program's own, ${what}`,
      Effect.gen(function* () {
        const { open } = yield* place
        const sql = yield* open
        const steps = ran ? { "0001_orders": say(sql, "CREATE TABLE orders (id INTEGER)") } : {}
        const own = Migrator.make({})({ loader: Migrator.fromRecord(steps), table: "shop_migrations" })
        yield* Effect.provideContext(own, sql)
        const exit = yield* Effect.exit(Effect.provideContext(SqlStore.migrate({ prefix: "shop" }), sql))
        const rows = yield* say(sql, "SELECT name FROM shop_migrations")
        assert.deepStrictEqual(
          rows.map(({ name }) => name),
          ran ? ["orders"] : []
        )
        const made = yield* ask(sql, "SELECT COUNT(*) FROM shop_store")
        assert.isTrue(made === 1 || Exit.isFailure(exit), "it says that all is well, and there are no tables")
      })
    )
  }

  live(
    "have a record of epoch 0 that counts as none, and is replaced",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const a = yield* replica(sql)
      yield* areLive(sql, 1)
      yield* say(sql, "INSERT INTO circuit_breakers VALUES ('api', 0, 'garbage', 1, 1, 1, NULL, NULL)")
      for (let i = 0; i < 5; i++) yield* fails(a)
      yield* a.run(CircuitBreaker.isolate("api"))
      yield* until(
        "it is replaced",
        Effect.map(say(sql, "SELECT body FROM circuit_breakers WHERE circuit = 'api'"), ([row]) =>
          String(row?.["body"]).includes("Isolated")
        )
      )
    })
  )
})
