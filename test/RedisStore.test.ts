import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Duration, Effect, Layer } from "effect"
import { BreakerPolicy, CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import { castOf, swapOf } from "./support/exchanges.ts"
import {
  type Connection,
  connection,
  fails,
  living,
  replica,
  send,
  sharedStore,
  standing,
  standsAt,
  started,
  trip,
  until,
  works
} from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisServer } from "./support/redisServer.ts"

/** How often each command was run since `CONFIG RESETSTAT`, those that scripts run included. */
const commands = (redis: Connection): Effect.Effect<ReadonlyMap<string, number>> =>
  Effect.map(
    send<string>(redis, "INFO commandstats"),
    (text) => new Map(Array.from(text.matchAll(/cmdstat_(\S+):calls=(\d+)/g), ([, name = "", n]) => [name, Number(n)]))
  )

const problems = <A, R>(effect: Effect.Effect<A, unknown, R>) =>
  Effect.map(Effect.flip(effect), (error) =>
    error instanceof BreakerPolicy.PolicyError ? error.problems.map(({ path }) => path) : String(error)
  )

describe("circuits on Redis", () => {
  live(
    "open together on fewer failures than each would need, and close together after one probe",
    Effect.gen(function* () {
      const redis = yield* started
      const policy = { trip: { _tag: "Consecutive", failures: 20 }, cooldown: "1 second" } as const
      // A store that is young opens nothing, because it may not know all processes yet.
      yield* send(redis, "HSET {effect-fuse}:store born 1 life one")
      const replicas = yield* Effect.all([0, 1, 2].map(() => replica(redis, { policy })))
      yield* until(
        "three live",
        Effect.map(living(redis), (n) => n === 3)
      )
      for (const one of replicas) assert.strictEqual(yield* works(one), "ok")
      yield* trip(replicas)
      for (const one of replicas) {
        const { cause, openings, totals } = yield* one.run(CircuitBreaker.inspect("api"))
        assert.match(cause?.detail ?? "", /in [23] of 3 processes together$/)
        assert.isBelow(totals.failures, 100)
        assert.strictEqual(openings, 1)
      }
      const [first] = replicas
      assert(first !== undefined)
      yield* until(
        "a probe found it well",
        Effect.map(works(first), (seen) => seen === "ok")
      )
      yield* standsAt(replicas, "Closed (local)")
    })
  )

  for (const RESP of [2, 3] as const) {
    live(
      `speak RESP${RESP}`,
      Effect.gen(function* () {
        const { url } = yield* redisServer
        const redis = yield* connection(url, { RESP })
        const [a, b] = [yield* replica(redis), yield* replica(redis)]
        yield* works(a)
        yield* works(b)
        yield* trip([a, b])
        yield* a.run(CircuitBreaker.isolate("other", { key: "k", reason: "drill" }))
        yield* standsAt([b], "Isolated (fleet)", { circuit: "other", key: "k" })
        const fresh = yield* replica(redis)
        assert.strictEqual(yield* works(fresh), "Cooldown (fleet)")
        assert.strictEqual(yield* works(fresh, { circuit: "other", key: "k" }), "Isolated (fleet)")
      })
    )
  }

  live(
    "of two prefixes never meet",
    Effect.gen(function* () {
      const redis = yield* started
      const [a, b] = [yield* replica(redis, { prefix: "a" }), yield* replica(redis, { prefix: "b" })]
      const second = yield* replica(redis, { prefix: "a" })
      yield* a.run(CircuitBreaker.isolate("api", { reason: "drill" }))
      yield* standsAt([second], "Isolated (fleet)")
      const fresh = yield* replica(redis, { prefix: "b" })
      assert.strictEqual(yield* works(b), "ok")
      assert.strictEqual(yield* works(fresh), "ok")
      assert.deepStrictEqual([yield* living(redis, "a"), yield* living(redis, "b")], [2, 2])
    })
  )

  live(
    "cost one heartbeat and one read an interval while they are healthy, however many calls there are",
    Effect.gen(function* () {
      const redis = yield* started
      const one = yield* replica(redis, { syncInterval: 100 })
      const keys = Array.from({ length: 100 }, (_, i) => `customer ${i}`)
      yield* until(
        "it listens",
        Effect.map(send(redis, "CLIENT LIST TYPE pubsub"), (text) => text !== "")
      )
      yield* send(redis, "CONFIG RESETSTAT")
      let calls = 0
      yield* until(
        "ten intervals are over",
        Effect.gen(function* () {
          for (const key of keys) {
            // One failure alone is no suspicion.
            if (calls < 2 * keys.length) yield* fails(one, { key })
            yield* works(one, { key })
            calls++
          }
          return ((yield* commands(redis)).get("evalsha") ?? 0) >= 20
        })
      )
      assert.isAtLeast(calls, 1_000)
      const seen = yield* commands(redis)
      // What casts, swaps and announcements need is not among them.
      for (const name of ["pttl", "zrevrange", "publish"]) assert.isFalse(seen.has(name), name)
      const [scripts = 0, exchanges = 0] = [seen.get("evalsha"), (seen.get("type") ?? 0) / 10]
      assert.isAtMost(Math.abs(scripts - 2 * exchanges), 2)
      assert.isBelow(scripts, calls / 10)
    })
  )

  live(
    "are read at the next interval without a subscription",
    Effect.gen(function* () {
      const redis = yield* started
      const [a, b] = [yield* replica(redis, { subscribe: false }), yield* replica(redis, { subscribe: false })]
      assert.strictEqual(yield* send(redis, "CLIENT LIST TYPE pubsub"), "")
      yield* works(b)
      yield* a.run(CircuitBreaker.open("api", { for: "1 minute" }))
      yield* standsAt([b], "Open (fleet)")
      yield* a.run(CircuitBreaker.close("api"))
      yield* standsAt([b], "Closed (local)")
    })
  )

  live(
    "are shared, and opened by a majority, where SUBSCRIBE and PUBLISH are forbidden",
    Effect.gen(function* () {
      const { port, url } = yield* redisServer
      const admin = yield* connection(url)
      yield* send(admin, "ACL SETUSER plain on >secret ~* resetchannels +@all -subscribe -publish -psubscribe")
      const redis = yield* connection(`redis://plain:secret@127.0.0.1:${port}`)
      const [a, b] = [yield* replica(redis), yield* replica(redis)]
      yield* until(
        "both live",
        Effect.map(living(admin), (n) => n === 2)
      )
      yield* works(a)
      yield* works(b)
      yield* trip([a, b])
      yield* a.run(CircuitBreaker.isolate("other", { reason: "drill" }))
      yield* standsAt([b], "Isolated (fleet)", { circuit: "other" })
      // Nothing that a script has to do is left undone because it may not announce it.
      const store = yield* sharedStore(redis)
      const swap = { circuit: "x", expectedEpoch: 0, body: "b", ttl: 60_000, listed: true }
      const { record } = yield* swapOf(store, swap)
      const ballot = { circuit: "x", epoch: record?.epoch ?? 0, box: "b", ballot: [1], ttl: 60_000 }
      const { tally } = yield* castOf(store, { ...ballot, inquire: 1_000, roll: 1_000 })
      assert.deepStrictEqual([tally?.voters, tally?.asked, tally?.rolled], [1, 0, 0])
      const log = yield* send<ReadonlyArray<unknown>>(admin, "ACL LOG")
      assert.match(JSON.stringify(log), /"publish"/)
      assert.match(JSON.stringify(log), /"subscribe"/)
    })
  )

  live(
    "go on when the scripts are flushed",
    Effect.gen(function* () {
      const redis = yield* started
      const [a, b] = [yield* replica(redis), yield* replica(redis)]
      for (const circuit of ["first", "second", "third"]) {
        yield* send(redis, "SCRIPT FLUSH")
        yield* works(a, { circuit })
        yield* works(b, { circuit })
        yield* trip([a, b], { circuit })
      }
      const fresh = yield* replica(redis)
      assert.strictEqual(yield* works(fresh, { circuit: "third" }), "Cooldown (fleet)")
    })
  )

  live(
    "may have any name and key",
    Effect.gen(function* () {
      const redis = yield* started
      const a = yield* replica(redis)
      const texts = [
        "{}",
        "{a}b",
        "a b",
        "a/b",
        "a|b",
        "a~b",
        "%002f",
        "line\nbreak",
        "ключ 🔑",
        "\ud800",
        "*",
        "x".repeat(512)
      ]
      const calls = [
        ...texts.map((key) => ({ circuit: "api", key })),
        { circuit: "api", key: "" },
        ...texts.map((circuit) => ({ circuit, key: undefined }))
      ]
      for (const { circuit, key } of calls) {
        yield* a.run(CircuitBreaker.open(circuit, { key, for: "1 minute", reason: `of ${circuit} ${key}` }))
      }
      const fresh = yield* replica(redis)
      yield* until(
        "all are known",
        Effect.map(fresh.run(CircuitBreaker.list), (all) => all.filter(({ state }) => state === "Open").length === 25)
      )
      for (const { circuit, key } of calls) {
        assert.strictEqual(yield* works(fresh, { circuit, key }), "Cooldown (fleet)")
        const { cause } = yield* fresh.run(CircuitBreaker.inspect(circuit, { key }))
        assert.isTrue(cause?.detail.startsWith(`of ${circuit}`.split("\n")[0] ?? ""), cause?.detail)
      }
      assert.strictEqual(yield* works(fresh, { key: "another" }), "ok")
      const keys = yield* send<ReadonlyArray<string>>(redis, "KEYS *")
      assert.strictEqual(Number(yield* send(redis, "HLEN {effect-fuse}:records")), 25)
      for (const key of keys) assert.match(key, /^\{effect-fuse\}:[A-Za-z0-9:.~%/_-]+$/)
    })
  )

  live(
    "are all known to a process that starts, when many hundreds are open",
    Effect.gen(function* () {
      const redis = yield* started
      const a = yield* replica(redis)
      const keys = Array.from({ length: 450 }, (_, i) => `k${i}`)
      yield* Effect.forEach(keys, (key) => a.run(CircuitBreaker.open("api", { key, for: "1 minute" })), {
        concurrency: 50,
        discard: true
      })
      const store = yield* sharedStore(redis)
      yield* until(
        "all are told",
        Effect.map(
          store.page(0, 1_000),
          ({ changes, listed }) => listed === 450 && new Set(changes.map((one) => one.circuit)).size === 450
        )
      )
      const fresh = yield* replica(redis)
      yield* until(
        "all are open",
        Effect.map(fresh.run(CircuitBreaker.list), (all) => all.filter(({ state }) => state === "Open").length === 450)
      )
      for (const key of keys) assert.strictEqual(yield* works(fresh, { key }), "Cooldown (fleet)")
    })
  )

  live(
    "are forgotten by the processes and by Redis when they are well again",
    Effect.gen(function* () {
      const redis = yield* started
      const policy = { cooldown: 200 }
      const [a, b] = [yield* replica(redis, { policy }), yield* replica(redis, { policy })]
      yield* works(a)
      yield* works(b)
      yield* trip([a, b])
      yield* until(
        "closed",
        Effect.map(works(a), (seen) => seen === "ok")
      )
      yield* standsAt([a, b], "Closed (local)")
      assert.strictEqual(yield* send(redis, "ZCARD {effect-fuse}:listed"), 0)
      const keys = yield* send<ReadonlyArray<string>>(redis, "KEYS *")
      for (const key of keys.filter((key) => !key.endsWith(":store"))) {
        assert.isAbove(yield* send<number>(redis, `PTTL ${key}`), 0, key)
      }
      assert.strictEqual(yield* standing(a), "Closed (local)")
    })
  )
})

describe("options", () => {
  const wrong = [
    [{ prefix: "" }, ["prefix"]],
    [{ prefix: "a{b}" }, ["prefix"]],
    [{ prefix: "x".repeat(101) }, ["prefix"]],
    [{ prefix: 7 as never }, ["prefix"]],
    [{ subscribe: "yes" as never }, ["subscribe"]],
    [{ prefix: "a b", subscribe: 1 as never }, ["prefix", "subscribe"]]
  ] as const
  const wrongForLayer = [
    [{ syncInterval: "0 seconds" }, ["syncInterval"]],
    [{ syncInterval: "soon" as never }, ["syncInterval"]],
    [{ maxCircuits: 0 }, ["maxCircuits"]],
    [{ process: "" }, ["process"]]
  ] as const

  const forms = [
    ["make", RedisStore.make],
    ["connect", (options: object) => RedisStore.connect(Layer.empty as never, options)],
    ["layer", RedisStore.layer],
    ["layerConnect", (options: object) => RedisStore.layerConnect(Layer.empty as never, options)],
    ["layerConfig", RedisStore.layerConfig]
  ] as const
  for (const [name, call] of forms) {
    it(`that are wrong are named by ${name}`, () => {
      const all = name.startsWith("layer") ? [...wrong, ...wrongForLayer] : wrong
      for (const [options, paths] of all) {
        const all = paths.map((path) => `${path}: expected .*`).join("; ")
        assert.throws(() => call(options), RangeError, new RegExp(`^RedisStore.${name}: ${all}$`))
      }
    })
  }

  live(
    "come from the environment",
    Effect.gen(function* () {
      const { url } = yield* redisServer
      const redis = yield* connection(url)
      const built = (env: Record<string, string>) =>
        Layer.build(
          RedisStore.layerConfig({
            prefix: Config.String("PREFIX"),
            subscribe: Config.Boolean("SUBSCRIBE").pipe(Config.withDefault(true)),
            syncInterval: Config.String("SYNC"),
            connectTimeout: Config.Duration("CONNECT").pipe(Config.withDefault(Duration.seconds(1))),
            maxCircuits: Config.succeed(10)
          }).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { REDIS_URL: url, ...env } }))))
        )
      yield* built({ PREFIX: "shop:1", SYNC: "250ms", SUBSCRIBE: "false" })
      yield* until(
        "it lives",
        Effect.map(living(redis, "shop:1"), (n) => n === 1)
      )
      assert.strictEqual(yield* send(redis, "CLIENT LIST TYPE pubsub"), "")
      const scored = yield* send<ReadonlyArray<unknown>>(redis, "ZRANGE {shop:1}:voters 0 0 WITHSCORES")
      assert.isAtMost(Number(scored.flat()[1]) - Date.now(), 1.5 * 250 + 1_000)
      assert.deepStrictEqual(yield* problems(built({ PREFIX: "a b", SYNC: "1 second" })), ["prefix"])
      const missing = yield* Effect.flip(built({ PREFIX: "shop" }))
      assert.strictEqual(missing._tag, "ConfigError")
      assert.match(missing.message, /SYNC/)
    })
  )
})
