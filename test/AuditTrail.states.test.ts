import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Logger, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { type BreakerEvent, BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import { heartbeat, Trail } from "../src/audit/trail.ts"
import { database as databaseOf } from "../src/sql/database.ts"
import { agrees, down, first, fleetOf, flushAll, goOn, policy, trailOf } from "./support/auditedFleet.ts"
import { databases, on } from "./support/databases.ts"
import { live } from "./support/redisLive.ts"
import { type Connection, type Place, say } from "./support/sqlFleet.ts"

const crashed = (sql: Connection) =>
  say(sql, `UPDATE audit_heartbeats SET ends_at = ends_at - ${heartbeat.countsMillis}`)

/** Transitions of one outage and of the next, by processes whose clocks differ. */
const skewed = (() => {
  const event = (at: number, more: Partial<BreakerEvent.Transition>): BreakerEvent.Transition => ({
    _tag: "Transition",
    circuit: "api",
    from: "Closed",
    to: "Open",
    why: "Tripped",
    at,
    epoch: 1,
    openings: 1,
    retryAfterMillis: 0,
    scope: "fleet",
    mode: "enforce",
    ...more
  })
  const [one, other] = [
    { at: 10_000, openings: 1 },
    { at: 19_000, openings: 1 }
  ]
  const opened = event(10_000, { outage: one })
  // By a process whose clock is far ahead, and by one whose clock is behind.
  const probed = event(18_000, { from: "Open", to: "HalfOpen", why: "CooldownOver", outage: one })
  const closed = event(11_000, { from: "HalfOpen", to: "Closed", why: "Recovered", outage: one, downForMillis: 5_000 })
  const again = event(19_000, { outage: other })
  return { opened, probed, closed, again }
})()

const orders = <A>(all: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  all.length === 0 ? [[]] : all.flatMap((one, i) => orders(all.filter((_, j) => j !== i)).map((rest) => [one, ...rest]))

describe.each(databases)("the states in a trail in %s", (database) => {
  const { place } = on(database)
  const test = (name: string, body: (made: Place) => Effect.Effect<void, unknown, Scope.Scope>) =>
    it.effect(name, () => Effect.flatMap(TestClock.withLive(place), body), 30_000)

  test("end with a health check that succeeds in all processes at once, which is one recovery", (made) =>
    Effect.gen(function* () {
      let up = true
      const check = Effect.suspend(() => (up ? Effect.void : Effect.fail("down")))
      const seen = yield* fleetOf(made, 3, { ...policy, cooldown: "1 minute", probe: { check, schedule: "1 second" } })
      yield* goOn(seen, 1_000)
      for (let i = 0; i < 2; i++) {
        up = false
        yield* down(seen, 5_000)
        up = true
        yield* goOn(seen, 3_000)
      }
      const trail = yield* trailOf(seen)
      assert.deepStrictEqual([trail.failing, trail.open], [[], 0])
      agrees(seen, trail)
    }))

  for (const n of [1, 2]) {
    test(`end for a fleet of ${n} that recovers without its store, once the store is back`, (made) =>
      Effect.gen(function* () {
        const seen = yield* fleetOf(made, n)
        yield* goOn(seen, 1_000)
        yield* down(seen, 500)
        assert.strictEqual((yield* trailOf(seen)).failing.length, 1)
        for (const { trouble } of seen.processes) trouble.now = "fail"
        yield* goOn(seen, 8_000)
        for (const { trouble } of seen.processes) trouble.now = "none"
        yield* goOn(seen, 8_000)
        const trail = yield* trailOf(seen)
        assert.deepStrictEqual([trail.failing, trail.open], [[], 0])
        assert.strictEqual(trail.recovery.recoveries, 1)
        const truth = seen.outages[0]
        assert.isBelow(trail.recovery.meanMillis ?? Infinity, (truth?.to ?? 0) - (truth?.from ?? 0) + 200)
      }))
  }

  test("of one process alone are its own, and end when the fleet decides, when it closes, and when it ends", (made) =>
    Effect.gen(function* () {
      const seen = yield* fleetOf(made, 3)
      const [bad, ...others] = seen.processes
      assert(bad !== undefined)
      yield* goOn(seen, 1_000)
      const failAlone = Effect.gen(function* () {
        for (let i = 0; i < 20; i++) {
          yield* bad.run(CircuitBreaker.protect(Effect.fail("down"), "api").pipe(Effect.exit))
          for (const one of others) yield* one.run(CircuitBreaker.protect(Effect.void, "api").pipe(Effect.exit))
          yield* TestClock.adjust(20)
        }
      })
      const standing = Effect.map(trailOf(seen), ({ failing }) => failing.map(({ isFleets }) => isFleets))
      yield* failAlone
      assert.deepStrictEqual(yield* standing, [false], "open by itself")
      yield* goOn(seen, 3_000)
      assert.deepStrictEqual(yield* standing, [], "closed by itself")
      yield* failAlone
      assert.deepStrictEqual(yield* standing, [false])
      yield* first({ ...seen, processes: others }).run(CircuitBreaker.open("api", { for: "1 minute" }))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* standing, [true], "the fleet has decided")
      yield* first({ ...seen, processes: others }).run(CircuitBreaker.reset("api"))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* standing, [], "the fleet has decided again")
      yield* failAlone
      assert.deepStrictEqual(yield* standing, [false])
      yield* bad.stop
      const [, other] = seen.processes
      assert.deepStrictEqual(yield* other?.run(AuditTrail.failing) ?? Effect.succeed(undefined), [], "it has ended")
    }))

  test("that the fleet isolated for a time end then, though the process that did it is gone", (made) =>
    Effect.gen(function* () {
      const seen = yield* fleetOf(made, 2)
      const [one, other] = seen.processes
      assert(one !== undefined && other !== undefined)
      yield* one.run(CircuitBreaker.isolate("api", { for: "1 minute" }))
      yield* one.run(CircuitBreaker.isolate("mail"))
      yield* flushAll(seen.processes)
      yield* one.stop
      const names = Effect.map(other.run(AuditTrail.forced), (all) => all.map(({ circuit }) => circuit).sort())
      assert.deepStrictEqual(yield* names, ["api", "mail"])
      yield* say(yield* TestClock.withLive(made.open), "UPDATE audit_states SET ends_at = 1 WHERE ends_at IS NOT NULL")
      assert.deepStrictEqual(yield* names, ["mail"])
    }))

  live(
    "of a crashed process end with its heartbeat, and those of a living one do not",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const process = (name: string) =>
        Layer.build(
          Layer.fresh(
            AuditTrail.layer({ process: name, prefix: "audit", flushInterval: 0 }).pipe(
              Layer.provideMerge(BreakerStore.layerMemory),
              Layer.provideMerge(BreakerPolicy.layer({ default: policy })),
              Layer.provide(Layer.merge(Layer.succeedContext(sql), Logger.layer([])))
            )
          )
        )
      const [crashing, living] = [yield* process("crashing"), yield* process("living")]
      const act = Effect.gen(function* () {
        yield* CircuitBreaker.open("open")
        yield* CircuitBreaker.isolate("isolated")
        yield* CircuitBreaker.disable("disabled")
        yield* AuditTrail.flush
      })
      yield* Effect.provideContext(act, crashing)
      const standing = Effect.map(Effect.all([AuditTrail.failing, AuditTrail.forced]), (all) =>
        all
          .flat()
          .map(({ owner, state }) => `${owner?.split("~")[0]} ${state}`)
          .sort()
      ).pipe(Effect.provideContext(living))
      const of = (name: string) => ["Disabled", "Isolated", "Open"].map((state) => `${name} ${state}`)
      assert.deepStrictEqual(yield* standing, of("crashing"))
      yield* crashed(sql)
      assert.deepStrictEqual(yield* standing, [])
      yield* Effect.provideContext(act, living)
      assert.deepStrictEqual(yield* standing, of("living"))
      // It was not heard of for a while, and is again with whatever it writes.
      yield* crashed(sql)
      assert.deepStrictEqual(yield* standing, [])
      yield* Effect.provideContext(Effect.andThen(CircuitBreaker.open("other"), AuditTrail.flush), living)
      assert.deepStrictEqual(yield* standing, [...of("living"), "living Open"])
    })
  )

  live(
    "are those of the latest transition, whichever clock is wrong and whichever line is written first",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const reader = AuditTrail.layerReader({ prefix: "audit" }).pipe(Layer.provide(Layer.succeedContext(sql)))
      yield* Effect.gen(function* () {
        const found = yield* Effect.provideContext(databaseOf({ prefix: "audit", schema: undefined }), sql)
        const { again, closed, opened, probed } = skewed
        let serial = 0
        const written = (events: ReadonlyArray<BreakerEvent.Transition>) =>
          Effect.gen(function* () {
            yield* say(sql, "DELETE FROM audit_states")
            for (const event of events) {
              const run = `run${++serial}`
              const trail = new Trail(found, {
                run,
                process: run,
                metadata: () => null,
                flushMillis: 0,
                maxPending: 10
              })
              trail.note(event, undefined)
              yield* trail.flush
            }
            return (yield* AuditTrail.failing).map(({ outage }) => outage?.since)
          })
        for (const events of orders([opened, probed, closed])) {
          assert.deepStrictEqual(yield* written(events), [], events.map(({ to }) => to).join())
        }
        for (const events of orders([opened, closed, again])) {
          assert.deepStrictEqual(yield* written(events), [19_000], events.map(({ to }) => to).join())
        }
      }).pipe(Effect.provide(reader))
    }),
    60_000
  )
})

describe("a heartbeat", () => {
  it.effect("is renewed while a process has a state of its own that is not Closed, and not otherwise", () => {
    let beats = 0
    return Effect.gen(function* () {
      const { place } = on("SQLite")
      const { open } = yield* TestClock.withLive(place)
      const sql = yield* TestClock.withLive(open)
      const client = Context.get(sql, SqlClient.SqlClient)
      const found = yield* Effect.provideContext(databaseOf({ prefix: "audit", schema: undefined }), sql)
      yield* Layer.build(Layer.provide(AuditTrail.layerReader({ prefix: "audit" }), Layer.succeedContext(sql)))
      const trail = new Trail(found, { run: "run", process: "p", metadata: () => null, flushMillis: 0, maxPending: 10 })
      yield* Effect.forkScoped(trail.beats)
      yield* Effect.yieldNow
      const lasts = (event: BreakerEvent.Transition | undefined, beating: boolean) =>
        Effect.gen(function* () {
          if (event !== undefined) trail.note(event, undefined)
          yield* trail.flush
          yield* client`DELETE FROM audit_heartbeats`
          yield* TestClock.adjust(heartbeat.everyMillis)
          const rows = yield* client`SELECT * FROM audit_heartbeats`
          assert.strictEqual(rows.length === 1, beating)
          beats++
        })
      const { closed, opened } = skewed
      yield* lasts(undefined, false)
      yield* lasts({ ...opened, scope: "local" }, true)
      yield* lasts(undefined, true)
      yield* lasts({ ...closed, scope: "local" }, false)
      yield* lasts({ ...opened, scope: "local" }, true)
      yield* lasts(opened, false)
      assert.strictEqual(beats, 6)
    })
  })
})
