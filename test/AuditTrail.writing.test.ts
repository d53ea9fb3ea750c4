import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, MemoryStore, type SharedStore } from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import * as Operator from "effect-fuse/Operator"
import { type Audited, audited, lines, written } from "./support/audited.ts"
import { databases, on, onOwn, servers } from "./support/databases.ts"
import { until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { connect, type Place } from "./support/sqlFleet.ts"
import { sqliteTrails } from "./support/sqliteTrail.ts"
import { fail, play, succeed } from "./support/verbs.ts"

const nowhere = connect("postgres://postgres@127.0.0.1:1/none")

/** A program on a shared store, whose trail is written when the test says so or soon, with the others' of one database. */
const processOf = ({ open }: Place, shared: SharedStore.SharedStore, process: string, options?: AuditTrail.Options) =>
  Effect.flatMap(open, (sql) => {
    const store = Layer.orDie(BreakerStore.layerShared(shared, { process, syncInterval: "100 millis" }))
    return audited(sql, { process, ...options }, store)
  })

/** Three processes that share circuits and have one trail. */
const fleet = (place: Place) =>
  Effect.gen(function* () {
    const shared = yield* MemoryStore.make
    const processes = yield* Effect.forEach(["a", "b", "c"], (process) => processOf(place, shared, process))
    return { shared, processes }
  })

const allAre = (
  processes: ReadonlyArray<Audited>,
  state: string,
  keys: ReadonlyArray<string | undefined> = [undefined]
) =>
  Effect.forEach(processes, (one) =>
    until(
      `all are ${state}`,
      Effect.map(
        Effect.forEach(keys, (key) => Effect.provideContext(CircuitBreaker.state("api", { key }), one)),
        (states) => states.every((now) => now === state)
      )
    )
  )

describe.each(databases)("a trail in %s", (database) => {
  const { place } = on(database)

  live(
    "has each line of a fleet once, whose processes write of the same circuits at once",
    Effect.gen(function* () {
      const made = yield* place
      const shared = yield* MemoryStore.make
      const program = (process: string) => processOf(made, shared, process, { flushInterval: "5 minutes" })
      const [a, b] = [yield* program("a"), yield* program("b")]
      const keys = Array.from({ length: 200 }, (_, i) => `${i}`)
      for (let round = 0; round < 5; round++) {
        for (const key of keys) yield* Effect.provideContext(CircuitBreaker.isolate("api", { key }), a)
        yield* allAre([b], "Isolated", keys)
        // Of two lines of the same millisecond either may be the last.
        yield* Effect.sleep(5)
        for (const key of keys.toReversed()) yield* Effect.provideContext(CircuitBreaker.release("api", { key }), b)
        yield* allAre([a], "Closed", keys)
        yield* Effect.sleep(5)
        yield* Effect.all(
          [a, b].map((program) => Effect.provideContext(AuditTrail.flush, program)),
          { concurrency: "unbounded" }
        )
      }
      const stats = yield* Effect.forEach([a, b], (program) => Effect.provideContext(AuditTrail.stats, program))
      const all = yield* Effect.provideContext(lines, a)
      assert.strictEqual(
        all,
        stats.reduce((sum, { written }) => sum + written, 0)
      )
      assert.isAtLeast(all, 5 * 2 * keys.length)
      assert.deepStrictEqual(yield* Effect.provideContext(AuditTrail.forced, a), [])
    }),
    60_000
  )
})

describe.each(servers)("a trail in %s", (database) => {
  const ground = onOwn(database)

  live(
    "is written when the database comes, and when it is back, each line once",
    Effect.gen(function* () {
      const { kill, start } = yield* ground.server
      const { open } = yield* ground.place
      const sql = yield* open
      yield* kill
      yield* Effect.addFinalizer(() => Effect.andThen(kill, start))
      yield* Effect.gen(function* () {
        for (let i = 0; i < 3; i++) yield* CircuitBreaker.isolate("api", { key: `before ${i}` })
        yield* Effect.sleep("200 millis")
        assert.deepStrictEqual(yield* AuditTrail.stats, { written: 0, pending: 3, dropped: 0 })
        yield* start
        yield* written(3)
        yield* kill
        for (let i = 0; i < 3; i++) yield* CircuitBreaker.isolate("api", { key: `between ${i}` })
        assert.strictEqual((yield* succeed({ name: "unharmed" }))._tag, "Success")
        yield* Effect.sleep("200 millis")
        yield* start
        yield* written(6)
        assert.strictEqual((yield* AuditTrail.forced).length, 6)
        assert.strictEqual(yield* lines, 6)
      }).pipe((test) => Effect.flatMap(audited(sql), (context) => Effect.provideContext(test, context)))
    }),
    60_000
  )
})

describe("a trail", () => {
  const { place } = on("PostgreSQL")

  live(
    "has each of ten thousand transitions exactly once",
    Effect.gen(function* () {
      const { open } = yield* place
      const n = 5_000
      yield* Effect.gen(function* () {
        for (let i = 0; i < n; i++) {
          yield* CircuitBreaker.isolate("api", { key: `${i % 500}` })
          yield* CircuitBreaker.release("api", { key: `${i % 500}` })
        }
        yield* written(2 * n)
        assert.deepInclude(yield* AuditTrail.stats, { written: 2 * n, dropped: 0 })
        assert.strictEqual(yield* lines, 2 * n)
      }).pipe(Effect.provideContext(yield* audited(yield* open)))
    }),
    60_000
  )

  live(
    "is the same when answers get lost: what was written is not written again",
    Effect.gen(function* () {
      const { open } = yield* place
      const inner = Context.get(yield* open, SqlClient.SqlClient)
      let lost = 0
      // Commits, and then says that it failed.
      const deaf: SqlClient.SqlClient = Object.assign(
        (...args: Parameters<SqlClient.SqlClient>) =>
          (inner as unknown as (...args: ReadonlyArray<unknown>) => never)(...args),
        inner,
        {
          withTransaction: (effect: Effect.Effect<unknown, unknown, never>) =>
            Effect.flatMap(inner.withTransaction(effect), (answer) =>
              lost++ < 3
                ? Effect.fail(
                    new SqlError.SqlError({
                      reason: new SqlError.ConnectionError({ cause: "lost", message: "lost" })
                    })
                  )
                : Effect.succeed(answer)
            )
        }
      ) as never
      yield* Effect.gen(function* () {
        yield* written(0)
        for (let i = 0; i < 4; i++) {
          yield* CircuitBreaker.isolate("api", { key: `${i}` })
          yield* Effect.sleep("100 millis")
        }
        yield* written(4)
        assert.isAbove(lost, 3)
        for (let i = 0; i < 4; i++) {
          assert.strictEqual((yield* AuditTrail.history("api", { key: `${i}` })).length, 1)
        }
      }).pipe(Effect.provideContext(yield* audited(Context.make(SqlClient.SqlClient, deaf))))
    }),
    60_000
  )

  live(
    "keeps at most its limit while the database is away, and counts what it dropped",
    Effect.gen(function* () {
      yield* Effect.gen(function* () {
        for (let i = 0; i < 25; i++) yield* CircuitBreaker.isolate("api", { key: `${i}` })
        assert.deepStrictEqual(yield* AuditTrail.stats, { written: 0, pending: 10, dropped: 15 })
      }).pipe(Effect.provideContext(yield* audited(yield* nowhere, { maxPending: 10 })))
    })
  )

  live(
    "has what a fleet did once, though all its processes write",
    Effect.gen(function* () {
      const { processes } = yield* fleet(yield* place)
      const [a, b] = processes
      assert(a !== undefined && b !== undefined)
      yield* Effect.provideContext(CircuitBreaker.isolate("api", { actor: "ann" }), a)
      yield* allAre(processes, "Isolated")
      // Entries that two processes write within one millisecond have no order.
      yield* Effect.sleep(5)
      yield* Effect.provideContext(CircuitBreaker.release("api", { actor: "bob" }), b)
      yield* allAre(processes, "Closed")
      for (const one of processes) yield* Effect.provideContext(AuditTrail.flush, one)
      const entries = yield* Effect.provideContext(AuditTrail.history("api"), a)
      assert.deepStrictEqual(
        entries.map(({ actor, scope, to }) => [to, actor, scope]),
        [
          ["Closed", "bob", "fleet"],
          ["Isolated", "ann", "fleet"]
        ]
      )
      assert.deepStrictEqual(yield* Effect.provideContext(AuditTrail.forced, a), [])
    }),
    60_000
  )

  live(
    "has each operator action from outside the fleet once, with its end and its actor",
    Effect.gen(function* () {
      const { processes, shared } = yield* fleet(yield* place)
      const [a] = processes
      assert(a !== undefined)
      for (const one of processes) yield* Effect.provideContext(succeed(), one)
      const by = { actor: "ann", process: "console" }
      yield* Operator.isolate(shared, "api", { ...by, reason: "drill", for: "300 millis" })
      yield* allAre(processes, "Isolated")
      yield* allAre(processes, "Closed")
      for (const one of processes) yield* Effect.provideContext(succeed(), one)
      yield* Effect.sleep(5)
      yield* Operator.open(shared, "api", { ...by, for: "1 hour" })
      yield* allAre(processes, "Open")
      yield* Operator.reset(shared, "api", by)
      yield* allAre(processes, "Closed")
      for (const one of processes) yield* Effect.provideContext(AuditTrail.flush, one)
      const entries = yield* Effect.provideContext(AuditTrail.history("api"), a)
      assert.deepStrictEqual(
        entries.map(({ actor, process, to, why }) => [to, why, actor, process]),
        [
          ["Closed", "Reset", "ann", "console"],
          ["Open", "OpenedByHand", "ann", "console"],
          ["Closed", "Expired", undefined, "console"],
          ["Isolated", "Isolated", "ann", "console"]
        ]
      )
    }),
    60_000
  )

  live(
    "delays no caller while the database hangs, nor the end of the program",
    Effect.gen(function* () {
      yield* Effect.gen(function* () {
        yield* play("FF")
        assert.strictEqual((yield* AuditTrail.stats).pending, 1)
      }).pipe(Effect.provideContext(yield* audited(yield* nowhere)))
    })
  )
})

const { database, trail } = sqliteTrails()

describe("A trail in SQLite", () => {
  it.effect("writes after `flushInterval`", () =>
    Effect.gen(function* () {
      yield* AuditTrail.flush
      yield* fail()
      yield* TestClock.adjust("59 seconds")
      assert.deepInclude(yield* AuditTrail.stats, { written: 0, pending: 1 })
      yield* TestClock.adjust("2 seconds")
      assert.deepInclude(yield* AuditTrail.stats, { written: 1, pending: 0 })
    }).pipe(Effect.provide(trail({ flushInterval: "1 minute" })))
  )

  it.live("names the process that owns a local state", () =>
    Effect.gen(function* () {
      yield* fail()
      yield* AuditTrail.flush
      const [standing] = yield* AuditTrail.openNow
      assert.match(standing?.owner ?? "", /^shop~/)
    }).pipe(Effect.provide(trail({ process: "shop" })))
  )

  it.live("can be read from tables with another prefix", () => {
    const file = database()
    const reader = AuditTrail.layerReader({ prefix: "other" })
    return Effect.gen(function* () {
      yield* Effect.provide(AuditTrail.openNow, reader)
      const sql = yield* SqlClient.SqlClient
      assert.deepStrictEqual(yield* sql`SELECT * FROM other_events`, [])
    }).pipe(Effect.provide(file))
  })
})
