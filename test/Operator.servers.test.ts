import { assert, describe } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { CircuitBreaker, type SharedStore } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import { postgresUrl } from "./support/postgresServer.ts"
import { connection, type Replica, replica, sharedStore, standsAt, trip, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisServer } from "./support/redisServer.ts"
import * as sql from "./support/sqlFleet.ts"

interface Fleet {
  /** One more process. */
  readonly join: Effect.Effect<Replica, never, Scope.Scope>
  /** The operator's store, on a connection of its own. */
  readonly outside: SharedStore.SharedStore
  /** Makes the store one that does not answer. */
  readonly kill?: Effect.Effect<unknown>
}

const inSql = (place: Effect.Effect<sql.Place, never, Scope.Scope>) =>
  Effect.gen(function* () {
    const { open } = yield* place
    const mine = yield* open
    const outside = yield* sql.sharedStore(mine)
    return { join: Effect.flatMap(open, (connection) => sql.replica(connection)), outside }
  })

const stores: ReadonlyArray<readonly [name: string, start: Effect.Effect<Fleet, never, Scope.Scope>]> = [
  [
    "Redis",
    Effect.gen(function* () {
      const { kill, url } = yield* redisServer
      const outside = yield* sharedStore(yield* connection(url))
      return { join: Effect.flatMap(connection(url), (redis) => replica(redis)), outside, kill }
    })
  ],
  ["PostgreSQL", inSql(Effect.flatMap(postgresUrl, sql.onPostgres))],
  ["SQLite", inSql(sql.onSqlite)]
]

describe.each(stores)("An operator on %s", (_, start) => {
  live(
    "sees what a fleet has opened, and forces and lifts in all of it, without being counted",
    Effect.gen(function* () {
      const { join, kill, outside } = yield* start
      const fleet = [yield* join, yield* join]
      const counted = Effect.map(Operator.list(outside), ({ processes }) => processes)
      yield* until(
        "two live",
        Effect.map(counted, (n) => n === 2)
      )
      for (const one of fleet) yield* works(one)
      yield* trip(fleet)
      const { circuits } = yield* Operator.list(outside)
      const [api] = circuits
      assert(api?._tag === "Known")
      assert.deepStrictEqual(
        [circuits.length, api.name, api.state, api.why, api.openings],
        [1, "api", "Open", "Tripped", 1]
      )
      const now = Date.now()
      assert.isAtMost(Math.abs(api.since - now), 60_000)
      assert.isAbove(api.until ?? 0, now)

      const isolated = yield* Operator.isolate(outside, "api", { reason: "drill", actor: "ann" })
      assert.deepStrictEqual([isolated.beneath, isolated.epoch > api.epoch], ["Open", true])
      yield* standsAt(fleet, "Isolated (fleet)")
      const newcomer = yield* join
      yield* standsAt([newcomer], "Isolated (fleet)")
      yield* Operator.reset(outside, "api")
      yield* until(
        "calls pass in all",
        Effect.map(
          Effect.forEach([...fleet, newcomer], (one) => works(one)),
          (seen) => seen.every((one) => one === "ok")
        )
      )
      assert.strictEqual(yield* counted, 3)

      yield* fleet[0]?.run(CircuitBreaker.disable("other", { key: "k", reason: "flaky" })) ?? Effect.void
      const other = yield* Operator.inspect(outside, "other", { key: "k" })
      assert.deepInclude(other, { _tag: "Known", name: "other", key: "k", state: "Disabled", reason: "flaky" })

      if (kill === undefined) return
      yield* kill
      const error = yield* Effect.flip(Effect.timeout(Operator.release(outside, "other", { key: "k" }), "10 seconds"))
      assert.strictEqual(error._tag, "StoreError")
    }),
    60_000
  )
})
