import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Effect } from "effect"
import type { SharedStore } from "effect-fuse"
import * as DynamoStore from "effect-fuse/DynamoStore"
import { ServerClock } from "../src/dynamo/serverClock.ts"
import { dynamoProxy } from "./support/dynamoProxy.ts"
import { circuitsTable, dynamoClient, dynamoTable } from "./support/dynamoServer.ts"
import { cast as anyCast, circuits, exchanged, swap } from "./support/exchanges.ts"
import { ofFile } from "./support/ofFile.ts"
import { until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"

const server = ofFile(dynamoTable)

let prefixes = 0

/** Stores of one new prefix. */
const places = Effect.map(server, ({ url }) => {
  const prefix = `p${++prefixes}`
  const store = (at = url) =>
    Effect.flatMap(dynamoClient(at), (client) => DynamoStore.make({ client, table: circuitsTable, prefix }))
  return { url, store }
})

const cast = (more: Partial<SharedStore.Cast> = {}) => anyCast({ ballot: [1, 0, 5], ...more })

describe("exchanges with DynamoDB", () => {
  live(
    "of many processes at once, each in another order, are all carried out",
    Effect.gen(function* () {
      const { store: make } = yield* places
      const size = 4
      const some = circuits.slice(0, 8)
      const stores = yield* Effect.all(Array.from({ length: size }, () => make()))
      const ofOne = (store: SharedStore.SharedStore, i: number) =>
        Effect.gen(function* () {
          for (let round = 0; round < 4; round++) {
            const order = (i + round) % 2 === 0 ? some : [...some].reverse()
            yield* exchanged(store, {
              voter: `v${i}`,
              casts: order.map((circuit) => cast({ circuit, ballot: [i, round, 1], inquire: 1, roll: 1 })),
              swaps: order.map((circuit) => swap({ circuit: `${circuit}/${round}`, body: `${i}` }))
            })
            yield* exchanged(store, { voter: `v${i}`, heard: Number.MAX_SAFE_INTEGER - 1 })
            yield* exchanged(store, { voter: `w${i}`, casts: order.map((circuit) => cast({ circuit })) })
            yield* exchanged(store, { voter: `w${i}`, ttl: 0 })
          }
        })
      yield* Effect.all(stores.map(ofOne), { concurrency: "unbounded", discard: true })
      const [store] = stores
      assert(store !== undefined)
      const { casts } = yield* exchanged(store, {
        voter: "reader",
        ttl: 0,
        casts: some.map((circuit) => cast({ circuit, ballot: undefined }))
      })
      assert.deepStrictEqual(
        casts.map(({ tally }) => [tally?.voters, ...(tally?.sums ?? [])]),
        some.map(() => [size, (size * (size - 1)) / 2, 3 * size, size])
      )
      const { changes, epoch } = yield* store.page(0, 1_000)
      assert.strictEqual(changes.length, 4 * some.length)
      assert.strictEqual(changes.at(-1)?.epoch, epoch)
    }),
    60_000
  )

  live(
    "are seen by pages in the order of their epochs: reading on while they are made misses none",
    Effect.gen(function* () {
      const { store: make } = yield* places
      const [reader, ...writers] = yield* Effect.all([0, 1, 2].map(() => make()))
      assert(reader !== undefined)
      const done = yield* Deferred.make<void>()
      const writing = Effect.forEach(
        writers,
        (store, i) =>
          Effect.forEach(
            Array.from({ length: 20 }, (_, n) => n),
            (n) =>
              exchanged(store, { voter: `v${i}`, swaps: [0, 1, 2].map((m) => swap({ circuit: `${i}/${n}/${m}` })) }),
            { discard: true }
          ),
        { concurrency: "unbounded", discard: true }
      )
      yield* Effect.forkChild(Effect.andThen(writing, Deferred.succeed(done, undefined)))
      const seen: Array<string> = []
      for (let since = 0, over = false; ; ) {
        const { changes } = yield* reader.page(since, 10)
        seen.push(...changes.map(({ circuit }) => circuit))
        since = changes.at(-1)?.epoch ?? since
        if (changes.length === 0 && over) break
        over = yield* Deferred.isDone(done)
        yield* Effect.sleep(1)
      }
      assert.strictEqual(new Set(seen).size, 120)
      assert.strictEqual(seen.length, 120)
    }),
    60_000
  )
})

describe("the requests", () => {
  const counting = Effect.gen(function* () {
    const { store, url } = yield* places
    const proxy = yield* dynamoProxy(url)
    const during = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.gen(function* () {
        proxy.passed.length = 0
        yield* effect
        // The items of circuits are written after the answer.
        const isCommitted = proxy.passed.some(({ input }) => input.includes(":was"))
        yield* until(
          "the turn is carried out",
          Effect.sync(() => !isCommitted || proxy.passed.some(({ input }) => input.includes("REMOVE #p")))
        )
        const counts = new Map<string, number>()
        for (const { kind, status } of proxy.passed) {
          assert.strictEqual(status, 200, kind)
          counts.set(kind, (counts.get(kind) ?? 0) + 1)
        }
        return Object.fromEntries([...counts].sort())
      })
    return { store: yield* store(proxy.url), during }
  })

  live(
    "of a heartbeat are one, and one more with a digest; of a page and of a look at the time one",
    Effect.gen(function* () {
      const { during, store } = yield* counting
      yield* exchanged(store, { swaps: [swap()] })
      yield* exchanged(store)
      yield* store.page(0, 500)
      assert.deepStrictEqual(yield* during(exchanged(store)), { UpdateItem: 1 })
      assert.deepStrictEqual(yield* during(exchanged(store, { digest: "digest" })), { PutItem: 1, UpdateItem: 1 })
      assert.deepStrictEqual(yield* during(store.page(0, 500)), { GetItem: 1 })
      assert.deepStrictEqual(yield* during(store.load([])), { GetItem: 1 })
      assert.deepStrictEqual(yield* during(store.load(circuits)), { BatchGetItem: 1, GetItem: 1 })
    })
  )

  live(
    "of a heartbeat are as many with a hundred processes as with one",
    Effect.gen(function* () {
      const { during, store } = yield* counting
      for (let i = 0; i < 100; i++) yield* exchanged(store, { voter: `voter-${i}` })
      yield* exchanged(store)
      assert.deepStrictEqual(yield* during(exchanged(store)), { UpdateItem: 1 })
    })
  )

  live(
    "of casts and swaps are four, and one for each circuit and each roll call",
    Effect.gen(function* () {
      const { during, store } = yield* counting
      yield* exchanged(store)
      const of = (casts: number, swaps: number, roll = 0) =>
        during(
          exchanged(store, {
            heard: Number.MAX_SAFE_INTEGER - 1,
            casts: circuits.slice(0, casts).map((circuit) => cast({ circuit, roll })),
            swaps: circuits.slice(0, swaps).map((one) => swap({ circuit: `${one}/${casts}/${swaps}` }))
          })
        )
      const requests = (puts: number) => ({ BatchGetItem: 1, GetItem: 1, PutItem: puts, UpdateItem: 2 })
      assert.deepStrictEqual(yield* of(1, 0), requests(1))
      assert.deepStrictEqual(yield* of(0, 1), requests(1))
      assert.deepStrictEqual(yield* of(32, 32), requests(64))
      assert.deepStrictEqual(yield* of(2, 0, 60_000), requests(4))
    })
  )
})

// ---- Time ---------------------------------------------------------------------------------------------------------

describe("the time of the servers", () => {
  const clockAt = (start: number) => {
    let local = start
    const clock = new ServerClock(() => local)
    return {
      clock,
      pass: (millis: number) => {
        local += millis
      }
    }
  }
  /** A response of a server whose time is `server`, to a request that took some milliseconds. */
  const answered = ({ clock, pass }: ReturnType<typeof clockAt>, server: number, millis = 20) => {
    const sentAt = clock.local()
    pass(millis)
    clock.note(Math.floor((server + millis / 2) / 1_000) * 1_000, sentAt)
  }

  it("is that of this process, if its clock is right", () => {
    const one = clockAt(1_000_400)
    answered(one, 1_000_400)
    assert.strictEqual(one.clock.now(), 1_000_420)
  })

  it.each([-600_000, -10_000, -3_000, 3_000, 10_000, 600_000])(
    "is within two seconds of the servers', if the clock of this process is %d milliseconds off",
    (off) => {
      const one = clockAt(5_000_000 + off)
      for (let server = 5_000_000; server < 5_020_000; server += 700) {
        answered(one, server)
        assert.isAtMost(Math.abs(one.clock.now() - (server + 20)), 2_020)
        one.pass(680)
      }
    }
  )

  it("follows a clock that is set", () => {
    const one = clockAt(5_000_000)
    answered(one, 5_000_000)
    one.pass(3_600_000)
    answered(one, 5_000_020)
    assert.isAtMost(Math.abs(one.clock.now() - 5_000_040), 2_020)
  })

  it("does not come from a response without a date", () => {
    const one = clockAt(5_000_000)
    one.clock.note(Number.NaN, 5_000_000)
    assert.strictEqual(one.clock.now(), 5_000_000)
  })

  live(
    "lets processes whose clocks are minutes apart agree on how old a record is, and who lives",
    Effect.gen(function* () {
      const { store: make } = yield* places
      const ahead = (millis: number) =>
        Clock.clockWith((clock) => {
          const shifted: Clock.Clock = Object.create(clock, {
            currentTimeMillisUnsafe: { value: () => clock.currentTimeMillisUnsafe() + millis }
          })
          return Effect.provideService(make(), Clock.Clock, shifted)
        })
      const [early, late] = [yield* ahead(-240_000), yield* ahead(240_000)]
      yield* early.load([])
      yield* late.load([])
      yield* exchanged(early, { voter: "early", ttl: 10_000, swaps: [swap({ ttl: 10_000 })] })
      const { live } = yield* exchanged(late, { voter: "late", ttl: 10_000 })
      assert.strictEqual(live, 2)
      const [record] = (yield* late.load(["api"])).records
      assert.isAtMost(record?.age ?? Infinity, 5_000)
      assert.strictEqual((yield* exchanged(early, { voter: "early", ttl: 10_000 })).live, 2)
    })
  )
})
