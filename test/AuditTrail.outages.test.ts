import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { AuditTrail } from "effect-fuse/audit"
import { agrees, down, first, fleetOf, goOn, stepMillis, trailOf } from "./support/auditedFleet.ts"
import { databases, on } from "./support/databases.ts"
import { Chance } from "./support/simulation/random.ts"
import type { Place } from "./support/sqlFleet.ts"

describe.each(databases)("outages in the trail in %s", (database) => {
  const { place } = on(database)
  const test = (name: string, body: (made: Place) => Effect.Effect<void, unknown, Scope.Scope>) =>
    it.effect(name, () => Effect.flatMap(TestClock.withLive(place), body), 30_000)

  for (const n of [1, 2, 3]) {
    test(`of a fleet of ${n} last as long as they did, whichever process opened and whichever closed`, (made) =>
      Effect.gen(function* () {
        const seen = yield* fleetOf(made, n)
        const chance = new Chance(n)
        yield* goOn(seen, 1_000)
        for (let i = 0; i < 6; i++) {
          yield* down(seen, 500 + 100 * Math.floor(chance.next() * 40))
          // One process alone finds out that it is over.
          const prober = seen.processes[Math.floor(chance.next() * n)]
          yield* goOn(seen, 2_500, prober === undefined ? [] : [prober])
          yield* goOn(seen, 500 + 1_000 * Math.floor(chance.next() * 5))
        }
        const trail = yield* trailOf(seen)
        assert.strictEqual(seen.outages.length, 6)
        agrees(seen, trail)
        assert.deepStrictEqual([trail.failing, trail.open], [[], 0])
      }))

    test(`of a fleet of ${n} are open in the trail as long as they are, under one row, and are one opening`, (made) =>
      Effect.gen(function* () {
        const seen = yield* fleetOf(made, n)
        yield* goOn(seen, 1_000)
        yield* down(seen, 500)
        const open = yield* trailOf(seen)
        assert.deepStrictEqual(
          open.failing.map(({ isFleets, state }) => [state, isFleets]),
          [["Open", true]]
        )
        assert.strictEqual(open.failing[0]?.outage?.openings, 1)
        yield* goOn(seen, 3_000)
        const closed = yield* trailOf(seen)
        assert.deepStrictEqual([closed.failing, closed.open], [[], 0])
        const days = yield* first(seen).run(AuditTrail.transitionsPerDay({ within: "1 day" }))
        const counts = Object.fromEntries(days.map(({ to, transitions }) => [to, transitions]))
        const opened = yield* first(seen).run(AuditTrail.openedWithin({ within: "1 day" }))
        // Each process may open by itself before all do.
        assert.isAtMost(counts["Open"] ?? 0, n)
        assert.strictEqual(opened[0]?.times, counts["Open"])
        assert.strictEqual(counts["Closed"], 1)
      }))
  }

  test("in which a probe fails go on, and count each opening", (made) =>
    Effect.gen(function* () {
      const seen = yield* fleetOf(made, 2)
      yield* goOn(seen, 1_000)
      yield* down(seen, 4_500)
      const during = yield* trailOf(seen)
      const began = seen.outages[0]?.from ?? 0
      assert.closeTo(during.failing[0]?.outage?.since ?? 0, began, 2 * stepMillis)
      assert.isAtLeast(during.failing[0]?.outage?.openings ?? 0, 4)
      yield* goOn(seen, 3_000)
      const after = yield* trailOf(seen)
      agrees(seen, after)
      assert.isAtLeast(after.longest[0]?.outage?.openings ?? 0, 4)
      assert.strictEqual(after.longest[0]?.outage?.since, during.failing[0]?.outage?.since)
    }))
})
