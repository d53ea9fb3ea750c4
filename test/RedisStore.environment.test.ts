import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, type Context, Effect, Exit, Layer } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import { redisUrl } from "../src/redis/environment.ts"
import { endsWith, run } from "./support/commandLine.ts"
import { connection, send, until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { freePort, redisServer } from "./support/redisServer.ts"
import { capture, type Line } from "./support/verbs.ts"

type Env = Readonly<Record<string, string>>

const provided = <A, E, R>(effect: Effect.Effect<A, E, R>, env: Env) =>
  Effect.provideService(effect, ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env }))

const problems = (error: unknown) =>
  error instanceof BreakerPolicy.PolicyError ? error.problems : assert.fail(String(error))

describe("the Redis that the environment names", () => {
  const found: ReadonlyArray<readonly [env: Env, url: string]> = [
    [{ REDIS_URL: "redis://cache:7000/2" }, "redis://cache:7000/2"],
    [{ REDIS_URL: " rediss://ann:pw@cache " }, "rediss://ann:pw@cache"],
    [{ REDIS_URL: "redis://cache", REDIS_HOST: "other", REDIS_PORT: "none" }, "redis://cache"],
    [{ REDIS_URL: "", REDIS_HOST: "cache" }, "redis://cache:6379/0"],
    [{ REDIS_HOST: "10.0.0.1", REDIS_PORT: "7000", REDIS_DB: "3" }, "redis://10.0.0.1:7000/3"],
    [{ REDIS_HOST: "cache", REDIS_TLS: "true" }, "rediss://cache:6379/0"],
    [{ REDIS_HOST: "cache", REDIS_TLS: "1", REDIS_PORT: " 6380 " }, "rediss://cache:6380/0"],
    [{ REDIS_HOST: "cache", REDIS_TLS: "False" }, "redis://cache:6379/0"],
    [{ REDIS_HOST: "cache", REDIS_TLS: "", REDIS_PORT: "", REDIS_PASSWORD: "" }, "redis://cache:6379/0"],
    [{ REDIS_HOST: "::1" }, "redis://[::1]:6379/0"],
    [{ REDIS_HOST: "[fe80::1]" }, "redis://[fe80::1]:6379/0"],
    [{ REDIS_HOST: "cache", REDIS_PASSWORD: "pw" }, "redis://:pw@cache:6379/0"],
    [{ REDIS_HOST: "cache", REDIS_USERNAME: "ann", REDIS_PASSWORD: "pw" }, "redis://ann:pw@cache:6379/0"]
  ]
  it.effect.each(found)("is read from %j", ([env, url]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* provided(redisUrl, env), url)
    })
  )

  it.effect.each(["a/b@c:d?e#f%g", " pass word ", "päss\nwörd", "%41", "\\\"'"])(
    "keeps the password %j as it is",
    (password) =>
      Effect.gen(function* () {
        const url = yield* provided(redisUrl, {
          REDIS_HOST: "cache",
          REDIS_USERNAME: password,
          REDIS_PASSWORD: password
        })
        const parsed = new URL(url)
        assert.strictEqual(decodeURIComponent(parsed.password), password)
        assert.strictEqual(decodeURIComponent(parsed.username), password)
        assert.strictEqual(parsed.host, "cache:6379")
      })
  )

  const secret = "s3cret"
  const wrong: ReadonlyArray<readonly [env: Env, path: string, message: RegExp]> = [
    [{}, "REDIS_URL", /^expected a URL such as redis:\/\/localhost:6379, got nothing; or set REDIS_HOST$/],
    [{ REDIS_PASSWORD: secret }, "REDIS_URL", /got nothing/],
    [{ REDIS_URL: secret }, "REDIS_URL", /got a text that is not a URL/],
    [{ REDIS_URL: `http://:${secret}@h` }, "REDIS_URL", /got a URL that begins with http:/],
    [{ REDIS_URL: `redis://:${secret}/x@h` }, "REDIS_URL", /not a URL|percent-encoded/],
    [{ REDIS_URL: `redis://:${secret}@h/shop` }, "REDIS_URL", /the number of a database/],
    [
      { REDIS_HOST: `redis://:${secret}@h` },
      "REDIS_HOST",
      /^expected the name or the address of a host.*; set REDIS_URL for a URL$/
    ],
    [{ REDIS_HOST: "localhost:6380" }, "REDIS_HOST", /set REDIS_PORT for the port$/],
    [{ REDIS_HOST: "h", REDIS_PORT: "0" }, "REDIS_PORT", /^expected a port from 1 to 65535, got "0"$/],
    [{ REDIS_HOST: "h", REDIS_PORT: "65536" }, "REDIS_PORT", /got "65536"/],
    [{ REDIS_HOST: "h", REDIS_PORT: "tcp://10.0.0.1:6379" }, "REDIS_PORT", /Kubernetes sets it for a service/],
    [{ REDIS_HOST: "h", REDIS_PORT: `redis://:${secret}@h` }, "REDIS_PORT", /expected a port/],
    [{ REDIS_HOST: "h", REDIS_DB: "shop" }, "REDIS_DB", /^expected the number of a database, such as 0, got "shop"$/],
    [{ REDIS_HOST: "h", REDIS_TLS: "maybe" }, "REDIS_TLS", /^expected "true" or "false", got "maybe"$/]
  ]
  it.effect.each(wrong)("is refused in %j: the error names %s", ([env, path, message]) =>
    Effect.gen(function* () {
      const found = problems(yield* Effect.flip(provided(redisUrl, env)))
      assert.deepStrictEqual(
        found.map((one) => one.path),
        [path]
      )
      assert.match(found[0]?.message ?? "", message)
      assert.notInclude(JSON.stringify(found), secret)
    })
  )

  it.effect("is refused with everything that is wrong at once", () =>
    Effect.gen(function* () {
      const env = { REDIS_HOST: "h h", REDIS_PORT: "x", REDIS_DB: "y", REDIS_TLS: "z" }
      const found = problems(yield* Effect.flip(provided(redisUrl, env)))
      assert.deepStrictEqual(found.map((one) => one.path).toSorted(), [
        "REDIS_DB",
        "REDIS_HOST",
        "REDIS_PORT",
        "REDIS_TLS"
      ])
    })
  )
})

/** A server with a password, as the variables that name it. */
const locked = Effect.gen(function* () {
  const server = yield* redisServer
  const password = "p/w@rd s3cret"
  const redis = yield* connection(server.url)
  yield* send(redis, "CONFIG SET requirepass", password)
  const env: Env = { REDIS_HOST: "127.0.0.1", REDIS_PORT: String(server.port), REDIS_PASSWORD: password, REDIS_DB: "1" }
  return { server, env }
})

const state = (context: Context.Context<BreakerStore.BreakerStore>) =>
  Effect.provideContext(CircuitBreaker.state("api"), context)

describe("circuits on the Redis of the environment", () => {
  live(
    "are shared with the command line, which reads the same variables",
    Effect.gen(function* () {
      const { env } = yield* locked
      const store = yield* provided(Layer.build(RedisStore.layerConfig({ prefix: Config.String("PREFIX") })), {
        ...env,
        PREFIX: "shop"
      })
      endsWith(0, yield* run(["isolate", "api", "--new", "--yes", "--prefix", "shop"], { env }))
      yield* until(
        "it is isolated",
        Effect.map(state(store), (state) => state === "Isolated")
      )
      const wrong = endsWith(2, yield* run(["list"], { env: { ...env, REDIS_PASSWORD: "s3cret wrong" } }))
      assert.match(wrong.error, /WRONGPASS/)
      assert.notInclude(wrong.error, "s3cret")
    }),
    60_000
  )

  live(
    "come back after Redis was restarted",
    Effect.gen(function* () {
      const server = yield* redisServer
      const env = { REDIS_URL: server.url }
      const built = () => provided(Layer.build(RedisStore.layerConfig({ syncInterval: 200 })), env)
      const [one, other] = [yield* built(), yield* built()]
      yield* server.kill
      yield* server.start
      yield* until(
        "the other one hears of it",
        Effect.gen(function* () {
          yield* Effect.provideContext(CircuitBreaker.isolate("api"), one)
          return (yield* state(other)) === "Isolated"
        })
      )
    }),
    60_000
  )

  live(
    "are of this process alone while there is no Redis, with one warning and without the password",
    Effect.gen(function* () {
      const lines: Array<Line> = []
      const env = { REDIS_HOST: "127.0.0.1", REDIS_PORT: String(yield* freePort), REDIS_PASSWORD: "s3cret" }
      const store = yield* capture(lines, provided(Layer.build(RedisStore.layerConfig()), env))
      assert.strictEqual(yield* state(store), "Closed")
      yield* until(
        "it was said",
        Effect.sync(() => lines.length > 0)
      )
      assert.match(lines[0]?.message ?? "", /^Redis cannot be used yet/)
      assert.notInclude(JSON.stringify(lines), "s3cret")
    }),
    60_000
  )
})

describe("the command line", () => {
  const redis = { REDIS_URL: "redis://127.0.0.1:1" }
  const database = { DATABASE_URL: "sqlite:/nowhere/at.all" }
  const rows: ReadonlyArray<readonly [env: Env, code: number, says: RegExp]> = [
    [{}, 1, /^No store given\. .*or set REDIS_URL, REDIS_HOST, CIRCUITS_TABLE or DATABASE_URL\./],
    [{ REDIS_HOST: "h", REDIS_PORT: "x" }, 1, /^REDIS_PORT: expected a port from 1 to 65535, got "x"/],
    [
      { ...redis, ...database, CIRCUIT_BREAKER_STORE: "database" },
      2,
      /^sqlite:\/nowhere\/at\.all: the file does not exist/
    ],
    [{ ...redis, ...database, CIRCUIT_BREAKER_STORE: "redis" }, 2, /^redis:\/\/127\.0\.0\.1:1: /],
    [{ ...redis, CIRCUIT_BREAKER_STORE: "database" }, 1, /^CIRCUIT_BREAKER_STORE: no database given\nSet DATABASE_URL/],
    [
      { ...database, CIRCUIT_BREAKER_STORE: "redis" },
      1,
      /^CIRCUIT_BREAKER_STORE: no redis given\nSet REDIS_URL or REDIS_HOST/
    ],
    [
      { ...redis, CIRCUIT_BREAKER_STORE: "memory" },
      1,
      /^CIRCUIT_BREAKER_STORE: the circuits are in the memory of each process/
    ],
    [
      { ...redis, CIRCUIT_BREAKER_STORE: "rediss" },
      1,
      /^CIRCUIT_BREAKER_STORE: expected "memory", "redis", "dynamo" or "database", got "rediss"/
    ]
  ]
  it.live.each(rows)(
    "with %j ends with %i",
    ([env, code, says]) =>
      Effect.gen(function* () {
        const ended = endsWith(code, yield* run(["list"], { env }))
        assert.match(ended.error, says)
      }),
    60_000
  )
})

describe("the store that CIRCUIT_BREAKER_STORE names", () => {
  const marked = (name: string) => {
    const built = { count: 0 }
    const layer = Layer.unwrap(
      Effect.sync(() => {
        built.count++
        return BreakerStore.layerMemoryWith({ maxCircuits: name.length })
      })
    )
    return { built, layer }
  }
  const stores = () => {
    const [redis, database] = [marked("redis"), marked("database")]
    const layer = BreakerStore.layerConfig({ redis: redis.layer, database: database.layer })
    return { layer, counts: () => [redis.built.count, database.built.count] }
  }

  it.effect.each([
    [{}, [0, 0]],
    [{ CIRCUIT_BREAKER_STORE: "memory" }, [0, 0]],
    [{ CIRCUIT_BREAKER_STORE: "redis" }, [1, 0]],
    [{ CIRCUIT_BREAKER_STORE: " database " }, [0, 1]]
  ] as ReadonlyArray<readonly [Env, ReadonlyArray<number>]>)("is built alone: %j", ([env, expected]) =>
    Effect.gen(function* () {
      const { counts, layer } = stores()
      const store = yield* provided(Layer.build(layer), env)
      assert.strictEqual(yield* state(store), "Closed")
      assert.deepStrictEqual(counts(), expected)
    })
  )

  it.effect("must be one of those that exist", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(provided(Layer.build(stores().layer), { CIRCUIT_BREAKER_STORE: "Redis" }))
      const error = Exit.findErrorOption(exit)
      assert.deepStrictEqual(problems(error._tag === "Some" ? error.value : undefined), [
        { path: "CIRCUIT_BREAKER_STORE", message: 'expected "memory", "redis" or "database", got "Redis"' }
      ])
    })
  )

  it.effect("is no setting of a policy, and a circuit may be called store", () =>
    Effect.gen(function* () {
      const policies = yield* provided(
        Effect.provide(BreakerPolicy.Policies, BreakerPolicy.layerConfig({ names: ["store"] })),
        { CIRCUIT_BREAKER_STORE: "redis", CIRCUIT_BREAKER_STORE_COOLDOWN: "5s" }
      )
      assert.strictEqual(policies.get("store").cooldown, 5_000)
    })
  )
})
