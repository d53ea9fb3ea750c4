import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { AuditTrail } from "effect-fuse/audit"
import { until } from "./support/redisFleet.ts"
import { opened, rows, sqliteTrails } from "./support/sqliteTrail.ts"

const { database, trail } = sqliteTrails()

describe("Pruning", () => {
  it.live("deletes older events, and the states of circuits that have been Closed for longer", () =>
    Effect.gen(function* () {
      yield* opened(["new"], 0)
      yield* opened(["old"], 3, 4)
      yield* AuditTrail.prune({ olderThan: "4 hours" })
      assert.deepStrictEqual([yield* rows("trail_events"), yield* rows("trail_states")], [10, 2])
      yield* AuditTrail.prune({ olderThan: "4 hours", closedFor: "2 hours" })
      assert.deepStrictEqual([yield* rows("trail_events"), yield* rows("trail_states")], [10, 1])
      yield* AuditTrail.prune({ olderThan: "2 hours", batch: 1 })
      assert.strictEqual(yield* rows("trail_events"), 2)
    }).pipe(Effect.provide(trail()))
  )

  for (const [batch, least, most] of [
    [1, 8, 12],
    [1_000, 1, 4]
  ] as const) {
    it.live(`deletes at most ${batch} events at a time`, () => {
      let deletes = 0
      const counting = database({
        rewrite: (statement) => {
          if (/^\s*DELETE.*_events/is.test(statement)) deletes++
          return statement
        }
      })
      return Effect.gen(function* () {
        yield* opened(["old"], 3, 4)
        yield* AuditTrail.prune({ olderThan: "2 hours", batch })
        assert.isTrue(deletes >= least && deletes <= most, String(deletes))
      }).pipe(Effect.provide(trail({}, counting)))
    })
  }

  it.live("runs after each interval of layerPrune", () =>
    Effect.gen(function* () {
      for (const name of ["a", "b"]) {
        yield* opened([name], 3)
        yield* until(
          "the events are deleted",
          Effect.map(rows("trail_events"), (n) => n === 0)
        )
      }
    }).pipe(
      Effect.provide(Layer.provideMerge(AuditTrail.layerPrune({ olderThan: "1 hour", every: "30 millis" }), trail()))
    )
  )
})
