import { assert, describe } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { CircuitBreaker, SharedStore } from "effect-fuse"
import { cast as anyCast, castOf, exchanged, swap, swapOf } from "./support/exchanges.ts"
import { load } from "./support/fleet.ts"
import {
  type Connection,
  connection,
  replica,
  send,
  sharedStore,
  standsAt,
  started,
  until,
  works
} from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisServer } from "./support/redisServer.ts"

const cast = (more: Partial<SharedStore.Cast>) => anyCast({ ttl: 10_000, ...more })

/** The milliseconds that each key has left; -1 for one that stays. */
const lifetimes = (redis: Connection): Effect.Effect<Record<string, number>> =>
  Effect.gen(function* () {
    const keys = yield* send<ReadonlyArray<string>>(redis, "KEYS *")
    const ends = yield* Effect.forEach(keys, (key) => send<number>(redis, `PTTL ${key}`))
    return Object.fromEntries(keys.map((key, place) => [key, Number(ends[place])]))
  })

describe("the data of a store in Redis", () => {
  live(
    "assigns each epoch once: also after a record ended, after keys are deleted, and after a flush",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const epochs: Array<number> = []
      const write = (more: Partial<SharedStore.Swap> = {}) =>
        Effect.gen(function* () {
          const { record, swapped } = yield* swapOf(store, swap(more))
          assert.isTrue(swapped)
          epochs.push(record?.epoch ?? 0)
          return record?.epoch ?? 0
        })
      for (let i = 0; i < 20; i++) {
        yield* write({ ttl: 1 })
        yield* until(
          "the record has ended",
          Effect.map(load(store, "api"), (record) => record === undefined)
        )
      }
      for (const command of ["DEL {effect-fuse}:records", "DEL {effect-fuse}:store", "FLUSHALL", "FLUSHALL"]) {
        const epoch = yield* write({ expectedEpoch: (yield* load(store, "api"))?.epoch ?? 0 })
        yield* send(redis, command)
        if ((yield* load(store, "api")) === undefined) {
          // The epoch that was lost can neither be swapped nor cast on.
          assert.isFalse((yield* swapOf(store, swap({ expectedEpoch: epoch }))).swapped)
          assert.isUndefined((yield* castOf(store, cast({ epoch }))).tally)
        }
      }
      let epoch = (yield* load(store, "api"))?.epoch ?? 0
      for (let i = 0; i < 200; i++) epoch = yield* write({ expectedEpoch: epoch })
      assert.strictEqual(epochs.length, 224)
      assert.deepStrictEqual(
        epochs,
        [...epochs].sort((one, other) => one - other)
      )
      assert.strictEqual(new Set(epochs).size, epochs.length)
      for (const one of epochs) assert.isTrue(Number.isSafeInteger(one) && one > 0)
    })
  )

  live(
    "continues after the last epoch and the last roll call if the server's clock was set back",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const ahead = 9_000_000_000_000_000
      yield* send(redis, `HSET {effect-fuse}:store epoch ${ahead} head ${ahead}`)
      const { record } = yield* swapOf(store, swap({}))
      assert.strictEqual(record?.epoch, ahead + 1)
      const again = yield* swapOf(store, swap({ expectedEpoch: ahead + 1 }))
      assert.strictEqual(again.record?.epoch, ahead + 2)
      assert.isTrue(again.swapped)
      const { head, rollCalls } = yield* exchanged(store, { casts: [cast({ epoch: ahead + 2, roll: 60_000 })] })
      assert.strictEqual(head, ahead + 1)
      const provenance = { circuit: "api", epoch: ahead + 2, box: "b", term: 60_000 }
      assert.deepStrictEqual(rollCalls, [{ seq: ahead + 1, prev: ahead, ...provenance }])
    })
  )

  live(
    "is swapped by one of many that try at once, and all are answered what that one wrote",
    Effect.gen(function* () {
      const { url } = yield* redisServer
      const stores = yield* Effect.forEach([0, 1, 2, 3], () => Effect.flatMap(connection(url), sharedStore))
      let expectedEpoch = 0
      for (let round = 0; round < 25; round++) {
        const answers = yield* Effect.forEach(
          [...stores, ...stores],
          (store, i) => swapOf(store, swap({ expectedEpoch, body: `of ${i}` })),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(answers.filter(({ swapped }) => swapped).length, 1)
        assert.strictEqual(new Set(answers.map(({ record }) => `${record?.epoch} ${record?.body}`)).size, 1)
        expectedEpoch = answers[0]?.record?.epoch ?? 0
      }
    })
  )

  live(
    "ends by itself, but for the counters of the prefix and what has no end; and has one hash tag",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis, { prefix: "shop" })
      const circuits = ["a", "b/1", "{c}~1"]
      for (const listed of [true, false]) {
        for (const circuit of circuits) {
          const expectedEpoch = (yield* load(store, circuit))?.epoch ?? 0
          const { record } = yield* swapOf(store, swap({ circuit, expectedEpoch, listed }))
          yield* castOf(store, cast({ circuit, epoch: record?.epoch ?? 0, inquire: 1, roll: 1 }), { heard: 1 })
        }
      }
      // A voter that leaves is remembered as long as ballots from before it may be there.
      yield* exchanged(store, { voter: "left", ttl: 60_000 })
      yield* exchanged(store, { voter: "left", ttl: 0 })
      const ends = yield* lifetimes(redis)
      assert.strictEqual(Object.keys(ends).length, 8 + 2 * circuits.length, Object.keys(ends).join())
      for (const key of Object.keys(ends)) assert.isTrue(key.startsWith("{shop}:"), key)
      const without = Object.keys(ends).filter((key) => (ends[key] ?? 0) < 0)
      assert.deepStrictEqual(without, ["{shop}:store"])
      for (const end of Object.values(ends)) assert.isBelow(end, SharedStore.limits.unlistedMillis + 120_000)
    })
  )

  live(
    "stays without an end only while a record has none",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const { record } = yield* swapOf(store, swap({ ttl: undefined }))
      assert.strictEqual((yield* lifetimes(redis))["{effect-fuse}:records"], -1)
      yield* swapOf(store, swap({ expectedEpoch: record?.epoch ?? 0 }))
      assert.isAbove((yield* lifetimes(redis))["{effect-fuse}:records"] ?? 0, 0)
    })
  )

  live(
    "drops expired records, a few with each exchange, and a page then shows up to which epoch",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const circuits = Array.from({ length: 96 }, (_, i) => `c${i}`)
      const epochs: Array<number> = []
      for (let i = 0; i < 96; i += 32) {
        const swaps = circuits.slice(i, i + 32).map((circuit) => swap({ circuit, ttl: 50 }))
        const answer = yield* exchanged(store, { swaps })
        epochs.push(...answer.swaps.map(({ record }) => record?.epoch ?? 0))
      }
      const { record } = yield* swapOf(store, swap({ circuit: "lasting" }))
      yield* until(
        "all have ended",
        Effect.map(store.page(0, 1_000), ({ listed }) => listed === 1)
      )
      yield* until(
        "all are swept",
        Effect.andThen(
          exchanged(store),
          Effect.map(send<number>(redis, "HLEN {effect-fuse}:records"), (n) => Number(n) === 1)
        )
      )
      const { changes, trimmed } = yield* store.page(0, 1_000)
      assert.deepStrictEqual(
        changes.map(({ circuit, epoch }) => [circuit, epoch]),
        [["lasting", record?.epoch]]
      )
      assert.strictEqual(trimmed, Math.max(...epochs))
    })
  )

  live(
    "lists what is not Closed, and only that",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const policy = { ramp: "1 minute", cooldown: "1 minute" } as const
      const a = yield* replica(redis, { policy })
      const listed = Effect.map(store.page(0, 1_000), ({ changes }) =>
        changes.flatMap(({ circuit, listed, record }) => (listed && record !== undefined ? [circuit] : [])).sort()
      )
      yield* a.run(CircuitBreaker.open("open"))
      yield* a.run(CircuitBreaker.isolate("isolated"))
      yield* a.run(CircuitBreaker.disable("disabled", { for: "1 minute" }))
      yield* a.run(CircuitBreaker.open("reset"))
      yield* a.run(CircuitBreaker.reset("reset"))
      yield* a.run(CircuitBreaker.open("ramping"))
      yield* a.run(CircuitBreaker.close("ramping"))
      yield* a.run(CircuitBreaker.isolate("released"))
      yield* a.run(CircuitBreaker.release("released"))
      yield* a.run(CircuitBreaker.isolate("uncovered"))
      yield* a.run(CircuitBreaker.open("uncovered"))
      yield* a.run(CircuitBreaker.release("uncovered"))
      assert.deepStrictEqual(yield* listed, ["disabled", "isolated", "open", "ramping", "uncovered"])
      // A name in the index whose record is gone is nothing.
      yield* send(redis, "HDEL {effect-fuse}:records open")
      assert.deepStrictEqual(yield* listed, ["disabled", "isolated", "ramping", "uncovered"])
    })
  )

  live(
    "announces records, inquiries and roll calls; all that one exchange announces comes in one message",
    Effect.gen(function* () {
      const { url } = yield* redisServer
      const redis = yield* connection(url)
      const store = yield* sharedStore(redis)
      const heard: Array<SharedStore.Change> = []
      yield* Effect.forkScoped(
        Stream.runForEach((yield* sharedStore(yield* connection(url))).changes, (change) =>
          Effect.sync(() => heard.push(change))
        )
      )
      yield* until(
        "a client listens",
        Effect.map(send(redis, "CLIENT LIST TYPE pubsub"), (text) => text !== "")
      )
      const circuit = "a%0020b/c"
      const body = 'two words\n{"a": "|"}'
      const casts = [cast({ inquire: 1, roll: 40_000 }), cast({ inquire: 60_000 })]
      yield* send(redis, "CONFIG RESETSTAT")
      const { head, swaps } = yield* exchanged(store, { casts, swaps: [swap({ circuit, body })] })
      const epoch = swaps[0]?.record?.epoch ?? 0
      assert.match(yield* send<string>(redis, "INFO commandstats"), /cmdstat_publish:calls=1,/)
      for (let i = 0; i < 5; i++) yield* castOf(store, cast({ circuit, epoch, inquire: 60_000 }))
      yield* until(
        "all is heard",
        Effect.sync(() => heard.length >= 4)
      )
      assert.deepStrictEqual(heard, [
        { _tag: "Inquiry", circuit: "api", epoch: 0, box: "b" },
        { _tag: "RollCall", seq: head, prev: 0, circuit: "api", epoch: 0, box: "b", term: 40_000 },
        { _tag: "Record", circuit, epoch, body },
        { _tag: "Inquiry", circuit, epoch, box: "b" }
      ])
    })
  )

  live(
    "that other programs wrote in its place does no harm",
    Effect.gen(function* () {
      const redis = yield* started
      const a = yield* replica(redis, { syncInterval: "1 minute" })
      yield* until(
        "it listens",
        Effect.map(send(redis, "CLIENT LIST TYPE pubsub"), (text) => text !== "")
      )
      const texts = ["", "[]", "{}", '["R 5 api nonsense"]', '["R 1 %%% {}","Q 1 api x",7]']
      for (const text of texts) {
        yield* send(redis, "PUBLISH {effect-fuse}:changes", text)
      }
      const store = yield* sharedStore(redis)
      yield* swapOf(store, swap({ circuit: "api", body: "not JSON" }))
      yield* swapOf(store, swap({ circuit: "%zz", body: "{}" }))
      const fresh = yield* replica(redis)
      yield* fresh.run(CircuitBreaker.isolate("other"))
      // It has never ceased to listen.
      yield* standsAt([a], "Isolated (fleet)", { circuit: "other" })
      assert.strictEqual(yield* works(a), "ok")
      assert.strictEqual(yield* works(fresh), "ok")
      assert.strictEqual(yield* works(fresh, { circuit: "other" }), "Isolated (fleet)")
    })
  )
})
