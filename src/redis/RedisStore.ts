/**
 * Circuits that processes share through Redis, or Valkey.
 *
 * **When to use**
 *
 * Provide {@link layerConnect} in place of `BreakerStore.layerMemory`, with a layer of Effect's `Redis` service: `NodeRedis`,
 * `BunRedis` or Deno's. If your program already has that service, use {@link layer}. With `NodeRedis`, set
 * `disableOfflineQueue: true`; otherwise commands that have timed out pile up while Redis is unreachable.
 *
 * **What it costs**
 *
 * A call costs no command. Each process sends one heartbeat and one read per `syncInterval`; it sends more only when calls
 * fail. Each command is one script, which takes about a millisecond for 32 circuits, whatever the number of processes.
 * Reads write nothing, so a read-only replica or a user without write permission can serve them.
 *
 * Redis 5 or later, or Valkey; RESP2 or RESP3. All keys of a prefix have one hash tag, so that a Redis Cluster keeps them
 * on one node. Give independent services different prefixes. All keys expire, except the counters of each prefix and the records
 * of overrides without an end.
 */
import type * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redis from "effect/persistence/Redis"
import type * as Scope from "effect/Scope"
import * as BreakerStore from "../breaker/BreakerStore.ts"
import { connecting } from "../connection/connecting.ts"
import { ofGivenClient, ofOwnClient } from "../connection/judge.ts"
import { reporting } from "../connection/watched.ts"
import { type Decoded, decodeOptions } from "../core/fields.ts"
import { foreignText } from "../core/foreign.ts"
import { PolicyError } from "../policy/BreakerPolicy.ts"
import { ofRedis, orConfigs, redisFields, valuesOf } from "../store/options.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { load as loadPackage } from "./client.ts"
import { redisUrl } from "./environment.ts"
import { layerEnvironment, session } from "./session.ts"
import { longestCircuit, redisStore } from "./store.ts"

/**
 * The options of a shared store on Redis.
 *
 * @category models
 */
export interface RedisOptions {
  /**
   * The beginning of every key: letters, digits, `.`, `_`, `-`, `:`. Processes with the same prefix are one fleet. Default:
   * `effect-fuse`.
   */
  readonly prefix?: string | undefined
  /**
   * Whether to receive announcements of other processes at once, on a connection of its own. Without it, for example because
   * SUBSCRIBE is forbidden, changes are read every `syncInterval`. Default: `true`.
   */
  readonly subscribe?: boolean | undefined
}

/**
 * The options of {@link layer} and {@link layerConnect}.
 *
 * @category models
 */
export interface Options extends BreakerStore.SharedOptions, RedisOptions {}

/**
 * A shared store on Redis, to be combined with others in a `QuorumStore`. Throws a `RangeError` that names every invalid option.
 *
 * @category constructors
 */
export const make = (options: RedisOptions = {}): Effect.Effect<SharedStore, never, Redis.Redis> =>
  making(decodeOptions("RedisStore.make", redisFields, options))

const making = (options: Decoded<typeof redisFields>): Effect.Effect<SharedStore, never, Redis.Redis> =>
  Effect.flatMap(Redis.Redis, (redis) =>
    Effect.map(redisStore(redis, options), (store) => reporting("Redis", store, ofGivenClient))
  )

/**
 * Like {@link make}, but connects in the background, and retries until it succeeds. Operations wait for the first attempt. If that
 * fails, they fail with its error. Use it to combine the stores of several regions, one of which may be down when the program starts.
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
 * A breaker store that shares its circuits with all processes that use the same Redis and the same prefix. Throws a
 * `RangeError` that names every invalid option.
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
 */
export const layer = (options: Options = {}): Layer.Layer<BreakerStore.BreakerStore, never, Redis.Redis> => {
  const { prefix, subscribe, ...shared } = decodeOptions("RedisStore.layer", ofRedis, options)
  return Layer.unwrap(Effect.map(making({ prefix, subscribe }), (store) => BreakerStore.layerShared(store, shared)))
}

/**
 * Like {@link layer}, but connects in the background. While Redis is unreachable the program starts, and each process decides alone;
 * it shares its circuits once Redis is connected. A client that cannot connect is built again, after 100 milliseconds at first
 * and at most every 10 seconds. This is logged once. Building the layer waits at most `connectTimeout` (1 second) for the
 * connection, and then at most 200 milliseconds for the open circuits.
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
 */
export type ConfigOptions = {
  readonly [K in keyof Options]:
    | Options[K]
    | Config.Config<Exclude<Options[K], undefined>>
    | (Duration.Input extends Options[K] ? Config.Config<string> : never)
}

/**
 * {@link layerConnect} to the Redis that the environment, or any other `ConfigProvider`, names. Needs the package `redis`.
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
 * The command line reads the same variables. If a variable is invalid, the layer fails with a `PolicyError` that names the
 * variable and contains neither the URL nor the password.
 *
 * ```ts
 * import { Config } from "effect"
 * import * as RedisStore from "effect-fuse/RedisStore"
 *
 * const Store = RedisStore.layerConfig({ prefix: "shop", process: Config.String("HOSTNAME") })
 * ```
 *
 * @category layers
 */
export const layerConfig = (
  options: ConfigOptions = {}
): Layer.Layer<BreakerStore.BreakerStore, PolicyError | Config.ConfigError> => {
  const given = decodeOptions("RedisStore.layerConfig", configFields, options)
  return Layer.unwrap(
    Effect.gen(function* () {
      const found = yield* valuesOf(ofRedis, given)
      // An invalid variable fails the layer. The layer of the client reads the variables again, because a password may be rotated.
      yield* redisUrl
      const client = yield* Effect.tryPromise({ try: loadPackage, catch: (error) => notInstalled(error) })
      return layerConnecting(layerEnvironment(client), found)
    })
  )
}

const configFields = orConfigs(ofRedis)

const notInstalled = (error: unknown): PolicyError =>
  new PolicyError({ problems: [{ path: "redis", message: foreignText(error) }] })
