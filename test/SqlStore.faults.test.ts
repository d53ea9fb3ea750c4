import { assert, describe } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { onOwn, servers } from "./support/databases.ts"
import { fails, standing, standsAt, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import {
  areLive,
  ask,
  type Connection,
  connect,
  listen,
  listening,
  replica,
  say,
  transaction
} from "./support/sqlFleet.ts"
import { areTogether, areTogetherInTheEnd, force, impatient, isUnharmed } from "./support/unharmed.ts"
import { wired } from "./support/wired.ts"

/** Keeps a transaction open after a statement, from now on until it is interrupted. */
const held = (sql: Connection, statement: string) =>
  Effect.gen(function* () {
    const began = yield* Deferred.make<void>()
    const never = Effect.andThen(Deferred.succeed(began, undefined), Effect.never)
    const fiber = yield* Effect.forkChild(transaction(sql, Effect.andThen(say(sql, statement), never)))
    yield* Deferred.await(began)
    return fiber
  })

describe.each(servers)("%s that", (database) => {
  const ground = onOwn(database)
  const { place } = ground

  live(
    "crashes takes nothing from callers, and is used again when it is back",
    Effect.gen(function* () {
      const server = yield* ground.server
      const { open } = yield* place
      const [sql, another] = [yield* open, yield* open]
      const [a, b] = [yield* replica(sql), yield* replica(another)]
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
      assert.strictEqual(yield* standing(a, { circuit: "meanwhile" }), "Open (local)")
      for (const one of [b, fresh]) assert.strictEqual(yield* works(one, { circuit: "meanwhile" }), "ok")
      if (ground.listening > 0) yield* listen(sql, 3)
    })
  )

  live(
    "is not there when the program starts keeps it from nothing, and is used when it comes",
    Effect.gen(function* () {
      const server = yield* ground.server
      const { open } = yield* place
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
      const { admin, open, wire } = yield* wired(ground)
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      yield* areLive(admin)
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
      const { admin, open, wire } = yield* wired(ground)
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
      const { admin, open, wire } = yield* wired(ground)
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      yield* areLive(admin)
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
      const { admin, open, wire } = yield* wired(ground)
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      yield* areLive(admin)
      yield* wire.delay(300)
      yield* isUnharmed(a, b, "meanwhile")
      yield* isUnharmed(b, a, "at the same time")
      yield* wire.delay(0)
      yield* areTogether([a, b], "afterwards")
    })
  )

  live(
    "is slow, but answers in time, still lets processes agree",
    Effect.gen(function* () {
      const { admin, open, wire } = yield* wired(ground)
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      yield* areLive(admin)
      yield* wire.delay(4)
      yield* areTogetherInTheEnd([a, b], "api")
    })
  )

  live(
    "ends all connections is asked again on new ones",
    Effect.gen(function* () {
      const { open, url } = yield* place
      const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
      const admin = yield* ground.connect(url, { maxConnections: 1 })
      yield* areLive(admin)
      for (let i = 0; i < 3; i++) {
        yield* ground.endOthers(admin)
        yield* isUnharmed(a, b, `meanwhile ${i}`)
      }
      yield* areTogether([a, b], "afterwards")
      if (ground.listening > 0) yield* listen(admin, 2)
    })
  )

  live(
    "has no connection left takes nothing from callers, also within their own transactions",
    Effect.gen(function* () {
      const { open, url } = yield* place
      const [sql, another] = [yield* ground.connect(url, { maxConnections: 4 }), yield* open]
      const [a, b] = [yield* replica(sql), yield* replica(another)]
      yield* areLive(another)
      const all = yield* Effect.forEach(Array(4 - ground.listening), () => held(sql, "SELECT 1"))
      yield* isUnharmed(a, b, "meanwhile")
      yield* force(a, "forced")
      yield* Fiber.interruptAll(all)
      yield* transaction(sql, isUnharmed(a, b, "within"))
      yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
      yield* areTogether([a, b], "afterwards")
    })
  )

  for (const [what, lock] of [
    ["the counter", "UPDATE circuit_breaker_store SET epoch = epoch + 1 WHERE id = 1"],
    ["all records and ballots", ground.lock]
  ] as const) {
    live(
      `holds another client's lock on ${what} does not affect callers`,
      Effect.gen(function* () {
        const { open } = yield* place
        const [a, b] = [yield* replica(yield* open), yield* replica(yield* open)]
        const admin = yield* open
        yield* areLive(admin)
        const holds = yield* held(admin, lock)
        yield* force(a, "forced")
        yield* isUnharmed(a, b, "meanwhile")
        yield* Fiber.interrupt(holds)
        yield* standsAt([a, b], "Isolated (fleet)", { circuit: "forced" })
        yield* areTogether([a, b], "afterwards")
        yield* until(
          "no query waits any more",
          Effect.map(ask(admin, ground.waiting), (n) => n === 0)
        )
      })
    )
  }
})

describe("PostgreSQL that", () => {
  const { place } = onOwn("PostgreSQL")

  live(
    "ends a listening connection is listened to again",
    Effect.gen(function* () {
      const { open } = yield* place
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
    "has its only connection in use still serves a process without a listener",
    Effect.gen(function* () {
      const { open, url } = yield* place
      const sql = yield* connect(url, { maxConnections: 1 })
      const a = yield* replica(sql)
      const b = yield* replica(yield* open)
      yield* isUnharmed(a, b, "api")
      yield* transaction(sql, isUnharmed(b, a, "within")).pipe(Effect.timeoutOption("3 seconds"))
    })
  )

  for (const level of ["repeatable read", "serializable"]) {
    live(
      `is ${level} by default makes one of many that all decide at once`,
      Effect.gen(function* () {
        const { open, url } = yield* place
        yield* say(
          yield* open,
          `ALTER DATABASE ${url.replace(/.*\//, "")} SET default_transaction_isolation TO '${level}'`
        )
        const replicas = yield* Effect.all([0, 1, 2, 3].map(() => Effect.flatMap(connect(url), (sql) => replica(sql))))
        const [a, b] = replicas
        assert(a !== undefined && b !== undefined)
        const keys = Array.from({ length: 12 }, (_, i) => `k${i}`)
        yield* areLive(yield* connect(url), 4)
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

describe.each(servers)("%s that hangs", (database) => {
  const ground = onOwn(database)

  live(
    "does not keep a program from ending",
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
      `does not delay an override, even right after the hang began (${i})`,
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
      `does not delay a call when a probe is due: the call passes or is rejected at once (${i})`,
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
