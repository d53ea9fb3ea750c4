import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import { until } from "./support/redisFleet.ts"
import { hour, sqliteTrails } from "./support/sqliteTrail.ts"
import { fail } from "./support/verbs.ts"

const { trail } = sqliteTrails()

describe("Snapshots", () => {
  it.live("are taken at the interval `every`, and name the process", () =>
    Effect.gen(function* () {
      yield* fail()
      yield* until(
        "three snapshots are taken",
        Effect.map(Snapshots.series("api"), (all) => all.length >= 3)
      )
      const [one] = yield* Snapshots.series("api")
      assert.strictEqual(one?.process, "shop")
    }).pipe(Effect.provide(Layer.provideMerge(Snapshots.layer({ every: "30 millis", process: "shop" }), trail())))
  )

  it.live("of series are the newest `limit` snapshots, none older than `within`", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* fail()
      yield* AuditTrail.flush
      for (const age of [2, 1, 0]) {
        yield* sql`UPDATE trail_snapshots SET at = at - ${hour}`
        yield* Snapshots.take({ process: `${age} hours ago` })
      }
      const series = (options?: { readonly within?: "90 minutes"; readonly limit?: number }) =>
        Effect.map(Snapshots.series("api", options), (all) => all.map(({ process }) => process))
      assert.strictEqual((yield* series()).length, 3)
      assert.deepStrictEqual(yield* series({ within: "90 minutes" }), ["1 hours ago", "0 hours ago"])
      assert.deepStrictEqual(yield* series({ limit: 1 }), ["0 hours ago"])
    }).pipe(Effect.provide(trail()))
  )
})
