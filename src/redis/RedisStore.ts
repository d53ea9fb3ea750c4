/**
 * Circuits that processes share through Redis, or Valkey.
 *
 * **When to use**
 *
 * Provide {@link layerConnect} in place of `BreakerStore.layerMemory`, with any layer of Effect's `Redis` service: `NodeRedis`,
 * `BunRedis` or Deno's; or {@link layer}, where you have that service already. With `NodeRedis` say
 * `disableOfflineQueue: true`, or commands that nobody waits for any more pile up while Redis is away.
 *
 * **What it costs**
 *
 * A call costs no command. Each process sends one heartbeat and one read per `syncInterval`; it sends more only when calls
 * fail. Each command is one script, and takes as long with many processes as with few: about a millisecond for 32 circuits.
 * Reads write nothing, so a read-only replica or a user without write permission can serve them.
 *
 * Redis 5 or later, or Valkey; RESP2 or RESP3. All keys of a prefix have one hash tag, so that a Redis Cluster keeps them
 * together; give independent services prefixes of their own. All keys expire by themselves, except the counters of each
 * prefix and records that an operator forced without an end.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as BreakerStore from "../breaker/BreakerStore.ts"
import { connecting } from "../connection/connecting.ts"
import { ofGivenClient, ofOwnClient } from "../connection/judge.ts"
import { reporting } from "../connection/watched.ts"
import { type Decoded, decodeOptions, optional } from "../core/fields.ts"
import { foreignText } from "../core/foreign.ts"
import { PolicyError } from "../policy/BreakerPolicy.ts"
import { decodeFields } from "../shapes/problems.ts"
import { ofRedis, redisFields } from "../store/options.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { load as loadPackage } from "./client.ts"
import { redisUrl } from "./environment.ts"
import { layerEnvironment, session } from "./session.ts"
import { longestCircuit, redisStore } from "./store.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface RedisOptions {
  /** Begins every key: letters, digits, `.`, `_`, `-`, `:`. Processes with the same one are one fleet. Default `effect-fuse`. */
  readonly prefix?: string | undefined
  /**
   * Whether to hear at once what others announce, on a connection of its own. Without it, as where SUBSCRIBE is forbidden,
   * it is heard of at the next `syncInterval`. Default `true`.
   */
  readonly subscribe?: boolean | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends BreakerStore.SharedOptions, RedisOptions {}

/**
 * What the engine needs of a store, on Redis: to combine it with others, as in `QuorumStore`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: RedisOptions = {}): Effect.Effect<SharedStore, never, Redis.Redis> =>
  making(decodeOptions("RedisStore.make", redisFields, options))

const making = (options: Decoded<typeof redisFields>): Effect.Effect<SharedStore, never, Redis.Redis> =>
  Effect.flatMap(Redis.Redis, (redis) =>
    Effect.map(redisStore(redis, options), (store) => reporting("Redis", store, ofGivenClient))
  )

/**
 * {@link make} that connects by itself, in the background, and tries again until it succeeds. Operations wait
 * for the first attempt. If that fails, they fail with its error.
 * Use it to combine stores of several regions, of which one may be down when the program starts.
 *
 * ```ts
 * import { NodeRedis } from "@effect/platform-node"
 * import { Effect, Layer } from "effect"
 * import { BreakerStore } from "effect-fuse"
 * import * as QuorumStore from "effect-fuse/QuorumStore"
 * import * as RedisStore from "effect-fuse/RedisStore"
 *
 * const regions = ["eu", "us", "asia"].map((region) =>
 *   RedisStore.connect(NodeRedis.layer({ url: `redis://${region}.example:6379`, disableOfflineQueue: true }))
 * )
 * const Store = Layer.unwrap(
 *   Effect.map(Effect.flatMap(Effect.all(regions), QuorumStore.make), (store) => BreakerStore.layerShared(store))
 * )
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const connect = <E, R>(
  redis: Layer.Layer<Redis.Redis, E, R>,
  options: RedisOptions = {}
): Effect.Effect<SharedStore, never, R | Scope.Scope> =>
  connectingTo(redis, decodeOptions("RedisStore.connect", redisFields, options))

const connectingTo = <E, R>(
  redis: Layer.Layer<Redis.Redis, E, R>,
  options: Decoded<typeof redisFields>
): Effect.Effect<SharedStore, never, R | Scope.Scope> =>
  connecting(
    { what: "Redis", strictness: ofOwnClient, replaces: true, hearsLate: true, longestCircuit },
    session(redis, options)
  )

/**
 * Circuits that all processes with this Redis and this prefix share. Throws a `RangeError` that names the option that
 * is wrong.
 *
 * ```ts
 * import { NodeRedis } from "@effect/platform-node"
 * import { Layer } from "effect"
 * import * as RedisStore from "effect-fuse/RedisStore"
 *
 * const Store = RedisStore.layer({ prefix: "shop" }).pipe(
 *   Layer.provide(NodeRedis.layer({ url: "redis://localhost:6379", disableOfflineQueue: true }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<BreakerStore.BreakerStore, never, Redis.Redis> => {
  const { prefix, subscribe, ...shared } = decodeOptions("RedisStore.layer", ofRedis, options)
  return Layer.unwrap(Effect.map(making({ prefix, subscribe }), (store) => BreakerStore.layerShared(store, shared)))
}

/**
 * {@link layer} that connects by itself, in the background: a program starts and is protected whether Redis is there or
 * not, and shares its circuits from when it is. A client that cannot connect is built again, after a tenth of a second at
 * first and ten seconds at most, which is logged once. Building this waits for the connection, for
 * `connectTimeout` (1 second) at most, and then for the open circuits, for 200 milliseconds at most.
 *
 * ```ts
 * import { NodeRedis } from "@effect/platform-node"
 * import * as RedisStore from "effect-fuse/RedisStore"
 *
 * const redis = NodeRedis.layer({ url: "redis://localhost:6379", disableOfflineQueue: true })
 * const Store = RedisStore.layerConnect(redis, { prefix: "shop" })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConnect = <E, R>(
  redis: Layer.Layer<Redis.Redis, E, R>,
  options: Options = {}
): Layer.Layer<BreakerStore.BreakerStore, never, R> =>
  layerConnecting(redis, decodeOptions("RedisStore.layerConnect", ofRedis, options))

const layerConnecting = <E, R>(redis: Layer.Layer<Redis.Redis, E, R>, options: Decoded<typeof ofRedis>) => {
  const { prefix, subscribe, ...shared } = options
  return Layer.unwrap(
    Effect.map(connectingTo(redis, { prefix, subscribe }), (store) => BreakerStore.layerShared(store, shared))
  )
}

/**
 * The options of {@link layerConfig}: each is a value, or a `Config` of one. A `Config.String` of a duration can be short: `30s`.
 *
 * @category models
 * @since 0.1.0
 */
export type ConfigOptions = {
  readonly [K in keyof Options]:
    | Options[K]
    | Config.Config<Exclude<Options[K], undefined>>
    | (Duration.Input extends Options[K] ? Config.Config<string> : never)
}

/**
 * {@link layerConnect} to the Redis that the environment names, or any `ConfigProvider`. It needs the package `redis`.
 *
 * The variable is `REDIS_URL`: `redis://user:password@host:6379/0`, or `rediss://` with TLS. If it is not set, these are read:
 *
 * | variable | |
 * | --- | --- |
 * | `REDIS_HOST` | a name or an address; required |
 * | `REDIS_PORT` | default 6379 |
 * | `REDIS_USERNAME`, `REDIS_PASSWORD` | default: no login |
 * | `REDIS_DB` | the number of the database; default 0 |
 * | `REDIS_TLS` | `true` or `false`; default `false` |
 *
 * The command line reads the same variables. A variable that cannot be used fails the layer with a `PolicyError` that names the
 * variable, and shows neither a URL nor a password.
 *
 * ```ts
 * import { Config } from "effect"
 * import * as RedisStore from "effect-fuse/RedisStore"
 *
 * const Store = RedisStore.layerConfig({ prefix: "shop", process: Config.String("HOSTNAME") })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: ConfigOptions = {}
): Layer.Layer<BreakerStore.BreakerStore, PolicyError | Config.ConfigError> => {
  const given = decodeOptions("RedisStore.layerConfig", configFields, options)
  return Layer.unwrap(
    Effect.gen(function* () {
      const found = yield* valuesOf(given)
      // A wrong variable fails the layer. The layer of the client reads them again: a password may be rotated.
      yield* redisUrl
      const client = yield* Effect.tryPromise({ try: loadPackage, catch: (error) => notInstalled(error) })
      return layerConnecting(layerEnvironment(client), found)
    })
  )
}

/** The same options, each of which may be a `Config`. */
const configFields = Object.fromEntries(
  Object.entries(ofRedis).map(([name, { decode }]) => [
    name,
    optional({
      optional: false,
      decode: (input, path, problems) => (Config.isConfig(input) ? input : decode(input, path, problems))
    })
  ])
)

/** The values of options. The value of a `Config` comes from outside: a wrong one is an error of the layer. */
const valuesOf = (
  options: Readonly<Record<string, unknown>>
): Effect.Effect<Decoded<typeof ofRedis>, PolicyError | Config.ConfigError> =>
  Effect.flatMap(
    Effect.forEach(Object.entries(options), ([name, one]) =>
      Effect.map(Config.isConfig(one) ? one : Effect.succeed(one), (value) => [name, value] as const)
    ),
    (entries) =>
      Effect.fromResult(
        Result.mapError(
          decodeFields(ofRedis, Object.fromEntries(entries), ""),
          (problems) => new PolicyError({ problems })
        )
      )
  )

const notInstalled = (error: unknown): PolicyError =>
  new PolicyError({ problems: [{ path: "redis", message: foreignText(error) }] })
