import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { CircuitBreaker } from "effect-fuse"
import * as SqlStore from "effect-fuse/SqlStore"
import { vi } from "vitest"
import { databases, type Ground, on, onOwn, servers } from "./support/databases.ts"
import { fails, hangs, type Replica, standing, standsAt, trip, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import {
  areLive,
  ask,
  type Connection,
  listen,
  living,
  onSqlite,
  type Place,
  replica,
  say,
  transaction
} from "./support/sqlFleet.ts"
import { wild } from "./support/wild.ts"

/** A store that is young opens nothing, because it may not know all processes yet. */
const inUseForLong = "UPDATE circuit_breaker_store SET born_at = 1"

/** Thousands of calls of a hundred keys. */
const manyCalls = (one: Replica) =>
  Effect.gen(function* () {
    for (let round = 0; round < 60; round++) {
      for (let key = 0; key < 100; key++) {
        // One failure alone is no suspicion.
        if (round < 2) yield* fails(one, { key: `customer ${key}` })
        yield* works(one, { key: `customer ${key}` })
      }
      yield* Effect.sleep(5)
    }
    return 6_000
  })

/** Where a fleet is, and what its table of voters is called. */
type Tables = SqlStore.TableOptions & { readonly voters: string }

/** Fleets of these tables of one database, none of which hears of another: not at once, and not by what it lists at first. */
const neverMeet = (
  { connect, place }: Ground,
  of: (made: Place) => Effect.Effect<ReadonlyArray<Tables>, never, Scope.Scope>
) =>
  Effect.gen(function* () {
    const made = yield* place
    const { open } = made
    const places = yield* of(made)
    // The first of each fleet share a client, of which each may keep a connection for itself.
    const sql = yield* connect(made.url, { maxConnections: 4 + places.length })
    const join = (
      { prefix, schema }: SqlStore.TableOptions,
      on: Effect.Effect<Connection, never, Scope.Scope> = open
    ) => Effect.flatMap(on, (sql) => replica(sql, { prefix, schema }))
    const fleets: Array<ReadonlyArray<Replica>> = []
    for (const options of places) fleets.push([yield* join(options, Effect.succeed(sql)), yield* join(options)])
    for (const [i, fleet] of fleets.entries()) {
      yield* until(
        "both live",
        Effect.map(living(sql, places[i]?.voters), (n) => n === 2)
      )
      const [first] = fleet
      assert(first !== undefined)
      yield* first.run(CircuitBreaker.isolate(`circuit ${i}`))
      yield* standsAt(fleet, "Isolated (fleet)", { circuit: `circuit ${i}` })
    }
    for (const [i, options] of places.entries()) {
      const fresh = yield* join(options)
      yield* standsAt([fresh], "Isolated (fleet)", { circuit: `circuit ${i}` })
      for (const one of [...(fleets[i] ?? []), fresh]) {
        for (const j of places.keys()) {
          if (j !== i) assert.strictEqual(yield* works(one, { circuit: `circuit ${j}` }), "ok")
        }
      }
      yield* until(
        "all three live",
        Effect.map(living(sql, options.voters), (n) => n === 3)
      )
    }
  })

describe.each(databases)("circuits on %s", (database) => {
  const ground = on(database)
  const { place, quoted } = ground

  live(
    "open together on fewer failures than each would need, and close together after one probe",
    Effect.gen(function* () {
      const { open } = yield* place
      const policy = { trip: { _tag: "Consecutive", failures: 100 }, cooldown: "1 second" } as const
      const replicas = yield* Effect.all([0, 1, 2].map(() => Effect.flatMap(open, (sql) => replica(sql, { policy }))))
      yield* areLive(yield* open, 3)
      for (const one of replicas) assert.strictEqual(yield* works(one), "ok")
      yield* trip(replicas)
      for (const one of replicas) {
        const { cause, openings, totals } = yield* one.run(CircuitBreaker.inspect("api"))
        assert.match(cause?.detail ?? "", /in [23] of 3 processes together$/)
        assert.isBelow(totals.failures, 100)
        assert.strictEqual(openings, 1)
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
      for (let i = 0; i < 10; i++) assert.strictEqual(yield* fails(b, { circuit: "disabled" }), "down")
      for (const one of [a, b, fresh]) yield* one.end
      const next = yield* replica(yield* open)
      yield* standsAt([next], "Isolated (fleet)", { circuit: "isolated", key: "k" })
      assert.strictEqual(yield* works(next, { circuit: "isolated" }), "ok")
      const other = yield* replica(yield* open)
      yield* next.run(CircuitBreaker.release("isolated", { key: "k" }))
      yield* standsAt([next, other], "Closed (local)", { circuit: "isolated", key: "k" })
    })
  )

  live(
    "of several prefixes never meet",
    neverMeet(ground, () =>
      Effect.succeed([
        { prefix: "a", voters: "a_voters" },
        { prefix: "A_b", voters: quoted("A_b_voters") },
        { prefix: "a_bc", voters: "a_bc_voters" }
      ])
    )
  )

  live(
    "may have any name and key, and no two of these are one",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const a = yield* replica(sql)
      const calls = [
        { circuit: "api", key: undefined },
        { circuit: "api", key: "" },
        ...wild.map((key) => ({ circuit: "api", key })),
        ...wild.filter((text) => text !== "api").map((circuit) => ({ circuit, key: undefined }))
      ]
      for (const { circuit, key } of calls) {
        const reason = `of ${circuit} ${key}`
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
      for (const text of ["aPI", "api   ", "Straße", "апи", "another"]) {
        assert.strictEqual(yield* works(fresh, { circuit: text }), "ok")
        assert.strictEqual(yield* works(fresh, { key: text }), "ok")
      }
    })
  )

  live(
    "hold what was decided within a transaction of the caller's that is rolled back",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const policy = { cooldown: 200 }
      // SQLite's clients would wait for one another, and the whole program with them.
      const another = database === "SQLite" ? sql : yield* open
      const [a, b] = [yield* replica(sql, { policy }), yield* replica(another, { policy })]
      yield* areLive(sql, 2)
      yield* say(sql, "CREATE TABLE orders (id INTEGER)")
      const rolledBack = <A, E>(effect: Effect.Effect<A, E>) =>
        Effect.exit(
          transaction(
            sql,
            Effect.andThen(Effect.andThen(say(sql, "INSERT INTO orders VALUES (1)"), effect), (seen) =>
              Effect.fail(seen)
            )
          )
        )
      // Others have it before the transaction ends, but where there is one connection for all.
      const written = until(
        "others have it",
        Effect.map(ask(another, "SELECT COUNT(*) FROM circuit_breakers WHERE circuit = 'forced'"), (n) => n === 1)
      )
      const shown = database === "SQLite" ? Effect.void : written
      const during = yield* rolledBack(Effect.andThen(a.run(CircuitBreaker.isolate("forced")), shown))
      assert.isTrue(Exit.isFailure(during))
      yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
      yield* a.run(CircuitBreaker.open("api", { for: 300 }))
      yield* standsAt([b], "Open (fleet)")
      yield* until(
        "the cooldown is over",
        Effect.map(a.run(CircuitBreaker.inspect("api")), ({ retryAfter }) => String(retryAfter) === "0 millis")
      )
      yield* until(
        "a probe found it well",
        Effect.map(rolledBack(works(a)), (exit) => Exit.isFailure(exit) && String(exit.cause).includes("ok"))
      )
      yield* standsAt([a, b], "Closed (local)")
      const fresh = yield* replica(yield* open)
      yield* standsAt([fresh], "Isolated (fleet)", { circuit: "forced" })
      assert.strictEqual(yield* works(fresh), "ok")
      assert.strictEqual(yield* ask(sql, "SELECT COUNT(*) FROM orders"), 0)
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
        `INSERT INTO circuit_breakers VALUES ('old', 1, '{}', 1, 1, 1, ${past}, ${past}),
          ('new', 2, '{}', 0, 0, 1, ${later}, ${later})`
      )
      yield* say(sql, `INSERT INTO circuit_breaker_ballots VALUES ('old', 'v', 'b', 0, 0, '1', ${past})`)
      yield* say(
        sql,
        `INSERT INTO circuit_breaker_boxes VALUES ('old', 'b', 0, 1, '1', 1, 0, 0, 0, 0, 1, ${past}, ${past})`
      )
      yield* say(sql, `INSERT INTO circuit_breaker_voters VALUES ('old', 1, 0, ${past}, NULL)`)
      // Each process begins by sweeping.
      yield* replica(yield* open)
      yield* until(
        "all of it is gone",
        Effect.map(
          ask(
            sql,
            `SELECT (SELECT COUNT(*) FROM circuit_breakers WHERE circuit = 'old')
              + (SELECT COUNT(*) FROM circuit_breaker_ballots) + (SELECT COUNT(*) FROM circuit_breaker_boxes)
              + (SELECT COUNT(*) FROM circuit_breaker_voters WHERE voter = 'old')`
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
    "give a place for a probe to one of many",
    Effect.gen(function* () {
      const { open } = yield* place
      const replicas = yield* Effect.all([0, 1, 2, 3].map(() => Effect.flatMap(open, replica)))
      const [first] = replicas
      assert(first !== undefined)
      yield* areLive(yield* open, 4)
      yield* first.run(CircuitBreaker.open("api", { for: 300 }))
      yield* standsAt(replicas, "Open (fleet)")
      let probes = 0
      // A process to which the store does not answer in time probes alone.
      const probing = (seen: ReadonlyArray<CircuitBreaker.Inspection>) =>
        seen.filter(({ inFlight, scope }) => inFlight > 0 && scope === "fleet").length
      yield* Effect.forEach(
        replicas,
        (one) => Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(20), hangs(one)))),
        { discard: true }
      )
      yield* until(
        "one probes",
        Effect.gen(function* () {
          const seen = yield* Effect.forEach(replicas, (one) => one.run(CircuitBreaker.inspect("api")))
          probes = Math.max(probes, probing(seen))
          return probes > 0 && seen.every(({ state }) => state === "HalfOpen")
        })
      )
      for (let i = 0; i < 20; i++) {
        const seen = yield* Effect.forEach(replicas, (one) => one.run(CircuitBreaker.inspect("api")))
        probes = Math.max(probes, probing(seen))
        yield* Effect.sleep(20)
      }
      assert.strictEqual(probes, 1)
    })
  )
})

describe.each(servers)("circuits on %s", (database) => {
  const ground = onOwn(database)
  const { quoted, schema } = ground

  live(
    "of several schemas never meet, whatever their prefix",
    neverMeet(ground, (made) =>
      Effect.gen(function* () {
        const [one, two] = [yield* schema("one", made), yield* schema("Two", made)]
        return [
          { voters: "circuit_breaker_voters" },
          { schema: one, voters: `${quoted(one)}.circuit_breaker_voters` },
          { schema: two, voters: `${quoted(two)}.circuit_breaker_voters` },
          { prefix: "shop", voters: "shop_voters" },
          { prefix: "shop", schema: two, voters: `${quoted(two)}.shop_voters` }
        ]
      })
    )
  )
})

/** The same client, as if it could not listen. */
const deaf = (context: Connection): Connection =>
  Context.make(
    SqlClient.SqlClient,
    new Proxy(Context.get(context, SqlClient.SqlClient), {
      get: (sql, name) => (name === "listen" ? undefined : Reflect.get(sql, name)),
      has: (sql, name) => name !== "listen" && Reflect.has(sql, name)
    })
  )

describe.each(databases)("circuits on %s, where nothing is announced,", (database) => {
  const { place } = on(database)

  live(
    "are opened by a majority of processes that poll, long before the next heartbeat",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      yield* Effect.provideContext(SqlStore.migrate(), sql)
      yield* say(sql, `${inUseForLong}, life = 'long'`)
      const options = { syncInterval: "5 minutes", pollInterval: 100 } as const
      const replicas = yield* Effect.forEach([0, 1, 2, 3, 4], () =>
        Effect.flatMap(open, (client) => replica(deaf(client), options))
      )
      yield* areLive(sql, 5)
      const [a, b, ...idle] = replicas
      assert(a !== undefined && b !== undefined)
      // From when on each polls is its own affair.
      for (const [i, one] of replicas.entries()) {
        yield* until(
          `${i} polls`,
          Effect.gen(function* () {
            const by = i === 0 ? b : a
            yield* by.run(CircuitBreaker.release(`first ${i}`))
            yield* by.run(CircuitBreaker.isolate(`first ${i}`))
            yield* Effect.sleep(200)
            return (yield* standing(one, { circuit: `first ${i}` })) === "Isolated (fleet)"
          })
        )
      }
      for (const one of [a, b]) yield* works(one)
      // Two of five are no majority, unless the others abstain.
      yield* trip([a, b])
      yield* standsAt(idle, "Open (fleet)")
    })
  )
})

describe("circuits on PostgreSQL", () => {
  const { place } = onOwn("PostgreSQL")

  live(
    "cost a list an interval while they are healthy, and not a transaction a call",
    Effect.gen(function* () {
      const { open, url: own } = yield* place
      const outside = yield* (yield* place).open
      const name = own.replace(/.*\//, "")
      const calls = yield* Effect.scoped(
        Effect.flatMap(open, (sql) => Effect.flatMap(replica(sql, { syncInterval: 100 }), manyCalls))
      )
      yield* until(
        "no client is connected, and all is counted",
        Effect.map(ask(outside, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '${name}'`), (n) => n === 0)
      )
      const transactions = yield* ask(
        outside,
        `SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = '${name}'`
      )
      assert.isAtLeast(transactions, 5)
      assert.isBelow(transactions, calls / 10)
    })
  )

  for (const [what, reason] of [
    ["at once", "drill"],
    ["at once, also where it is longer than a notification may be", "ж".repeat(5_000)]
  ] as const) {
    live(
      `are heard of ${what}`,
      Effect.gen(function* () {
        const { open } = yield* place
        const options = { syncInterval: "5 minutes" } as const
        const [a, b] = [yield* replica(yield* open, options), yield* replica(yield* open, options)]
        yield* listen(yield* open, 2)
        yield* a.run(CircuitBreaker.isolate("api", { reason, actor: "ann" }))
        yield* standsAt([b], "Isolated (fleet)")
        const { cause } = yield* b.run(CircuitBreaker.inspect("api"))
        assert.strictEqual(cause?.detail, (yield* a.run(CircuitBreaker.inspect("api"))).cause?.detail)
        yield* a.run(CircuitBreaker.release("api"))
        yield* standsAt([b], "Closed (local)")
        // Who is asked for a ballot hears of that, too: one of two alone decides nothing.
        yield* say(yield* open, inUseForLong)
        yield* works(a)
        yield* works(b)
        yield* trip([a, b])
      })
    )
  }
})

describe("circuits on SQLite", () => {
  live(
    "cost nothing but heartbeats and pages while they are healthy",
    Effect.gen(function* () {
      const { open } = yield* onSqlite
      const one = yield* replica(yield* open, { syncInterval: "2 seconds" })
      yield* until(
        "it began",
        Effect.map(standing(one), (seen) => seen === "Closed (local)")
      )
      yield* Effect.sleep(300)
      const prepare = yield* Effect.acquireRelease(
        Effect.sync(() => vi.spyOn(DatabaseSync.prototype, "prepare")),
        (spy) => Effect.sync(() => spy.mockRestore())
      )
      const calls = yield* manyCalls(one)
      yield* until(
        "a heartbeat and a page",
        Effect.sync(() => prepare.mock.calls.length >= 3)
      )
      const seen = prepare.mock.calls.map(([text]) => text.trim().replaceAll(/\s+/g, " "))
      assert.isBelow(seen.length, calls / 10)
      for (const text of seen) {
        assert.match(text, /^UPDATE "circuit_breaker_voters"|^SELECT 'store' AS kind/)
      }
    })
  )
})

describe("options", () => {
  const wrong = [
    [{ prefix: "" }, ["prefix"]],
    [{ prefix: "a-b" }, ["prefix"]],
    [{ prefix: "1a" }, ["prefix"]],
    [{ prefix: "x".repeat(41) }, ["prefix"]],
    [{ prefix: 7 as never }, ["prefix"]],
    [{ schema: "a.b" }, ["schema"]],
    [{ migrate: "yes" as never }, ["migrate"]],
    [{ prefix: 'a"', schema: "" }, ["prefix", "schema"]]
  ] as const
  const wrongForLayer = [
    [{ syncInterval: "0 seconds" }, ["syncInterval"]],
    [{ maxCircuits: 0 }, ["maxCircuits"]],
    [{ process: "" }, ["process"]],
    [{ process: "a b", prefix: "a b" }, ["prefix", "process"]]
  ] as const

  const forms = [
    ["migrate", SqlStore.migrate],
    ["make", SqlStore.make],
    ["connect", (options: object) => SqlStore.connect(Layer.empty as never, options)],
    ["layer", SqlStore.layer],
    ["layerConnect", (options: object) => SqlStore.layerConnect(Layer.empty as never, options)]
  ] as const
  for (const [name, call] of forms) {
    it(`that are wrong are named by ${name}`, () => {
      const all = name.startsWith("layer") ? [...wrong, ...wrongForLayer] : wrong
      for (const [options, paths] of all) {
        if (name === "migrate" && "migrate" in options) continue
        const all = paths.map((path) => `${path}: expected .*`).join("; ")
        assert.throws(() => call(options as object), RangeError, new RegExp(`^SqlStore.${name}: ${all}$`))
      }
    })
  }
})
