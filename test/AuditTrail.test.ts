import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Scope } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { BreakerPolicy, BreakerStore, CircuitBreaker, SharedStore, Trip } from "effect-fuse"
import { AuditTrail, Snapshots } from "effect-fuse/audit"
import * as Operator from "effect-fuse/Operator"
import * as SqlStore from "effect-fuse/SqlStore"
import { afterAll, beforeAll } from "vitest"
import { client, postgresServer, postgresUrl } from "./support/postgresServer.ts"
import { sqlite } from "./support/sqlite.ts"
import { play, succeed } from "./support/verbs.ts"

const scope = Effect.runSync(Scope.make())
const folder = mkdtempSync(join(tmpdir(), "audit-"))
let url = ""
beforeAll(async () => {
  url = await Effect.runPromise(Scope.provide(postgresUrl, scope))
}, 180_000)
afterAll(async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  rmSync(folder, { recursive: true, force: true })
})

let place = 0
/** Tables of a test's own. */
const prefix = () => `audit_${process.pid}_${++place}`

const databases = {
  PostgreSQL: () => client(url),
  SQLite: () => sqlite(join(folder, "audit.db"))
}

const policies = Layer.orDie(
  BreakerPolicy.layer({ default: { trip: Trip.failures({ atLeast: 2, of: 10 }), cooldown: "100 millis" } })
)

const breakers = Layer.mergeAll(BreakerStore.layerMemory, policies, Logger.layer([]))

const audited = (options: AuditTrail.Options, store: Layer.Layer<BreakerStore.BreakerStore, never, never> = breakers) =>
  Layer.orDie(AuditTrail.layer({ flushInterval: 0, ...options })).pipe(Layer.provideMerge(store))

const until = <E, R>(what: string, fact: Effect.Effect<boolean, E, R>) =>
  Effect.gen(function* () {
    for (let i = 0; i < 1_000; i++) {
      if (yield* fact) return
      yield* Effect.sleep(20)
    }
    assert.fail(`in vain: ${what}`)
  })

/** Three processes that share circuits and have one trail. */
const fleet = (sql: Layer.Layer<SqlClient.SqlClient>) =>
  Effect.gen(function* () {
    const shared = yield* SharedStore.makeMemory
    const options = { prefix: prefix() }
    const store = (process: string) =>
      Layer.orDie(BreakerStore.layerShared(shared, { process, syncInterval: "100 millis" }))
    const processes = yield* Effect.forEach(["a", "b", "c"], (process) => {
      const circuits = Layer.mergeAll(store(process), policies, Logger.layer([]))
      return Layer.build(Layer.fresh(Layer.provideMerge(audited({ ...options, process }, circuits as never), sql)))
    })
    return { shared, processes }
  })

type Process = Effect.Success<ReturnType<typeof fleet>>["processes"][number]

const allAre = (processes: ReadonlyArray<Process>, state: string) =>
  Effect.forEach(processes, (one) =>
    until(
      state,
      Effect.map(Effect.provideContext(CircuitBreaker.state("api"), one), (now) => now === state)
    )
  )

const written = (n: number) =>
  until(
    `${n} written`,
    Effect.map(AuditTrail.stats, (stats) => stats.written >= n && stats.pending === 0)
  )

describe.each(["PostgreSQL", "SQLite"] as const)("a trail in %s", (database) => {
  const live = <A, E>(
    name: string,
    test: Effect.Effect<A, E, AuditTrail.AuditTrail | BreakerStore.BreakerStore | SqlClient.SqlClient>,
    options: AuditTrail.Options = {}
  ) =>
    it.live(
      name,
      () =>
        Effect.suspend(() =>
          test.pipe(
            Effect.provide(
              Layer.provideMerge(audited({ prefix: prefix(), ...options }), Layer.fresh(databases[database]()))
            )
          )
        ),
      60_000
    )

  live(
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
        process: "checkout",
        mode: "enforce",
        openings: 1,
        retryAfterMillis: 100,
        counts: { calls: 4, failures: 2, slow: 0, streak: 2 },
        metadata: { version: 3 }
      })
      const [released, isolated] = yield* AuditTrail.history("mail")
      assert.deepInclude(isolated, { to: "Isolated", detail: "migration", actor: "ann", retryAfterMillis: undefined })
      assert.deepInclude(released, { from: "Isolated", to: "Closed", why: "Released", actor: "bob" })
      assert.isNumber(released?.lastedMillis)
      assert.isNumber(released?.downMillis)
    }),
    { process: "checkout", metadata: { version: 3 } }
  )

  live(
    "answers what is open, failing and forced now",
    Effect.gen(function* () {
      yield* play("FF")
      yield* play("FF", { name: "recovered" })
      yield* Effect.sleep("120 millis")
      yield* succeed({ name: "recovered" })
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

  live(
    "answers what opened how often, per day, for how long, and how soon it was back",
    Effect.gen(function* () {
      for (let i = 0; i < 2; i++) {
        yield* play("FF", { key: "a" })
        yield* Effect.sleep("120 millis")
        yield* succeed({ key: "a" })
        yield* CircuitBreaker.reset("api", { key: "a" })
      }
      yield* play("FF", { key: "b" })
      yield* written(9)
      const opened = yield* AuditTrail.openedWithin({ within: "1 hour" })
      assert.deepStrictEqual(
        opened.map(({ circuit, key, times }) => [circuit, key, times]),
        [
          ["api", "a", 2],
          ["api", "b", 1]
        ]
      )
      const days = yield* AuditTrail.transitionsPerDay()
      assert.deepInclude(
        days.map(({ to, transitions }) => [to, transitions]),
        ["Open", 3]
      )
      assert.match(days[0]?.day ?? "", /^\d{4}-\d\d-\d\d$/)
      const longest = yield* AuditTrail.longestOpenings()
      assert.strictEqual(longest.length, 2)
      assert.isAtLeast(longest[0]?.downMillis ?? 0, longest[1]?.downMillis ?? 0)
      const { meanMillis, recoveries } = yield* AuditTrail.timeToRecover()
      assert.strictEqual(recoveries, 2)
      assert.isAtLeast(meanMillis ?? 0, 90)
      assert.strictEqual((yield* AuditTrail.timeToRecover({ name: "other" })).recoveries, 0)
      assert.deepStrictEqual(yield* AuditTrail.openedWithin({ within: 1 }), [])
    })
  )

  live(
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

  live(
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

  live(
    "is pruned in batches, and keeps what is not old",
    Effect.gen(function* () {
      for (let i = 0; i < 25; i++) yield* CircuitBreaker.isolate("api", { key: `${i}` })
      yield* CircuitBreaker.reset("old")
      yield* CircuitBreaker.isolate("api", { key: "0" })
      yield* AuditTrail.flush
      yield* Effect.sleep("300 millis")
      yield* CircuitBreaker.isolate("young")
      yield* AuditTrail.flush
      const n = yield* AuditTrail.prune({ olderThan: "250 millis", batch: 10 })
      assert.isAtLeast(n, 26)
      assert.deepStrictEqual(yield* AuditTrail.history("api", { key: "3" }), [])
      assert.strictEqual((yield* AuditTrail.history("young")).length, 1)
      assert.strictEqual((yield* AuditTrail.forced).length, 26, "what is forced is known, however old")
      assert.strictEqual(yield* AuditTrail.prune({ olderThan: "1 hour" }), 0)
    })
  )

  live(
    "forgets what a process had open for itself and never took back, once it is old",
    Effect.gen(function* () {
      yield* CircuitBreaker.open("bank")
      yield* CircuitBreaker.isolate("mail")
      yield* AuditTrail.flush
      const open = Effect.map(AuditTrail.openNow, (found) => found.map(({ circuit }) => circuit))
      assert.deepStrictEqual(yield* open, ["bank"])
      yield* AuditTrail.prune({ olderThan: "1 hour" })
      assert.deepStrictEqual(yield* open, ["bank"])
      yield* Effect.sleep(20)
      yield* AuditTrail.prune({ olderThan: "1 hour", closedFor: "10 millis" })
      assert.deepStrictEqual(yield* open, [])
      assert.strictEqual((yield* AuditTrail.forced).length, 1, "what is forced is known, however old")
    })
  )

  live(
    "has what was counted, over time",
    Effect.gen(function* () {
      yield* play("SSF", { key: "a" })
      yield* succeed({ key: "b" })
      yield* Snapshots.take({ process: "checkout" })
      yield* play("F", { key: "a" })
      yield* CircuitBreaker.isolate("o'ther\n\ud800")
      yield* Effect.sleep(5)
      yield* Snapshots.take({ process: "checkout" })
      const series = yield* Snapshots.series("api", { within: "1 hour" })
      assert.deepStrictEqual(
        series.map(({ calls, circuits, failures, healthy, process, state, successes }) => [
          calls,
          successes,
          failures,
          circuits,
          healthy,
          state,
          process
        ]),
        [
          [4, 3, 1, 2, 2, "Closed", "checkout"],
          [5, 3, 2, 2, 1, "Open", "checkout"]
        ]
      )
      assert.strictEqual((yield* Snapshots.series("o'ther\n\ud800")).length, 1)
      yield* Effect.sleep(20)
      assert.isAtLeast(yield* AuditTrail.prune({ olderThan: "10 millis" }), 3)
      assert.deepStrictEqual(yield* Snapshots.series("api"), [])
    })
  )

  live(
    "has it again and again, where a layer says so",
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

  live(
    "has any name, key and reason as it was",
    Effect.gen(function* () {
      const wild = `o'Brien "x"; DROP TABLE\n${"k".repeat(400)} ключ 🔑`
      yield* CircuitBreaker.isolate(wild, { key: wild, reason: wild, actor: wild })
      yield* AuditTrail.flush
      const [entry] = yield* AuditTrail.history(wild, { key: wild })
      assert.deepInclude(entry, { circuit: wild, key: wild, actor: wild })
    })
  )

  live(
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
})

describe("a trail", () => {
  const onPostgres = <A, E>(test: (sql: Layer.Layer<SqlClient.SqlClient>) => Effect.Effect<A, E, Scope.Scope>) =>
    Effect.scoped(Effect.suspend(() => test(Layer.fresh(client(url)))))

  it.live(
    "loses none of ten thousand transitions, and none is there twice",
    () =>
      onPostgres((sql) =>
        Effect.gen(function* () {
          const n = 5_000
          for (let i = 0; i < n; i++) {
            yield* CircuitBreaker.isolate("api", { key: `${i % 500}` })
            yield* CircuitBreaker.release("api", { key: `${i % 500}` })
          }
          yield* written(2 * n)
          assert.deepInclude(yield* AuditTrail.stats, { written: 2 * n, dropped: 0 })
          const days = yield* AuditTrail.transitionsPerDay()
          assert.strictEqual(
            days.reduce((sum, { transitions }) => sum + transitions, 0),
            2 * n
          )
        }).pipe(Effect.provide(Layer.provideMerge(audited({ prefix: prefix() }), sql)))
      ),
    60_000
  )

  it.live(
    "is written when the database comes, and when it is back, each line once",
    () =>
      Effect.gen(function* () {
        const server = yield* postgresServer
        yield* server.kill
        const options = { prefix: prefix() }
        yield* Effect.gen(function* () {
          for (let i = 0; i < 3; i++) yield* CircuitBreaker.isolate("api", { key: `before ${i}` })
          yield* Effect.sleep("200 millis")
          assert.deepStrictEqual(yield* AuditTrail.stats, { written: 0, pending: 3, dropped: 0 })
          yield* server.start
          yield* written(3)
          yield* server.kill
          for (let i = 0; i < 3; i++) yield* CircuitBreaker.isolate("api", { key: `between ${i}` })
          assert.strictEqual((yield* succeed({ name: "unharmed" }))._tag, "Success")
          yield* Effect.sleep("200 millis")
          yield* server.start
          yield* written(6)
          assert.strictEqual((yield* AuditTrail.forced).length, 6)
          const days = yield* AuditTrail.transitionsPerDay()
          assert.strictEqual(
            days.reduce((sum, { transitions }) => sum + transitions, 0),
            6
          )
        }).pipe(Effect.provide(Layer.provideMerge(audited(options), client(server.url))))
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "is the same when answers get lost: what was written is not written again",
    () =>
      onPostgres((sql) =>
        Effect.gen(function* () {
          const inner = yield* SqlClient.SqlClient
          let lost = 0
          // Commits, and then says that it failed.
          const deaf: SqlClient.SqlClient = Object.assign(
            (...args: Parameters<SqlClient.SqlClient>) =>
              (inner as unknown as (...args: ReadonlyArray<unknown>) => never)(...args),
            inner,
            {
              withTransaction: (effect: Effect.Effect<unknown, unknown, never>) =>
                Effect.flatMap(inner.withTransaction(effect), (answer) =>
                  lost++ < 3
                    ? Effect.fail(
                        new SqlError.SqlError({
                          reason: new SqlError.ConnectionError({ cause: "lost", message: "lost" })
                        })
                      )
                    : Effect.succeed(answer)
                )
            }
          ) as never
          yield* Effect.gen(function* () {
            yield* written(0)
            for (let i = 0; i < 4; i++) {
              yield* CircuitBreaker.isolate("api", { key: `${i}` })
              yield* Effect.sleep("100 millis")
            }
            yield* written(4)
            assert.isAbove(lost, 3)
            for (let i = 0; i < 4; i++) {
              assert.strictEqual((yield* AuditTrail.history("api", { key: `${i}` })).length, 1)
            }
          }).pipe(
            Effect.provide(Layer.provideMerge(audited({ prefix: prefix() }), Layer.succeed(SqlClient.SqlClient, deaf)))
          )
        }).pipe(Effect.provide(sql))
      ),
    60_000
  )

  it.live("keeps no more than it may while the database is away, and says how many it dropped", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 25; i++) yield* CircuitBreaker.isolate("api", { key: `${i}` })
      assert.deepStrictEqual(yield* AuditTrail.stats, { written: 0, pending: 10, dropped: 15 })
    }).pipe(
      Effect.provide(
        Layer.provideMerge(
          audited({ prefix: prefix(), maxPending: 10 }),
          client("postgres://postgres@127.0.0.1:1/none")
        )
      )
    )
  )

  it.live(
    "has what a fleet did once, though all its processes write",
    () =>
      onPostgres((sql) =>
        Effect.gen(function* () {
          const { processes } = yield* fleet(sql)
          const [a, b] = processes
          assert(a !== undefined && b !== undefined)
          yield* Effect.provideContext(CircuitBreaker.isolate("api", { actor: "ann" }), a)
          yield* allAre(processes, "Isolated")
          yield* Effect.provideContext(CircuitBreaker.release("api", { actor: "bob" }), b)
          yield* allAre(processes, "Closed")
          for (const one of processes) yield* Effect.provideContext(AuditTrail.flush, one)
          const entries = yield* Effect.provideContext(AuditTrail.history("api"), a)
          assert.deepStrictEqual(
            entries.map(({ actor, scope, to }) => [to, actor, scope]),
            [
              ["Closed", "bob", "fleet"],
              ["Isolated", "ann", "fleet"]
            ]
          )
          assert.deepStrictEqual(yield* Effect.provideContext(AuditTrail.forced, a), [])
        })
      ),
    60_000
  )

  it.live(
    "has once what an operator did from outside of the fleet, and how it ended, and who it was",
    () =>
      onPostgres((sql) =>
        Effect.gen(function* () {
          const { processes, shared } = yield* fleet(sql)
          const [a] = processes
          assert(a !== undefined)
          for (const one of processes) yield* Effect.provideContext(succeed(), one)
          const by = { actor: "ann", process: "console" }
          yield* Operator.isolate(shared, "api", { ...by, reason: "drill", for: "300 millis" })
          yield* allAre(processes, "Isolated")
          yield* allAre(processes, "Closed")
          for (const one of processes) yield* Effect.provideContext(succeed(), one)
          yield* Operator.open(shared, "api", { ...by, for: "1 hour" })
          yield* allAre(processes, "Open")
          yield* Operator.reset(shared, "api", by)
          yield* allAre(processes, "Closed")
          for (const one of processes) yield* Effect.provideContext(AuditTrail.flush, one)
          const entries = yield* Effect.provideContext(AuditTrail.history("api"), a)
          assert.deepStrictEqual(
            entries.map(({ actor, process, to, why }) => [to, why, actor, process]),
            [
              ["Closed", "Reset", "ann", "console"],
              ["Open", "OpenedByHand", "ann", "console"],
              ["Closed", "Expired", undefined, "console"],
              ["Isolated", "Isolated", "ann", "console"]
            ]
          )
        })
      ),
    60_000
  )

  it.live("is read by a program that writes none, and makes its tables where that may", () =>
    onPostgres((sql) =>
      Effect.gen(function* () {
        const options = { prefix: prefix() }
        const reader = (more: AuditTrail.ReaderOptions) =>
          Layer.provide(AuditTrail.layerReader({ ...options, ...more }), sql)
        assert.isTrue(Exit.isFailure(yield* Effect.exit(Layer.build(reader({ migrate: false })))))
        yield* Effect.provide(SqlStore.migrate(options), sql)
        assert.deepStrictEqual(yield* Effect.provide(AuditTrail.openNow, reader({ migrate: false })), [])
      })
    )
  )

  it.live("keeps nobody waiting: not while the database hangs, nor at the end", () =>
    Effect.gen(function* () {
      yield* play("FF")
      assert.strictEqual((yield* AuditTrail.stats).pending, 1)
    }).pipe(
      Effect.provide(
        Layer.provideMerge(audited({ prefix: prefix() }), Layer.fresh(client("postgres://postgres@127.0.0.1:1/none")))
      )
    )
  )

  it("names the option that is wrong", () => {
    const problem = (options: unknown) =>
      String(
        Effect.runSync(
          Effect.flip(
            Effect.scoped(
              Layer.build(
                Layer.provide(
                  AuditTrail.layer(options as never),
                  Layer.merge(BreakerStore.layerMemory, sqlite(":memory:"))
                )
              )
            )
          )
        )
      )
    assert.include(problem({ prefix: "a b" }), "prefix")
    assert.include(problem({ maxPending: 0 }), "maxPending")
    assert.include(problem({ table: "x" }), "table: unknown field")
    assert.include(problem({ metadata: 1n }), "metadata")
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
