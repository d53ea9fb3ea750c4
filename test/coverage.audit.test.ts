import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import { afterAll } from "vitest"
import { sqlite } from "./support/sqlite.ts"
import { fail, quick, times } from "./support/verbs.ts"

// Options of the trail that no other test would miss.

const folder = mkdtempSync(join(tmpdir(), "coverage-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const hour = 3_600_000
let files = 0
const trail = (options: AuditTrail.Options = {}, database = sqlite(join(folder, `${++files}.db`))) =>
  Layer.provideMerge(
    AuditTrail.layer({ flushInterval: 0, prefix: "trail", ...options }),
    Layer.mergeAll(BreakerStore.layerMemory, BreakerPolicy.layer({ default: quick }), Logger.layer([]), database)
  )

/** Opens and closes the circuits so often, and makes all of that so old. */
const opened = (circuits: ReadonlyArray<string>, hours: number, often = 1) =>
  Effect.gen(function* () {
    for (const name of circuits) {
      yield* times(often, Effect.andThen(CircuitBreaker.open(name), CircuitBreaker.close(name)))
    }
    yield* AuditTrail.flush
    const sql = yield* SqlClient.SqlClient
    yield* sql`UPDATE trail_events SET at = at - ${hours * hour} WHERE ${sql.in("circuit", circuits)}`
    yield* sql`UPDATE trail_states SET since = since - ${hours * hour} WHERE ${sql.in("circuit", circuits)}`
  })

const rows = (table: "trail_events" | "trail_states" | "trail_snapshots") =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => Effect.map(sql`SELECT * FROM ${sql(table)}`, (found) => found.length))

/** Waits until something in real time, in small steps, and for ten seconds at most. */
const until = <E, R>(fact: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    for (let i = 0; i < 500; i++) {
      if (yield* fact) return
      yield* Effect.sleep(20)
    }
    assert.fail("in vain")
  })

describe("A question", () => {
  it.live("answers as many as `limit` says, and looks back as far as `within`", () =>
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

  it.live("of how often a circuit opened counts what it was open for already as one", () =>
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

  it.live("takes an option that is undefined for what holds without it", () =>
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

describe("Pruning", () => {
  it.live("deletes what is older, and forgets circuits that have been Closed for longer", () =>
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
    it.live(`deletes ${batch} at a time`, () => {
      let deletes = 0
      const counting = sqlite(join(folder, `${++files}.db`), {
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

  it.live("is done again and again", () =>
    Effect.gen(function* () {
      for (const name of ["a", "b"]) {
        yield* opened([name], 3)
        yield* until(Effect.map(rows("trail_events"), (n) => n === 0))
      }
    }).pipe(
      Effect.provide(Layer.provideMerge(AuditTrail.layerPrune({ olderThan: "1 hour", every: "30 millis" }), trail()))
    )
  )
})

describe("Snapshots", () => {
  it.live("are taken as often as is said, and name the process", () =>
    Effect.gen(function* () {
      yield* fail()
      yield* until(Effect.map(Snapshots.series("api"), (all) => all.length >= 3))
      const [one] = yield* Snapshots.series("api")
      assert.strictEqual(one?.process, "shop")
    }).pipe(Effect.provide(Layer.provideMerge(Snapshots.layer({ every: "30 millis", process: "shop" }), trail())))
  )

  it.live("are as many as `limit` says, the newest, and as old as `within`", () =>
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

describe("Writing", () => {
  it.effect("waits for more as long as `flushInterval` says", () =>
    Effect.gen(function* () {
      yield* AuditTrail.flush
      yield* fail()
      yield* TestClock.adjust("59 seconds")
      assert.deepInclude(yield* AuditTrail.stats, { written: 0, pending: 1 })
      yield* TestClock.adjust("2 seconds")
      assert.deepInclude(yield* AuditTrail.stats, { written: 1, pending: 0 })
    }).pipe(Effect.provide(trail({ flushInterval: "1 minute" })))
  )

  it.live("a circuit of a process's own is under the name of that process", () =>
    Effect.gen(function* () {
      yield* fail()
      yield* AuditTrail.flush
      const [standing] = yield* AuditTrail.openNow
      assert.match(standing?.owner ?? "", /^shop~/)
    }).pipe(Effect.provide(trail({ process: "shop" })))
  )

  it.live("who only reads may read tables of another name", () => {
    const file = sqlite(join(folder, `${++files}.db`))
    const reader = AuditTrail.layerReader({ prefix: "other" })
    return Effect.gen(function* () {
      yield* Effect.provide(AuditTrail.openNow, reader)
      const sql = yield* SqlClient.SqlClient
      assert.deepStrictEqual(yield* sql`SELECT * FROM other_events`, [])
    }).pipe(Effect.provide(file))
  })
})
