import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Fiber, type Scope, Stream } from "effect"
import * as RedisStore from "effect-fuse/RedisStore"
import { cast, circuits, counted, exchanged, swap, swapOf } from "./support/exchanges.ts"
import { type Connection, connection, send, sharedStore, started, until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { client, clusterServer, redisServer } from "./support/redisServer.ts"

const listening = (redis: Connection, channel: string) =>
  Effect.map(send<ReadonlyArray<unknown>>(redis, `PUBSUB NUMSUB ${channel}`), (reply) => Number(reply[1]) > 0)

/** Another server that has what the first has, and takes no writes. */
const readOnly = (port: number): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { url } = yield* redisServer
    const replica = yield* connection(url)
    yield* send(replica, `REPLICAOF 127.0.0.1 ${port}`)
    yield* until(
      "the replica has what the server has",
      Effect.map(send<string>(replica, "INFO replication"), (text) => /master_link_status:up/.test(text))
    )
    return replica
  })

describe("reading from Redis", () => {
  const limited: ReadonlyArray<readonly [what: string, of: (port: number, admin: Connection) => typeof started]> = [
    ["of a replica", (port) => readOnly(port)],
    [
      "by a user that may not write",
      (port, admin) =>
        Effect.andThen(
          send(admin, "ACL SETUSER reader on >secret ~* &* -@all +@read +@scripting +@connection +time"),
          connection(`redis://reader:secret@127.0.0.1:${port}`)
        )
    ],
    [
      "of a server that is full",
      (port, admin) => Effect.andThen(send(admin, "CONFIG SET maxmemory 1"), connection(`redis://127.0.0.1:${port}`))
    ]
  ]
  for (const [what, of] of limited) {
    live(
      `works where nothing can be written: ${what}`,
      Effect.gen(function* () {
        const { port, url } = yield* redisServer
        const admin = yield* connection(url)
        const store = yield* sharedStore(admin)
        const { record } = yield* swapOf(store, swap({ ttl: undefined }))
        const reading = yield* sharedStore(yield* of(port, admin))
        const [{ live, ...page }, { records }] = [yield* reading.page(0, 10), yield* reading.load(["api", "other"])]
        assert.deepStrictEqual([live, page.listed, page.epoch], [1, 1, record?.epoch])
        assert.deepStrictEqual(
          [page.changes.map(({ record }) => record?.body), records.map((one) => one?.body)],
          [["body"], ["body", undefined]]
        )
        const exit = yield* Effect.exit(exchanged(reading))
        assert.isTrue(Exit.hasFails(exit))
      })
    )
  }

  live(
    "changes nothing there, not even what has ended",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const written = yield* exchanged(store, { ttl: 50, swaps: [swap({ ttl: 50 }), swap({ circuit: "other" })] })
      yield* Effect.sleep(100)
      const changes = Effect.map(
        send<string>(redis, "INFO persistence"),
        (text) => /rdb_changes_since_last_save:\d+/.exec(text)?.[0]
      )
      const before = yield* changes
      const { changes: found, listed, live, trimmed } = yield* store.page(0, 10)
      assert.deepStrictEqual([live, listed, trimmed], [0, 1, 0])
      assert.deepStrictEqual(
        found.map(({ circuit, record }) => [circuit, record?.body]),
        [
          ["api", undefined],
          ["other", "body"]
        ]
      )
      assert.deepStrictEqual((yield* store.load(["api"])).records, [undefined])
      assert.strictEqual(yield* changes, before)
      assert.isTrue((yield* swapOf(store, swap())).swapped)
      assert.notStrictEqual((yield* store.load(["api"])).records[0]?.epoch, written.swaps[0]?.record?.epoch)
    })
  )

  live(
    "costs as many commands with 1,000 records as with 1, if nothing has changed",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const cost = Effect.flatMap(store.page(0, 1_000), ({ epoch }) => counted(redis, store.page(epoch, 1_000)))
      yield* swapOf(store, swap())
      const one = yield* cost
      for (let i = 0; i < 32; i++) {
        yield* exchanged(store, { swaps: circuits.map((circuit) => swap({ circuit: `${circuit}/${i}` })) })
      }
      assert.deepStrictEqual(yield* cost, one)
      assert.strictEqual(one.get("hmget"), 1)
    })
  )

  live(
    "passes over what another program wrote, and finds all that is behind it",
    Effect.gen(function* () {
      const redis = yield* started
      const store = yield* sharedStore(redis)
      const garbage = ["a b", "line\nbreak", "", "\u0000", "é"]
      for (const [i, member] of garbage.entries()) yield* send(redis, `ZADD {effect-fuse}:changed ${i + 1}`, member)
      yield* send(redis, "ZADD {effect-fuse}:changed 1.5 half 1e300 far +inf farther -1 negative 7 other")
      yield* send(redis, "HSET {effect-fuse}:records other", "6 1 1 1 of another epoch")
      const { record } = yield* swapOf(store, swap())
      const { changes } = yield* store.page(0, 1)
      assert.deepStrictEqual(
        changes.map(({ circuit, epoch }) => [circuit, epoch]),
        [["api", record?.epoch]]
      )
    })
  )
})

describe("Redis", () => {
  live(
    "is kept in one slot of a Redis Cluster, so that an exchange is served there",
    Effect.gen(function* () {
      const { url } = yield* clusterServer
      const redis = yield* connection(url)
      yield* send(redis, "CLUSTER ADDSLOTSRANGE 0 16383")
      const store = yield* sharedStore(redis, { prefix: "shop" })
      yield* until(
        "the cluster serves",
        Effect.map(send<string>(redis, "CLUSTER INFO"), (text) => /cluster_state:ok/.test(text))
      )
      const casts = circuits.map((circuit) => cast({ circuit, roll: 1 }))
      const answer = yield* exchanged(store, { casts, swaps: [swap({ circuit: "b/1" }), swap({ circuit: "%007ba" })] })
      assert.deepStrictEqual(
        answer.swaps.map(({ swapped }) => swapped),
        [true, true]
      )
      assert.strictEqual((yield* store.page(0, 10)).changes.length, 2)
      assert.strictEqual((yield* store.load(["b/1"])).records[0]?.body, "body")
    })
  )

  live(
    "reports when it is connected, to a process that connects in the background",
    Effect.gen(function* () {
      const server = yield* redisServer
      yield* server.kill
      const store = yield* RedisStore.connect(client(server.url))
      assert.isDefined(store.connected)
      const waiting = yield* Effect.forkScoped(store.connected ?? Effect.void)
      const asking = yield* Effect.forkScoped(store.page(0, 1))
      yield* Effect.sleep(300)
      assert.isUndefined(waiting.pollUnsafe())
      yield* server.start
      yield* Fiber.join(waiting)
      assert.strictEqual((yield* Fiber.join(asking)).epoch, 0)
      yield* store.connected ?? Effect.void
    })
  )

  live(
    "is connected from the start for a program that has the service, and subscribes only if it is asked to",
    Effect.gen(function* () {
      const redis = yield* started
      for (const subscribe of [false, true]) {
        const store = yield* sharedStore(redis, { prefix: "quiet", subscribe })
        assert.isUndefined(store.connected)
        const listens = yield* Effect.forkScoped(Effect.exit(Stream.runDrain(store.changes)))
        if (subscribe) {
          yield* until("the store listens", listening(redis, "{quiet}:changes"))
        } else {
          yield* Effect.sleep(200)
          assert.isFalse(yield* listening(redis, "{quiet}:changes"))
        }
        yield* Fiber.interrupt(listens)
      }
    })
  )
})
