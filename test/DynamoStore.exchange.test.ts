import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import * as DynamoStore from "effect-fuse/DynamoStore"
import { ServerClock } from "../src/dynamo/serverClock.ts"
import { upTo } from "./support/batches.ts"
import { allAreCarriedOut, pagesMissNoChange } from "./support/concurrentExchanges.ts"
import { dynamoProxy } from "./support/dynamoProxy.ts"
import { circuitsTable, dynamoClient, dynamoTable } from "./support/dynamoServer.ts"
import { cast, circuits, exchanged, swap } from "./support/exchanges.ts"
import { ofFile } from "./support/ofFile.ts"
import { until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"

const server = ofFile(dynamoTable)

let prefixes = 0

/** Makes stores that share a new prefix. */
const places = Effect.map(server, ({ url }) => {
  const prefix = `p${++prefixes}`
  const store = (at = url) =>
    Effect.flatMap(dynamoClient(at), (client) => DynamoStore.make({ client, table: circuitsTable, prefix }))
  return { url, store }
})

describe("exchanges with DynamoDB", () => {
  live(
    "all take effect if many processes send them at once, each in a different order",
    Effect.gen(function* () {
      const { store: make } = yield* places
      const stores = yield* Effect.all(upTo(4).map(() => make()))
      yield* allAreCarriedOut(stores, circuits.slice(0, 8), 4)
    }),
    60_000
  )

  live(
    "appear in pages in the order of their epochs, and a concurrent reader misses no change",
    Effect.gen(function* () {
      const { store: make } = yield* places
      yield* pagesMissNoChange(yield* Effect.all(upTo(3).map(() => make())), 20)
    }),
    60_000
  )
})

describe("the number of requests", () => {
  const counting = Effect.gen(function* () {
    const { store, url } = yield* places
    const proxy = yield* dynamoProxy(url)
    const during = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.gen(function* () {
        proxy.passed.length = 0
        yield* effect
        // The store writes the items of circuits after its answer.
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
    "is one for a heartbeat, two with a digest, one for a page, and one or two for a load",
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
    "is one for a heartbeat, even in a fleet of a hundred processes",
    Effect.gen(function* () {
      const { during, store } = yield* counting
      for (let i = 0; i < 100; i++) yield* exchanged(store, { voter: `voter-${i}` })
      yield* exchanged(store)
      assert.deepStrictEqual(yield* during(exchanged(store)), { UpdateItem: 1 })
    })
  )

  live(
    "is four for casts and swaps, plus one for each circuit and each roll call",
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

describe("the estimated time of the servers", () => {
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
  /** A request takes `millis`. The server reads its clock after half of this time. */
  const answered = ({ clock, pass }: ReturnType<typeof clockAt>, server: number, millis = 20) => {
    const sentAt = clock.local()
    pass(millis)
    clock.note(Math.floor((server + millis / 2) / 1_000) * 1_000, sentAt)
  }

  it("equals an accurate clock of this process", () => {
    const one = clockAt(1_000_400)
    answered(one, 1_000_400)
    assert.strictEqual(one.clock.now(), 1_000_420)
  })

  it.each([-600_000, -10_000, -3_000, 3_000, 10_000, 600_000])(
    "is wrong by at most two seconds if the clock of this process is wrong by %d milliseconds",
    (off) => {
      const one = clockAt(5_000_000 + off)
      for (let server = 5_000_000; server < 5_020_000; server += 700) {
        answered(one, server)
        assert.isAtMost(Math.abs(one.clock.now() - (server + 20)), 2_020)
        one.pass(680)
      }
    }
  )

  it("adapts to a change of the local clock", () => {
    const one = clockAt(5_000_000)
    answered(one, 5_000_000)
    one.pass(3_600_000)
    answered(one, 5_000_020)
    assert.isAtMost(Math.abs(one.clock.now() - 5_000_040), 2_020)
  })

  it("ignores a response without a date", () => {
    const one = clockAt(5_000_000)
    one.clock.note(Number.NaN, 5_000_000)
    assert.strictEqual(one.clock.now(), 5_000_000)
  })

  live(
    "lets processes with clocks minutes apart agree on the age of a record and on the live processes",
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
