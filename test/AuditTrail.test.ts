import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { type BreakerEvent, type BreakerStore, CircuitBreaker, MemoryStore } from "effect-fuse"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import * as Operator from "effect-fuse/Operator"
import * as SqlStore from "effect-fuse/SqlStore"
import { audited, recovers, written } from "./support/audited.ts"
import { databases, on } from "./support/databases.ts"
import { until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { say } from "./support/sqlFleet.ts"
import { play, succeed } from "./support/verbs.ts"
import { wild } from "./support/wild.ts"

describe.each(databases)("a trail in %s", (database) => {
  const { place } = on(database)
  const trail = <A, E>(
    name: string,
    test: Effect.Effect<A, E, AuditTrail.AuditTrail | BreakerStore.BreakerStore>,
    options?: AuditTrail.Options
  ) =>
    live(
      name,
      Effect.gen(function* () {
        const { open } = yield* place
        yield* Effect.provideContext(test, yield* audited(yield* open, options))
      })
    )

  trail(
    "has what happened, why, by whom, and what was counted",
    Effect.gen(function* () {
      yield* play("SSFF", { key: "eu" })
      yield* CircuitBreaker.isolate("mail", { reason: "migration", actor: "ann" })
      yield* CircuitBreaker.release("mail", { actor: "bob" })
      yield* written(3)
      const [opened, ...others] = yield* AuditTrail.history("api", { key: "eu" })
      assert.deepStrictEqual(others, [])
      assert.deepInclude(opened, {
        circuit: "api",
        key: "eu",
        from: "Closed",
        to: "Open",
        why: "Tripped",
        detail: "2 failures in the last 10 calls (limit 2)",
        actor: undefined,
        scope: "local",
        process: "checkout 🧾",
        mode: "enforce",
        openings: 1,
        retryAfterMillis: 100,
        counts: { calls: 4, failures: 2, slow: 0, streak: 2 },
        metadata: { version: 3, region: "Zürich 🏔" }
      })
      const [released, isolated] = yield* AuditTrail.history("mail")
      assert.deepInclude(isolated, { to: "Isolated", detail: "migration", actor: "ann", retryAfterMillis: undefined })
      assert.deepInclude(released, { from: "Isolated", to: "Closed", why: "Released", actor: "bob" })
      assert.isNumber(released?.lastedMillis)
      assert.isUndefined(released?.downMillis, "an override is not an outage")
    }),
    { process: "checkout 🧾", metadata: { version: 3, region: "Zürich 🏔" } }
  )

  trail(
    "answers what is open, failing and forced now",
    Effect.gen(function* () {
      yield* play("FF")
      yield* play("FF", { name: "recovered" })
      yield* recovers({ name: "recovered" })
      yield* CircuitBreaker.isolate("mail", { reason: "drill", actor: "ann" })
      yield* written(5)
      const names = (list: ReadonlyArray<AuditTrail.Standing>) =>
        list.map(({ circuit, state }) => `${circuit} ${state}`)
      assert.deepStrictEqual(names(yield* AuditTrail.openNow), ["api Open"])
      assert.deepStrictEqual(names(yield* AuditTrail.failing), ["api Open"])
      const [forced] = yield* AuditTrail.forced
      assert.deepInclude(forced, {
        circuit: "mail",
        state: "Isolated",
        detail: "drill",
        actor: "ann",
        endsAt: undefined
      })
    })
  )

  trail(
    "answers what opened how often, per day, for how long, and how soon it was back",
    Effect.gen(function* () {
      for (const key of ["a", "a", "A"]) {
        yield* play("FF", { key })
        yield* recovers({ key })
        yield* CircuitBreaker.reset("api", { key })
      }
      yield* play("FF", { name: "api " })
      yield* written(13)
      const opened = yield* AuditTrail.openedWithin({ within: "1 hour" })
      assert.deepStrictEqual(opened.map(({ circuit, key, times }) => `${circuit}/${key} ${times}`).sort(), [
        "api /undefined 1",
        "api/A 1",
        "api/a 2"
      ])
      assert.strictEqual(opened[0]?.times, 2)
      const days = yield* AuditTrail.transitionsPerDay()
      const openings = days.filter(({ to }) => to === "Open").reduce((sum, { transitions }) => sum + transitions, 0)
      assert.strictEqual(openings, 4)
      for (const { day } of days) {
        assert.include(
          [0, 1].map((ago) => new Date(Date.now() - ago * 86_400_000).toISOString().slice(0, 10)),
          day
        )
      }
      const longest = yield* AuditTrail.longestOpenings()
      assert.strictEqual(longest.length, 3)
      assert.isAtLeast(longest[0]?.downMillis ?? 0, longest[1]?.downMillis ?? 0)
      assert.isAtLeast(longest[1]?.downMillis ?? 0, longest[2]?.downMillis ?? 0)
      const { meanMillis, recoveries } = yield* AuditTrail.timeToRecover()
      assert.strictEqual(recoveries, 3)
      assert.isAtLeast(meanMillis ?? 0, 90)
      assert.strictEqual((yield* AuditTrail.timeToRecover({ name: "api" })).recoveries, 3)
      for (const name of ["API", "api ", "api  ", "other"]) {
        assert.strictEqual((yield* AuditTrail.timeToRecover({ name })).recoveries, 0, JSON.stringify(name))
      }
      assert.deepStrictEqual(yield* AuditTrail.openedWithin({ within: 1 }), [])
    })
  )

  trail(
    "goes back page by page",
    Effect.gen(function* () {
      for (let i = 0; i < 5; i++) {
        yield* CircuitBreaker.isolate("api", { reason: `${i}` })
        yield* Effect.sleep(2)
      }
      yield* written(5)
      const first = yield* AuditTrail.history("api", { limit: 2 })
      const next = yield* AuditTrail.history("api", { limit: 10, before: first.at(-1)?.at })
      assert.deepStrictEqual(
        [...first, ...next].map(({ detail }) => detail),
        ["4", "3", "2", "1", "0"]
      )
    })
  )

  trail(
    "goes back line by line, without loss, where many are of one moment, of one circuit and of all",
    Effect.gen(function* () {
      for (let i = 0; i < 20; i++) yield* CircuitBreaker.isolate(i % 2 === 0 ? "even" : "odd", { reason: `${i}` })
      yield* written(20)
      const all = (page: (options: AuditTrail.Page) => ReturnType<typeof AuditTrail.latest>) =>
        Effect.gen(function* () {
          const lines: Array<string | undefined> = []
          let before: AuditTrail.Page["before"]
          for (;;) {
            const some = yield* page({ limit: 3, before })
            lines.push(...some.map(({ detail }) => detail))
            before = some.at(-1)
            if (before === undefined) return lines.map(Number).sort((a, b) => a - b)
          }
        })
      assert.deepStrictEqual(yield* all(AuditTrail.latest), [...Array(20).keys()])
      assert.deepStrictEqual(
        yield* all((page) => AuditTrail.history("even", page)),
        [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
      )
    })
  )

  trail(
    "lists what one process did within one millisecond in the order in which it happened, page by page",
    Effect.gen(function* () {
      const shared = yield* MemoryStore.make
      const actions: Array<BreakerEvent.Transition | undefined> = []
      for (let i = 0; i < 40; i++) {
        const options = { reason: `${i}` }
        if (i % 2 === 0) yield* CircuitBreaker.isolate("api", options)
        else if (i % 4 === 1) actions.push((yield* Operator.isolate(shared, "api", options)).transition)
        else actions.push((yield* Operator.release(shared, "api", options)).transition)
      }
      yield* AuditTrail.recordAction(actions.flatMap((one) => one ?? []))
      yield* written(20)
      const all = (page: (options: AuditTrail.Page) => ReturnType<typeof AuditTrail.latest>) =>
        Effect.gen(function* () {
          const lines: Array<AuditTrail.Entry> = []
          for (;;) {
            const some = yield* page({ limit: 3, before: lines.at(-1) })
            lines.push(...some)
            if (some.length === 0) return lines
          }
        })
      for (const page of [AuditTrail.latest, (options: AuditTrail.Page) => AuditTrail.history("api", options)]) {
        const lines = yield* all(page)
        assert.isBelow(new Set(lines.map(({ at }) => at)).size, 30)
        assert.deepStrictEqual(
          lines.map(({ detail }) => Number(detail)),
          Array.from({ length: 40 }, (_, i) => 39 - i)
        )
      }
    })
  )

  live(
    "is pruned in batches, and keeps what is not old",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      yield* Effect.gen(function* () {
        for (let i = 0; i < 25; i++) yield* CircuitBreaker.isolate("api", { key: `${i}` })
        yield* CircuitBreaker.isolate("old")
        yield* CircuitBreaker.release("old")
        yield* AuditTrail.flush
        assert.strictEqual(yield* AuditTrail.prune({ olderThan: "1 hour" }), 0)
        yield* say(sql, "UPDATE audit_events SET at = at - 7200000")
        yield* say(sql, "UPDATE audit_states SET since = since - 7200000")
        yield* CircuitBreaker.isolate("young")
        yield* AuditTrail.flush
        const n = yield* AuditTrail.prune({ olderThan: "1 hour", batch: 10 })
        assert.strictEqual(n, 28, "27 lines, and one circuit that is closed")
        assert.deepStrictEqual(yield* AuditTrail.history("api", { key: "3" }), [])
        assert.strictEqual((yield* AuditTrail.history("young")).length, 1)
        assert.strictEqual((yield* AuditTrail.forced).length, 26, "what is forced is known, however old")
        assert.strictEqual(yield* AuditTrail.prune({ olderThan: "1 hour" }), 0)
      }).pipe((test) => Effect.flatMap(audited(sql), (context) => Effect.provideContext(test, context)))
    })
  )

  live(
    "keeps what a living process has open or forced, however old, and forgets what a crashed one had",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = yield* open
      const program = Effect.gen(function* () {
        yield* CircuitBreaker.open("bank")
        yield* CircuitBreaker.isolate("mail")
        yield* AuditTrail.flush
        const rows = Effect.map(say(sql, "SELECT * FROM audit_states"), ({ length }) => length)
        yield* Effect.sleep(20)
        yield* AuditTrail.prune({ olderThan: "1 hour", closedFor: "10 millis" })
        assert.strictEqual(yield* rows, 2)
        yield* say(sql, "UPDATE audit_heartbeats SET ends_at = ends_at - 60000")
        yield* AuditTrail.prune({ olderThan: "1 hour" })
        assert.strictEqual(yield* rows, 2, "they are not old")
        yield* AuditTrail.prune({ olderThan: "1 hour", closedFor: "10 millis" })
        assert.strictEqual(yield* rows, 0)
        assert.deepStrictEqual(yield* say(sql, "SELECT * FROM audit_heartbeats"), [])
      })
      yield* Effect.provideContext(program, yield* audited(sql))
    })
  )

  trail(
    "has what was counted, over time",
    Effect.gen(function* () {
      yield* play("SSF", { key: "a" })
      yield* succeed({ key: "b" })
      yield* Snapshots.take({ process: "checkout 🧾" })
      yield* play("F", { key: "a" })
      yield* CircuitBreaker.isolate("o'ther\n\ud800")
      yield* Effect.sleep(5)
      yield* Snapshots.take({ process: "checkout 🧾" })
      const series = yield* Snapshots.series("api", { within: "1 hour" })
      assert.deepStrictEqual(
        series.map(({ calls, circuits, failureRate, failures, healthy, process, state, successes }) => [
          calls,
          successes,
          failures,
          failureRate,
          circuits,
          healthy,
          state,
          process
        ]),
        [
          [4, 3, 1, 1 / 3 / 2, 2, 2, "Closed", "checkout 🧾"],
          [5, 3, 2, 0.5, 2, 1, "Open", "checkout 🧾"]
        ]
      )
      assert.strictEqual((yield* Snapshots.series("o'ther\n\ud800")).length, 1)
      for (const name of ["API", "api ", "o'ther"]) assert.deepStrictEqual(yield* Snapshots.series(name), [])
      yield* Effect.sleep(20)
      assert.isAtLeast(yield* AuditTrail.prune({ olderThan: "10 millis" }), 3)
      assert.deepStrictEqual(yield* Snapshots.series("api"), [])
    })
  )

  trail(
    "has a snapshot at each interval of the layer",
    Effect.gen(function* () {
      yield* succeed()
      yield* until(
        "three snapshots",
        Effect.map(Snapshots.series("api"), (series) => series.length >= 3)
      ).pipe(Effect.provide(Snapshots.layer({ every: "20 millis" })))
      const { length } = yield* Snapshots.series("api")
      yield* Effect.sleep("100 millis")
      assert.strictEqual((yield* Snapshots.series("api")).length, length, "it ends with its layer")
    })
  )

  trail(
    "has any name, key, reason and actor as it was, and no two of them are one",
    Effect.gen(function* () {
      for (const name of wild) {
        yield* CircuitBreaker.isolate(name, { reason: name, actor: name })
        yield* CircuitBreaker.isolate("any", { key: name, reason: `key ${name}` })
        yield* CircuitBreaker.isolate(`of ${name}`, { key: name, reason: name, actor: name })
      }
      yield* AuditTrail.flush
      for (const name of wild) {
        // Not every database has the one letter, and none half of another.
        const kept = name.replace("\u0000", "\\u0000").replace("\ud800", "\ufffd")
        const [entry, ...others] = yield* AuditTrail.history(name)
        assert.deepStrictEqual(others, [])
        assert.deepInclude(entry, { circuit: kept, key: undefined, detail: kept, actor: kept })
        const [ofKey, ...ofOthers] = yield* AuditTrail.history("any", { key: name })
        assert.deepStrictEqual(ofOthers, [])
        assert.deepInclude(ofKey, { circuit: "any", key: kept, detail: `key ${kept}` })
        const [both] = yield* AuditTrail.history(`of ${name}`, { key: name })
        assert.deepInclude(both, { circuit: `of ${kept}`, key: kept, detail: kept, actor: kept })
      }
      assert.strictEqual((yield* AuditTrail.forced).length, 3 * wild.length)
      assert.deepStrictEqual(yield* AuditTrail.history("aPI"), [])
    })
  )

  trail(
    "is not kept from being written by a letter that the database has not",
    Effect.gen(function* () {
      const nul = "a\u0000b"
      yield* CircuitBreaker.isolate(nul, { key: nul, reason: nul, actor: nul })
      yield* CircuitBreaker.isolate("api")
      yield* Snapshots.take({ process: nul })
      yield* AuditTrail.flush
      const [entry] = yield* AuditTrail.history(nul, { key: nul })
      assert.deepInclude(entry, { circuit: "a\\u0000b", key: "a\\u0000b", actor: "a\\u0000b" })
      assert.strictEqual((yield* AuditTrail.history("api")).length, 1)
      assert.strictEqual((yield* Snapshots.series(nul)).length, 1)
      assert.strictEqual((yield* AuditTrail.timeToRecover({ name: nul })).recoveries, 0)
    })
  )

  live(
    "is read by a program that writes none, and makes its tables where that may",
    Effect.gen(function* () {
      const { open } = yield* place
      const sql = Layer.succeedContext(yield* open)
      const options = { prefix: "audit" }
      const reader = (more: AuditTrail.ReaderOptions) =>
        Layer.provide(AuditTrail.layerReader({ ...options, ...more }), sql)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Layer.build(reader({ migrate: false })))))
      yield* Effect.provide(SqlStore.migrate(options), sql)
      assert.deepStrictEqual(yield* Effect.provide(AuditTrail.openNow, reader({ migrate: false })), [])
    })
  )
})

describe("a trail", () => {
  it("names the option that is wrong", () => {
    const layer = AuditTrail.layer as (options: unknown) => unknown
    assert.throws(() => layer({ prefix: "a b" }), /AuditTrail.layer: prefix: expected/)
    assert.throws(() => layer({ maxPending: 0 }), /AuditTrail.layer: maxPending: expected/)
    assert.throws(() => layer({ table: "x" }), /AuditTrail.layer: table: unknown field/)
    assert.throws(() => layer({ metadata: 1n }), /AuditTrail.layer: metadata: expected/)
    assert.throws(() => AuditTrail.layerReader({ prefix: "a b" }), /AuditTrail.layerReader: prefix: expected/)
    const history = AuditTrail.history as (name: unknown, options?: unknown) => unknown
    assert.throws(() => history(""), /AuditTrail.history: name/)
    assert.throws(() => history("a", { limit: 0 }), /AuditTrail.history: limit/)
    assert.throws(() => AuditTrail.openedWithin({ within: 0 }), /AuditTrail.openedWithin: within/)
    assert.throws(() => AuditTrail.prune({} as never), /AuditTrail.prune: olderThan/)
    assert.throws(() => AuditTrail.prune({ olderThan: "1 day", batch: 0 }), /batch/)
    assert.throws(() => Snapshots.layer({ every: 0 }), /Snapshots.layer: every/)
    assert.throws(() => Snapshots.series(""), /Snapshots.series: name/)
  })
})
