import { assert, describe } from "@effect/vitest"
import { Context, type Duration, Effect, Exit, Fiber, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { CircuitBreaker } from "effect-fuse"
import { afterAll, beforeAll } from "vitest"
import { type PostgresServer, postgresServer } from "./support/postgresServer.ts"
import { fails, outcome, type Replica, standing, standsAt, trip, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisProxy } from "./support/redisProxy.ts"
import { ask, type Connection, connect, listening, living, onPostgres, replica, say } from "./support/sqlFleet.ts"

const scope = Effect.runSync(Scope.make())
let server: PostgresServer
beforeAll(async () => {
  server = await Effect.runPromise(Scope.provide(postgresServer, scope))
}, 180_000)
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

const postgres = Effect.suspend(() => onPostgres(server.url))

/** A database, a way to it, and a wire to it that can be slow, silent or cut. */
const wired = Effect.gen(function* () {
  const { open, url } = yield* postgres
  const wire = yield* redisProxy(server.port)
  const port = new URL(wire.url).port
  const through = connect(url.replace(`:${server.port}/`, `:${port}/`))
  // Clients say goodbye when they are closed.
  const opened = Effect.tap(through, () => Effect.addFinalizer(() => Effect.andThen(wire.mend, wire.cut)))
  return { admin: yield* open, open: opened, wire }
})

const allLive = (sql: Connection, n = 2) =>
  until(
    `${n} live`,
    Effect.map(living(sql), (seen) => seen === n)
  )

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
    assert.strictEqual(yield* impatient(one.run(outcome(CircuitBreaker.protect(Effect.die("bug"), circuit)))), "died")
    for (let i = 0; i < 4; i++) assert.strictEqual(yield* impatient(fails(one, { circuit })), "down")
    assert.strictEqual(yield* impatient(works(one, { circuit })), "Cooldown (local)")
    assert.strictEqual(yield* impatient(works(other, { circuit })), "ok")
  })

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

/** What is forced while nobody can be told holds here at once, and everywhere afterwards. */
const force = (one: Replica, circuit: string) =>
  Effect.gen(function* () {
    assert.strictEqual(yield* impatient(Effect.as(one.run(CircuitBreaker.isolate(circuit)), "forced")), "forced")
    assert.strictEqual(yield* impatient(works(one, { circuit })), "Isolated (local)")
  })

const transaction = <A, E>(sql: Connection, effect: Effect.Effect<A, E>) =>
  Context.get(sql, SqlClient.SqlClient).withTransaction(effect)

describe("PostgreSQL that", () => {
  live(
    "crashes takes nothing from callers, and is used again when it is back",
    Effect.gen(function* () {
      const { open } = yield* postgres
      const [sql, another] = [yield* open, yield* open]
      const [a, b] = [yield* replica(sql), yield* replica(another)]
      yield* allLive(sql)
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
      yield* allLive(sql)
      yield* areTogether([a, b], "afterwards")
      const fresh = yield* replica(yield* open)
      yield* standsAt([a, b, fresh], "Isolated (fleet)", { circuit: "forced meanwhile" })
      for (const one of [a, b, fresh]) assert.strictEqual(yield* works(one, { circuit: "before" }), "Cooldown (fleet)")
      assert.strictEqual(yield* standing(a, { circuit: "meanwhile" }), "Open (local)")
      for (const one of [b, fresh]) assert.strictEqual(yield* works(one, { circuit: "meanwhile" }), "ok")
      yield* until(
        "all listen again",
        Effect.map(listening(sql), (n) => n === 3)
      )
    })
  )

  live(
    "is not there when the program starts keeps it from nothing, and is used when it comes",
    Effect.gen(function* () {
      const { open } = yield* postgres
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
      const { admin, open, wire } = yield* wired
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      yield* allLive(admin)
      yield* wire.hang
      yield* isUnharmed(a, b, "meanwhile")
      yield* isUnharmed(b, a, "at the same time")
      yield* force(a, "forced")
      yield* wire.mend
      yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
      yield* areTogether([a, b], "afterwards")
      assert.strictEqual(yield* standing(a, { circuit: "meanwhile" }), "Open (local)")
      assert.strictEqual(yield* works(b, { circuit: "meanwhile" }), "ok")
    })
  )

  live(
    "hangs when the program starts keeps it from nothing, and is used when it goes on",
    Effect.gen(function* () {
      const { admin, open, wire } = yield* wired
      yield* (yield* replica(admin)).run(CircuitBreaker.isolate("forced"))
      yield* wire.hang
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      yield* isUnharmed(a, b, "meanwhile")
      yield* wire.mend
      yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
      yield* areTogether([a, b], "afterwards")
    })
  )

  live(
    "falls silent on connections that never end is heard again on new ones",
    Effect.gen(function* () {
      const { admin, open, wire } = yield* wired
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      yield* allLive(admin)
      yield* wire.hang
      yield* isUnharmed(a, b, "meanwhile")
      yield* wire.cut
      yield* isUnharmed(b, a, "still")
      yield* wire.mend
      yield* areTogether([a, b], "afterwards")
    })
  )

  live(
    "is too slow to be asked is as good as away, and is asked again when it is faster",
    Effect.gen(function* () {
      const { admin, open, wire } = yield* wired
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      yield* allLive(admin)
      yield* wire.delay(300)
      yield* isUnharmed(a, b, "meanwhile")
      yield* isUnharmed(b, a, "at the same time")
      yield* wire.delay(0)
      yield* areTogether([a, b], "afterwards")
    })
  )

  live(
    "is slow, but not too slow, makes one of many of what people say",
    Effect.gen(function* () {
      const { admin, open, wire } = yield* wired
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      yield* allLive(admin)
      yield* wire.delay(10)
      yield* areTogether([a, b], "api")
    })
  )

  live(
    "ends all connections is asked again on new ones",
    Effect.gen(function* () {
      const { open, url } = yield* postgres
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      const admin = yield* connect(url)
      yield* allLive(admin)
      for (let i = 0; i < 3; i++) {
        yield* say(
          admin,
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()`
        )
        yield* isUnharmed(a, b, `meanwhile ${i}`)
      }
      yield* areTogether([a, b], "afterwards")
      yield* until(
        "both listen again",
        Effect.map(listening(admin), (n) => n === 2)
      )
    })
  )

  live(
    "ends who listens is listened to again",
    Effect.gen(function* () {
      const { open } = yield* postgres
      const options = { syncInterval: "5 minutes" } as const
      const [a, b] = [yield* replica(yield* open, options), yield* replica(yield* open, options)]
      const admin = yield* open
      const both = until(
        "both listen",
        Effect.map(listening(admin), (n) => n === 2)
      )
      yield* both
      const pids = "SELECT MIN(pid) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'"
      for (let i = 0; i < 2; i++) {
        const before = yield* ask(admin, pids)
        yield* say(admin, `SELECT pg_terminate_backend(${before})`)
        yield* isUnharmed(a, b, `meanwhile ${i}`)
        // It is still among them for a moment.
        yield* until(
          "it is gone",
          Effect.map(ask(admin, `SELECT COUNT(*) FROM pg_stat_activity WHERE pid = ${before}`), (n) => Number(n) === 0)
        )
        yield* both
        yield* a.run(CircuitBreaker.isolate(`of a ${i}`))
        yield* b.run(CircuitBreaker.isolate(`of b ${i}`))
        yield* standsAt([a, b], "Isolated (fleet)", { circuit: `of a ${i}` })
        yield* standsAt([a, b], "Isolated (fleet)", { circuit: `of b ${i}` })
      }
    })
  )

  live(
    "has no connection left takes nothing from callers, also within their own transactions",
    Effect.gen(function* () {
      const { url } = yield* postgres
      const [sql, another] = [yield* connect(url), yield* connect(url)]
      const [a, b] = [yield* replica(sql), yield* replica(another)]
      yield* allLive(another)
      // Of four one listens.
      const held = yield* Effect.forEach([1, 2, 3], () =>
        Effect.forkChild(transaction(sql, Effect.andThen(say(sql, "SELECT 1"), Effect.never)))
      )
      yield* until(
        "all are held",
        Effect.map(
          ask(
            another,
            "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND query = 'SELECT 1'"
          ),
          (n) => n === 3
        )
      )
      yield* isUnharmed(a, b, "meanwhile")
      yield* force(a, "forced")
      yield* Fiber.interruptAll(held)
      yield* transaction(sql, isUnharmed(a, b, "within"))
      yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
      yield* areTogether([a, b], "afterwards")
    })
  )

  live(
    "has all of its one connection in use still serves who listens on none",
    Effect.gen(function* () {
      const { open, url } = yield* postgres
      const sql = yield* connect(url, { maxConnections: 1 })
      const a = yield* replica(sql)
      const b = yield* replica(yield* open)
      yield* isUnharmed(a, b, "api")
      yield* transaction(sql, isUnharmed(b, a, "within")).pipe(Effect.timeoutOption("3 seconds"))
    })
  )

  live(
    "keeps somebody else's lock on the tables takes nothing from callers",
    Effect.gen(function* () {
      const { open } = yield* postgres
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      const admin = yield* open
      yield* allLive(admin)
      for (const [i, lock] of [
        "LOCK TABLE circuit_breakers, circuit_breaker_voices, circuit_breaker_ballots IN ACCESS EXCLUSIVE MODE",
        "UPDATE circuit_breaker_eras SET era = era WHERE id = 1"
      ].entries()) {
        const holds = yield* Effect.forkChild(transaction(admin, Effect.andThen(say(admin, lock), Effect.never)))
        yield* until(
          "it is held",
          Effect.map(
            ask(admin, "SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"),
            (n) => n >= 1
          )
        )
        yield* force(a, `forced ${i}`)
        yield* isUnharmed(a, b, `meanwhile ${i}`)
        yield* Fiber.interrupt(holds)
        yield* standsAt([a, b], "Isolated (fleet)", { circuit: `forced ${i}` })
        yield* areTogether([a, b], `afterwards ${i}`)
      }
      yield* until(
        "nobody waits for anything any more",
        Effect.map(ask(admin, "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), (n) => n === 0)
      )
    })
  )

  for (const level of ["repeatable read", "serializable"]) {
    live(
      `is ${level} by default makes one of many that all decide at once`,
      Effect.gen(function* () {
        const { open, url } = yield* postgres
        yield* say(
          yield* open,
          `ALTER DATABASE ${url.replace(/.*\//, "")} SET default_transaction_isolation TO '${level}'`
        )
        const replicas = yield* Effect.all([0, 1, 2, 3].map(() => Effect.flatMap(connect(url), (sql) => replica(sql))))
        const [a, b] = replicas
        assert(a !== undefined && b !== undefined)
        const keys = Array.from({ length: 12 }, (_, i) => `k${i}`)
        yield* allLive(yield* connect(url), 4)
        yield* Effect.forEach(
          replicas,
          (one, i) =>
            Effect.forEach(
              keys,
              (key) =>
                Effect.gen(function* () {
                  for (let n = 0; n < 3; n++)
                    assert.include(["down", "Cooldown (fleet)"], yield* impatient(fails(one, { key })))
                  yield* one.run(CircuitBreaker.isolate("forced", { key: `${key} ${i}` }))
                }),
              { concurrency: "unbounded", discard: true }
            ),
          { concurrency: "unbounded", discard: true }
        )
        for (const key of keys) {
          for (let i = 0; i < 4; i++) {
            yield* standsAt(replicas, "Isolated (fleet)", { circuit: "forced", key: `${key} ${i}` })
          }
        }
        yield* areTogether(replicas, "afterwards")
      })
    )
  }
})
