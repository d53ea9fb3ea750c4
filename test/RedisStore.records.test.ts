import { assert, describe } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { CircuitBreaker, type SharedStore } from "effect-fuse"
import {
  type Connection,
  connection,
  replica,
  send,
  sharedStore,
  standsAt,
  trip,
  until,
  works
} from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisServer } from "./support/redisServer.ts"

const started = Effect.flatMap(redisServer, (server) => connection(server.url))

const cast = (more: Partial<SharedStore.Cast>): SharedStore.Cast => ({
  circuit: "api",
  era: 0,
  box: "b",
  voice: "v",
  ballot: [1000, 1, 0, 2],
  ttl: 10_000,
  inquire: 0,
  ...more
})

const swap = (more: Partial<SharedStore.Swap>): SharedStore.Swap => ({
  circuit: "api",
  expectedEra: 0,
  body: "body",
  ttl: 60_000,
  listed: true,
  ...more
})

/** The milliseconds that each key has left; -1 for one that stays. */
const lifetimes = (redis: Connection): Effect.Effect<Record<string, number>> =>
  Effect.gen(function* () {
    const keys = yield* send<ReadonlyArray<string>>(redis, "KEYS *")
    const ends = yield* Effect.forEach(keys, (key) => send<number>(redis, `PTTL ${key}`))
    return Object.fromEntries(keys.map((key, place) => [key, Number(ends[place])]))
  })

describe("what is kept in Redis", () => {
  live(
    "gives no era twice: not after an end, nor after keys are deleted, nor after all is flushed",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const eras: Array<number> = []
      const write = (more: Partial<SharedStore.Swap> = {}) =>
        Effect.gen(function* () {
          const { record, swapped } = yield* store.swap(swap(more))
          assert.isTrue(swapped)
          eras.push(record?.era ?? 0)
          return record?.era ?? 0
        })
      for (let i = 0; i < 20; i++) {
        yield* write({ ttl: 1 })
        yield* until(
          "it is over",
          Effect.map(store.load("api"), (record) => record === undefined)
        )
      }
      for (const command of ["DEL {effect-fuse}:record:api", "DEL {effect-fuse}:era", "FLUSHALL", "FLUSHALL"]) {
        const era = yield* write({ expectedEra: (yield* store.load("api"))?.era ?? 0 })
        yield* send(redis, command)
        if ((yield* store.load("api")) === undefined) {
          // What is said of the era that was is heard by nobody.
          assert.isFalse((yield* store.swap(swap({ expectedEra: era }))).swapped)
          assert.isUndefined((yield* store.cast(cast({ era }))).tally)
        }
      }
      for (let i = 0; i < 20; i++)
        yield* write({ expectedEra: eras.at(-1) ?? 0, circuit: "other" }).pipe(Effect.ignoreCause)
      let era = (yield* store.load("api"))?.era ?? 0
      for (let i = 0; i < 200; i++) era = yield* write({ expectedEra: era })
      assert.isAtLeast(eras.length, 220)
      assert.deepStrictEqual(
        eras,
        [...eras].sort((one, other) => one - other)
      )
      assert.strictEqual(new Set(eras).size, eras.length)
      for (const one of eras) assert.isTrue(Number.isSafeInteger(one) && one > 0)
    })
  )

  live(
    "goes by the counter where the clock of the server was set back",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const ahead = 9_000_000_000_000_000
      yield* send(redis, `SET {effect-fuse}:era ${ahead}`)
      const { record } = yield* store.swap(swap({}))
      assert.strictEqual(record?.era, ahead + 1)
      const again = yield* store.swap(swap({ expectedEra: ahead + 1 }))
      assert.strictEqual(again.record?.era, ahead + 2)
      assert.isTrue(again.swapped)
    })
  )

  live(
    "is swapped by one of many that try at once, who all learn what he wrote",
    Effect.gen(function* () {
      const { url } = yield* redisServer
      const stores = yield* Effect.forEach([0, 1, 2, 3], () => Effect.flatMap(connection(url), sharedStore))
      let era = 0
      for (let round = 0; round < 25; round++) {
        const answers = yield* Effect.forEach(
          [...stores, ...stores],
          (store, i) => store.swap(swap({ expectedEra: era, body: `of ${i}` })),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(answers.filter(({ swapped }) => swapped).length, 1)
        assert.strictEqual(new Set(answers.map(({ record }) => `${record?.era} ${record?.body}`)).size, 1)
        era = answers[0]?.record?.era ?? 0
      }
    })
  )

  live(
    "has one hash tag, and an end, but for the counter of eras and what is forced without one",
    Effect.gen(function* () {
      const redis = yield* started
      const a = yield* replica(redis, { prefix: "shop" })
      const b = yield* replica(redis, { prefix: "shop" })
      yield* works(a)
      yield* works(b)
      yield* trip([a, b])
      yield* a.run(CircuitBreaker.isolate("drill", { for: "1 minute" }))
      yield* a.run(CircuitBreaker.open("other", { key: "{k} 1", for: "1 minute" }))
      // Nobody is left to tidy up.
      yield* a.end
      yield* b.end
      const ends = yield* lifetimes(redis)
      assert.isAtLeast(Object.keys(ends).length, 5)
      for (const key of Object.keys(ends)) assert.isTrue(key.startsWith("{shop}:"), key)
      const without = Object.keys(ends).filter((key) => (ends[key] ?? 0) < 0)
      assert.deepStrictEqual(without, ["{shop}:era"])
      for (const end of Object.values(ends)) assert.isBelow(end, 600_000)
    })
  )

  live(
    "stays without an end only while something is forced without one",
    Effect.gen(function* () {
      const redis = yield* started
      const a = yield* replica(redis)
      yield* a.run(CircuitBreaker.open("api", { for: "1 minute" }))
      yield* a.run(CircuitBreaker.isolate("api"))
      const forced = yield* lifetimes(redis)
      assert.strictEqual(forced["{effect-fuse}:record:api"], -1)
      assert.strictEqual(forced["{effect-fuse}:listed"], -1)
      yield* a.run(CircuitBreaker.release("api"))
      const released = yield* lifetimes(redis)
      assert.isAbove(released["{effect-fuse}:record:api"] ?? 0, 0)
      assert.isAbove(released["{effect-fuse}:listed"] ?? 0, 0)
    })
  )

  live(
    "lists what is not Closed, and only that",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const policy = { ramp: "1 minute", cooldown: "1 minute" } as const
      const a = yield* replica(redis, { policy })
      const listed = Effect.map(store.list("somebody", 1_000), ({ records }) =>
        records.map(({ circuit }) => circuit).sort()
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
      yield* send(redis, "DEL {effect-fuse}:record:open")
      assert.deepStrictEqual(yield* listed, ["disabled", "isolated", "ramping", "uncovered"])
    })
  )

  live(
    "adds ballots up, and takes them away when they are taken back, replaced or over",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const large = 2 ** 40
      const say = (voice: string, ballot: ReadonlyArray<number> | undefined, ttl = 10_000) =>
        Effect.map(store.cast(cast({ voice, ballot, ttl })), ({ tally }) => [tally?.voices, ...(tally?.sums ?? [])])
      assert.deepStrictEqual(yield* say("a", [1, large, 0]), [1, 1, large, 0])
      assert.deepStrictEqual(yield* say("b", [2, large, 5]), [2, 3, 2 * large, 5])
      assert.deepStrictEqual(yield* say("b", [2, large, 5]), [2, 3, 2 * large, 5])
      assert.deepStrictEqual(yield* say("a", [0, 7, 0]), [2, 2, large + 7, 5])
      assert.deepStrictEqual(yield* say("c", [1, 1, 1], 1), [3, 3, large + 8, 6])
      yield* until(
        "c's is over",
        Effect.map(say("a", [0, 7, 0]), ([voices]) => voices === 2)
      )
      assert.deepStrictEqual(yield* say("b", undefined), [1, 0, 7, 0])
      assert.deepStrictEqual(yield* say("b", undefined), [1, 0, 7, 0])
      assert.deepStrictEqual(yield* say("a", undefined), [0])
      for (const end of Object.values(yield* lifetimes(redis))) assert.isAbove(end, 0)
    })
  )

  live(
    "announces a record and an inquiry, the latter once in so many milliseconds",
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
        "somebody listens",
        Effect.map(send(redis, "CLIENT LIST TYPE pubsub"), (text) => text !== "")
      )
      const { record } = yield* store.swap(swap({ circuit: "a%0020b/c", body: 'two words\n{"a": "|"}' }))
      const era = record?.era ?? 0
      for (let i = 0; i < 5; i++) yield* store.cast(cast({ circuit: "a%0020b/c", era, inquire: 60_000 }))
      yield* store.cast(cast({ inquire: 1 }))
      yield* until(
        "all is heard",
        Effect.sync(() => heard.length >= 3)
      )
      assert.deepStrictEqual(heard, [
        { _tag: "Record", circuit: "a%0020b/c", era, body: 'two words\n{"a": "|"}' },
        { _tag: "Inquiry", circuit: "a%0020b/c", era, box: "b" },
        { _tag: "Inquiry", circuit: "api", era: 0, box: "b" }
      ])
    })
  )

  live(
    "that others wrote in its place harms nobody",
    Effect.gen(function* () {
      const redis = yield* started
      const a = yield* replica(redis, { syncInterval: "1 minute" })
      yield* until(
        "it listens",
        Effect.map(send(redis, "CLIENT LIST TYPE pubsub"), (text) => text !== "")
      )
      for (const text of ["", "R", "R x api {}", "R 5 api nonsense", "I 7 api b", "R 1 %%% {}", "Q 1 api x"]) {
        yield* send(redis, "PUBLISH {effect-fuse}:changes", text)
      }
      const store = yield* sharedStore(redis)
      yield* store.swap(swap({ circuit: "api", body: "not JSON" }))
      yield* store.swap(swap({ circuit: "%zz", body: "{}" }))
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
