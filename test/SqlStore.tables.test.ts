import { assert, describe } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { Migrator } from "effect/sql"
import { CircuitBreaker } from "effect-fuse"
import * as SqlStore from "effect-fuse/SqlStore"
import { databases, on, ours } from "./support/databases.ts"
import { fails, trip, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { areLive, ask, replica, say } from "./support/sqlFleet.ts"
import { areTogether } from "./support/unharmed.ts"

describe.each(databases)("The tables in %s", (database) => {
  const { place } = on(database)

  live(
    "are used again after all their rows were deleted",
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
    "are created again after they were dropped",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const [a, b] = [yield* replica(sql), yield* replica(yield* open)]
      yield* areLive(sql, 2)
      // With CASCADE, PostgreSQL also drops the views on these tables.
      const word = database === "PostgreSQL" ? "CASCADE" : ""
      for (const table of ours) yield* say(sql, `DROP TABLE IF EXISTS ${table} ${word}`)
      yield* areTogether([a, b], "afterwards")
    })
  )

  for (const [what, ran] of [
    ["which is empty", false],
    ["which has migrations", true]
  ] as const) {
    live(
      `are not recorded in the program's own table of migrations, ${what}`,
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
        assert.isTrue(made === 1 || Exit.isFailure(exit), "migrate succeeded, but there are no tables")
      })
    )
  }

  live(
    "may have a record of epoch 0: it counts as no record, and is replaced",
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
