import { DatabaseSync } from "node:sqlite"
import { assert, describe } from "@effect/vitest"
import { Clock, Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { Statement } from "effect/sql"
import { SharedStore } from "effect-fuse"
import * as client from "../src/cli/sqlite.ts"
import { allAreCarriedOut, pagesMissNoChange, tallies } from "./support/concurrentExchanges.ts"
import { databases, on, onOwn, servers } from "./support/databases.ts"
import { cast as anyCast, castOf, circuits, exchanged, swap, swapOf } from "./support/exchanges.ts"
import { until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { ask, onSqlite, say, sharedStore, transaction } from "./support/sqlFleet.ts"
import { sqlite } from "./support/sqlite.ts"
import { wired } from "./support/wired.ts"

const cast = (more: Partial<SharedStore.Cast> = {}) => anyCast({ ballot: [1, 0, 5], ...more })

describe.each(databases)("exchanges with %s", (database) => {
  const { place } = on(database)

  live(
    "all take effect if many processes send them at once, each in a different order",
    Effect.gen(function* () {
      const { open } = yield* place
      const size = database === "SQLite" ? 3 : 6
      const stores = yield* Effect.all(Array.from({ length: size }, () => Effect.flatMap(open, sharedStore)))
      yield* Effect.forEach(stores, (store) => store.load([]))
      yield* allAreCarriedOut(stores, circuits, 5)
    })
  )

  live(
    "appear in pages in the order of their epochs, and a concurrent reader misses no change",
    Effect.gen(function* () {
      const { open } = yield* place
      const stores = yield* Effect.all([0, 1, 2].map(() => Effect.flatMap(open, sharedStore)))
      yield* Effect.forEach(stores, (store) => store.load([]))
      yield* pagesMissNoChange(stores, 40)
    })
  )
})

describe("an exchange with SQLite", () => {
  const counting = Effect.gen(function* () {
    const { url } = yield* onSqlite
    const said: Array<string> = []
    const rewrite = (statement: string) => {
      said.push(statement)
      return statement
    }
    const store = yield* sharedStore(yield* Layer.build(sqlite(url, { rewrite })))
    yield* store.load([])
    const during = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.gen(function* () {
        said.length = 0
        yield* effect
        return said.map((statement) => statement.trim().split(/\s/)[0]).join(" ")
      })
    return { store, during }
  })

  /** A store on a database whose clock can be set: to a number of minutes after the real time. */
  const withClock = Effect.gen(function* () {
    const { url } = yield* onSqlite
    let ahead = 0
    const rewrite = (statement: string) =>
      statement.replaceAll("julianday('now')", `(julianday('now') + ${ahead / 1_440})`)
    const sql = yield* Layer.build(sqlite(url, { rewrite }))
    const setClock = (minutes: number) => {
      ahead = minutes
    }
    return { sql, store: yield* sharedStore(sql), setClock }
  })

  live(
    "takes as many statements for 32 casts and swaps as for one, and with 100 voters as with one",
    Effect.gen(function* () {
      const { during, store } = yield* counting
      const of = (many: number, round: string) =>
        exchanged(store, {
          voter: "v0",
          casts: circuits.slice(0, many).map((circuit) => cast({ circuit })),
          swaps: circuits.slice(0, many).map((circuit) => swap({ circuit: `${circuit}/${round}` }))
        })
      // The first deletes what has ended, which others do not within the next seconds.
      yield* of(32, "first")
      const one = yield* during(of(1, "one"))
      assert.strictEqual(one, "BEGIN UPDATE SELECT INSERT INSERT INSERT DELETE DELETE INSERT UPDATE COMMIT")
      assert.strictEqual(yield* during(of(32, "many")), one)
      for (let i = 0; i < 100; i++) {
        yield* exchanged(store, { voter: `v${i}`, casts: circuits.map((circuit) => cast({ circuit })) })
      }
      assert.strictEqual(yield* during(of(32, "crowd")), one)
    })
  )

  live(
    "that is a heartbeat is two statements and no transaction; one that comes too late writes nothing",
    Effect.gen(function* () {
      const { during, store } = yield* counting
      yield* exchanged(store)
      assert.strictEqual(yield* during(exchanged(store)), "SELECT UPDATE")
      assert.strictEqual(yield* during(store.page(0, 10)), "SELECT")
      assert.strictEqual(yield* during(store.load(["a", "b"])), "SELECT")
      const request = { voter: "v", heard: 0, floor: 0, casts: [cast()], swaps: [swap()] }
      const late = store.exchange({ ...request, ttl: 60_000, notAfter: 5 })
      assert.strictEqual(yield* during(late), "BEGIN UPDATE SELECT COMMIT")
    })
  )

  live(
    "is not carried out if its process stalls in the middle until the deadline has passed",
    Effect.gen(function* () {
      const { url } = yield* onSqlite
      const clock = yield* Clock.Clock
      let stood = 0n
      const rewrite = (statement: string) => {
        // The process stalls between its read and its write.
        if (/^\s*INSERT/.test(statement) && isStanding) stood += 1_000_000_000n
        return statement
      }
      let isStanding = false
      const slow = Object.assign(Object.create(clock), {
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + stood
      })
      const store = yield* sharedStore(yield* Layer.build(sqlite(url, { rewrite })))
      const { time } = yield* store.load([])
      const request = {
        voter: "v",
        ttl: 60_000,
        notAfter: time + 30_000,
        heard: 0,
        floor: 0,
        casts: [],
        swaps: [swap()]
      }
      isStanding = true
      const late = yield* Effect.provideService(store.exchange({ ...request, notAfter: time + 900 }), Clock.Clock, slow)
      assert.strictEqual(late._tag, "Late")
      assert.deepStrictEqual((yield* store.load(["api"])).records, [undefined])
      isStanding = false
      assert.strictEqual((yield* store.exchange(request))._tag, "Done")
    })
  )

  live(
    "computes the sums again if the clock of the database goes back",
    Effect.gen(function* () {
      const { setClock, sql, store } = yield* withClock
      yield* castOf(store, cast({ ttl: 10_000 }), { voter: "a", ttl: 600_000 })
      yield* castOf(store, cast({ ttl: 600_000 }), { voter: "b", ttl: 600_000 })
      // A minute later the first ballot has ended, and is deleted; then that minute is taken back.
      setClock(1)
      const later = yield* castOf(store, cast(), { voter: "c", ttl: 600_000 })
      assert.deepStrictEqual([later.tally?.voters, later.tally?.sums], [2, [2, 0, 10]])
      assert.strictEqual(yield* ask(sql, "SELECT COUNT(*) FROM circuit_breaker_ballots"), 2)
      setClock(0)
      const before = yield* castOf(store, cast({ ballot: [3, 0, 5] }), { voter: "a", ttl: 600_000 })
      assert.deepStrictEqual([before.tally?.voters, before.tally?.sums], [3, [5, 0, 15]])
      const { record, swapped } = yield* swapOf(store, swap())
      assert.isTrue(swapped && record !== undefined)
    })
  )

  live(
    "deletes some of the expired records, and returns up to which epoch pages no longer show all changes",
    Effect.gen(function* () {
      const { setClock, sql, store } = yield* withClock
      for (let i = 0; i < 20; i++) {
        const swaps = circuits.map((circuit) => swap({ circuit: `${circuit}/${i}` }))
        yield* exchanged(store, { casts: circuits.map((circuit) => cast({ circuit })), swaps })
      }
      const all = yield* store.page(0, 1_000)
      const more = yield* store.page(all.changes.at(-1)?.epoch ?? 0, 1_000)
      const { page } = SharedStore.limits
      assert.deepStrictEqual(
        [all.changes.length, more.changes.length, all.trimmed, all.listed],
        [page, 640 - page, 0, 640]
      )
      setClock(60)
      const lasting = yield* swapOf(store, swap({ circuit: "last", ttl: undefined }))
      const some = yield* store.page(0, 1_000)
      const [left] = some.changes
      assert.deepStrictEqual([some.changes.length, some.listed], [141, 1])
      assert.strictEqual(some.trimmed, (left?.epoch ?? 0) - 1)
      setClock(120)
      yield* exchanged(store)
      const rest = yield* store.page(0, 1_000)
      assert.deepStrictEqual(
        rest.changes.map(({ epoch }) => epoch),
        [lasting.record?.epoch]
      )
      for (const table of ["ballots", "boxes", "rolls"]) {
        assert.strictEqual(yield* ask(sql, `SELECT COUNT(*) FROM circuit_breaker_${table}`), 0, table)
      }
    })
  )

  live(
    "fails on a file that cannot be written, from which all records can be read",
    Effect.gen(function* () {
      const { open, url } = yield* onSqlite
      const writer = yield* sharedStore(yield* open)
      const { record } = yield* swapOf(writer, swap())
      const readOnly = client.sqlite(() => new DatabaseSync(url, { readOnly: true }))
      const store = yield* sharedStore(yield* Layer.build(Layer.orDie(readOnly)))
      assert.strictEqual((yield* store.load(["api"])).records[0]?.epoch, record?.epoch)
      assert.strictEqual((yield* store.page(0, 10)).changes.length, 1)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(exchanged(store))))
      assert.strictEqual((yield* store.page(0, 10)).live, 1)
    })
  )
})

describe.each(servers)("an exchange with %s", (database) => {
  const ground = onOwn(database)

  live(
    "whose connection ends in the middle is carried out as a whole or not at all",
    Effect.gen(function* () {
      const { open, url } = yield* ground.place
      const [store, reader] = [yield* sharedStore(yield* open), yield* sharedStore(yield* open)]
      const admin = yield* ground.connect(url, { maxConnections: 1 })
      yield* exchanged(reader)
      let failed = 0
      let n = 0
      yield* until(
        "some exchanges have failed",
        Effect.gen(function* () {
          n++
          const casts = circuits.map((circuit) => cast({ circuit, ballot: [n] }))
          const swaps = [swap({ circuit: `api/${n}` }), swap({ circuit: `api/${n}/x` })]
          const exchange = yield* Effect.forkChild(Effect.exit(exchanged(store, { casts, swaps })), {
            startImmediately: true
          })
          yield* Effect.sleep(n % 5)
          yield* ground.endOthers(admin)
          if (Exit.isFailure(yield* Fiber.join(exchange))) failed++
          const read = Effect.all([tallies(reader, circuits), reader.load(swaps.map(({ circuit }) => circuit))])
          const [sums, { records }] = yield* Effect.retry(read, { times: 20 })
          assert.strictEqual(new Set(sums).size, 1, sums.join(" "))
          const isThere = sums[0] === `1,${n}`
          assert.deepStrictEqual(
            records.map((record) => record !== undefined),
            [isThere, isThere]
          )
          return failed >= 5
        })
      )
    })
  )

  live(
    "that waited for a lock until its deadline was over changes nothing",
    Effect.gen(function* () {
      const { open } = yield* ground.place
      const [sql, other] = [yield* open, yield* open]
      const store = yield* sharedStore(sql)
      const { time } = yield* exchanged(store)
      const began = yield* Deferred.make<void>()
      const wait = Effect.andThen(Deferred.succeed(began, undefined), Effect.sleep(600))
      const lock = say(other, "SELECT * FROM circuit_breaker_store WHERE id = 1 FOR UPDATE")
      const holds = yield* Effect.forkChild(transaction(other, Effect.andThen(lock, wait)))
      yield* Deferred.await(began)
      const request = { voter: "w", ttl: 60_000, heard: 0, floor: 0, casts: [cast()], swaps: [swap()] }
      const answer = yield* store.exchange({ ...request, notAfter: time + 300 })
      yield* Fiber.join(holds)
      assert.strictEqual(answer._tag, "Late")
      // A heartbeat waits for no lock.
      const page = yield* store.page(0, 10)
      assert.deepStrictEqual([page.live, page.changes.length, page.epoch], [1, 0, 0])
      assert.strictEqual((yield* castOf(store, cast({ ballot: undefined }))).tally?.voters, 0)
    })
  )

  live(
    "that is a heartbeat does not wait while another is carried out",
    Effect.gen(function* () {
      const { open } = yield* ground.place
      const other = yield* open
      const store = yield* sharedStore(yield* open)
      yield* exchanged(store)
      const lock = say(other, "SELECT * FROM circuit_breaker_store WHERE id = 1 FOR UPDATE")
      const answer = yield* transaction(other, Effect.andThen(lock, exchanged(store)))
      assert.strictEqual(answer.live, 1)
    })
  )

  live(
    "fails for a user without write permission, which can read all records",
    Effect.gen(function* () {
      const made = yield* ground.place
      const writer = yield* sharedStore(yield* made.open)
      const { record } = yield* swapOf(writer, swap())
      const { grant, url } = yield* ground.user(made)
      yield* grant("SELECT")
      const store = yield* sharedStore(yield* ground.connect(url))
      assert.strictEqual((yield* store.load(["api"])).records[0]?.epoch, record?.epoch)
      assert.strictEqual((yield* store.page(0, 10)).changes.length, 1)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(exchanged(store))))
      assert.strictEqual((yield* store.page(0, 10)).live, 1)
    })
  )
})

describe("an exchange with PostgreSQL", () => {
  const ground = onOwn("PostgreSQL")

  live(
    "takes three statements in a transaction, whatever its content is; a heartbeat takes one statement without a transaction",
    Effect.gen(function* () {
      const { open } = yield* ground.place
      const store = yield* sharedStore(yield* open)
      const during = (more: Partial<SharedStore.Exchange> = {}) =>
        Effect.gen(function* () {
          const said: Array<string> = []
          yield* Effect.provideService(exchanged(store, more), Statement.CurrentTransformer, (statement) => {
            const [text] = statement.compile(true)
            said.push(text.trim().split(/\s/)[0] ?? "")
            return Effect.succeed(statement)
          })
          return said.join(" ")
        })
      const of = (many: number, round: string) => ({
        casts: circuits.slice(0, many).map((circuit) => cast({ circuit, inquire: 1, roll: 1 })),
        swaps: circuits.slice(0, many).map((circuit) => swap({ circuit: `${circuit}/${round}` }))
      })
      // The first exchange begins the life of the store, and deletes rows that have ended.
      yield* during(of(32, "first"))
      assert.strictEqual(yield* during(of(1, "one")), "SELECT SELECT WITH")
      assert.strictEqual(yield* during(of(32, "many")), "SELECT SELECT WITH")
      assert.strictEqual(yield* during(), "WITH")
      assert.strictEqual(yield* during({ voter: "new" }), "WITH SELECT SELECT INSERT")
    })
  )

  live(
    "of a process that stands still in the middle does not keep the others waiting",
    Effect.gen(function* () {
      const { admin, open, wire } = yield* wired(ground)
      const stalled = yield* sharedStore(yield* open)
      const well = yield* sharedStore(admin)
      yield* exchanged(stalled)
      yield* exchanged(well)
      yield* wire.delay(60)
      const casts = circuits.map((circuit) => cast({ circuit }))
      yield* Effect.forkChild(Effect.exit(exchanged(stalled, { voter: "stalled", casts })))
      const isHolding = `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()
        AND state = 'idle in transaction' AND query LIKE 'WITH%INSERT%'`
      yield* until(
        "it is in the middle",
        Effect.map(ask(admin, isHolding), (n) => n === 1)
      )
      yield* wire.hang
      yield* until(
        "another is carried out",
        Effect.map(Effect.timeoutOption(tallies(well, circuits), 500), (seen) => seen._tag === "Some")
      )
      assert.deepStrictEqual(
        yield* tallies(well, circuits),
        circuits.map(() => "0")
      )
    })
  )

  live(
    "fails while the database takes no writes, as a replica, from which all records can be read",
    Effect.gen(function* () {
      const { open, url } = yield* ground.place
      const writer = yield* sharedStore(yield* open)
      const { record } = yield* swapOf(writer, swap())
      yield* say(yield* open, `ALTER DATABASE ${url.replace(/.*\//, "")} SET default_transaction_read_only TO on`)
      const store = yield* sharedStore(yield* ground.connect(url))
      assert.strictEqual((yield* store.load(["api"])).records[0]?.epoch, record?.epoch)
      assert.strictEqual((yield* store.page(0, 10)).changes.length, 1)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(exchanged(store))))
    })
  )

  live(
    "and its reads use the indexes, however many records there are",
    Effect.gen(function* () {
      const { open } = yield* ground.place
      const sql = yield* open
      const store = yield* sharedStore(sql)
      yield* exchanged(store)
      yield* say(
        sql,
        `INSERT INTO circuit_breakers SELECT 'c' || n, n, '{}', n % 2, 1, 1, NULL, NULL FROM generate_series(1, 20000) n`
      )
      yield* say(sql, "ANALYZE")
      const plan = yield* say(
        sql,
        "EXPLAIN SELECT circuit, epoch, body FROM circuit_breakers WHERE changed = 1 AND epoch > 100 ORDER BY epoch LIMIT 1000"
      )
      assert.match(JSON.stringify(plan), /Index Scan using circuit_breakers_changed/)
      assert.notMatch(JSON.stringify(plan), /Sort/)
    })
  )
})
