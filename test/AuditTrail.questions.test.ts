import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import { opened, sqliteTrails } from "./support/sqliteTrail.ts"

const { trail } = sqliteTrails()

describe("A question to the trail", () => {
  it.live("returns at most `limit` answers, and only from the time `within`", () =>
    Effect.gen(function* () {
      yield* opened(["new", "newer"], 0)
      yield* opened(["old"], 2, 2)
      const names = <A extends { readonly circuit: string }, E, R>(answers: Effect.Effect<ReadonlyArray<A>, E, R>) =>
        Effect.map(answers, (all) => [...new Set(all.map(({ circuit }) => circuit))].sort())
      const within = "1 hour" as const
      assert.deepStrictEqual(yield* names(AuditTrail.openedWithin({ within })), ["new", "newer"])
      assert.strictEqual((yield* names(AuditTrail.openedWithin())).length, 3)
      assert.deepStrictEqual(yield* names(AuditTrail.openedWithin({ limit: 1 })), ["old"])
      assert.strictEqual((yield* AuditTrail.latest({ limit: 3 })).length, 3)
      assert.strictEqual((yield* AuditTrail.history("old", { limit: 3 })).length, 3)
      assert.deepStrictEqual(yield* names(AuditTrail.longestOpenings({ within })), ["new", "newer"])
      assert.strictEqual((yield* AuditTrail.longestOpenings()).length, 4)
      assert.strictEqual((yield* AuditTrail.longestOpenings({ limit: 3 })).length, 3)
      const sum = (days: ReadonlyArray<{ readonly transitions: number }>) =>
        days.reduce((all, { transitions }) => all + transitions, 0)
      assert.strictEqual(sum(yield* AuditTrail.transitionsPerDay({ within })), 4)
      assert.strictEqual(sum(yield* AuditTrail.transitionsPerDay()), 8)
      const recoveries = (options?: { readonly within?: "1 hour"; readonly name?: string }) =>
        Effect.map(AuditTrail.timeToRecover(options), (one) => one.recoveries)
      assert.deepStrictEqual(
        [yield* recoveries(), yield* recoveries({ within }), yield* recoveries({ name: "old" })],
        [4, 2, 2]
      )
    }).pipe(Effect.provide(trail()))
  )

  it.live("counts two opens in a row as one opening", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.open("api")
      yield* CircuitBreaker.open("api", { for: "1 hour" })
      yield* AuditTrail.flush
      assert.strictEqual((yield* AuditTrail.history("api")).length, 2)
      assert.deepStrictEqual(
        (yield* AuditTrail.openedWithin()).map(({ times }) => times),
        [1]
      )
    }).pipe(Effect.provide(trail()))
  )

  it.live("treats an option that is undefined as one that is missing", () =>
    Effect.gen(function* () {
      yield* opened(["old"], 48, 6)
      const nothing = { within: undefined, limit: undefined }
      assert.deepStrictEqual(yield* AuditTrail.openedWithin(nothing), [])
      assert.strictEqual((yield* AuditTrail.longestOpenings(nothing)).length, 6)
      assert.isAbove((yield* AuditTrail.transitionsPerDay({ within: undefined })).length, 0)
      assert.strictEqual((yield* AuditTrail.timeToRecover({ within: undefined })).recoveries, 6)
    }).pipe(Effect.provide(trail()))
  )
})
