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
 * A call costs no command. Each process asks once per `syncInterval` for all that is not Closed; everything else is said
 * only when calls fail. Redis 5 or later, RESP2 or RESP3, one script a command. All keys of a prefix have one hash tag, so
 * that a Redis Cluster keeps them together; give independent services prefixes of their own. Everything expires by itself but
 * one counter per prefix, and what people forced without an end.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redis from "effect/persistence/Redis"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { PolicyError } from "./BreakerPolicy.ts"
import * as BreakerStore from "./BreakerStore.ts"
import { connecting } from "./internal/connecting.ts"
import { announced, cast, list, load, type RecordReply, swap } from "./internal/redis/scripts.ts"
import { decodeOptions, ofRedis } from "./internal/storeOptions.ts"
import { type Change, type SharedStore, type Stored, StoreError, type Tally } from "./SharedStore.ts"

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
export const make = (options: RedisOptions = {}): Effect.Effect<SharedStore, PolicyError, Redis.Redis> =>
  Effect.flatMap(decodeOptions(ofRedis, options), (checked) =>
    Effect.map(Redis.Redis, (redis) => fromRedis(redis, checked))
  )

/**
 * {@link make} that connects by itself, in the background, and tries again until it succeeds. Operations wait
 * for the first attempt. If that fails, they fail with its error.
 * Use it to combine stores of several regions, of which one may be down when the program starts.
 *
 * ```ts
 * import { NodeRedis } from "@effect/platform-node"
 * import { Effect, Layer } from "effect"
 * import { BreakerStore, QuorumStore } from "effect-fuse"
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
): Effect.Effect<SharedStore, PolicyError, R | Scope.Scope> =>
  Effect.flatMap(decodeOptions(ofRedis, options), (checked) =>
    connecting(
      "Redis",
      Effect.map(quietUntilBuilt(Layer.build(Layer.fresh(redis))), (services) => ({
        store: fromRedis(Context.get(services, Redis.Redis), checked),
        // A client that has connected once connects again by itself.
        ended: Effect.never
      }))
    )
  )

/** Drops the warnings of Effect's client while it connects: it warns of each failed attempt, and this library warns once. */
const quietUntilBuilt = <A, E, R>(build: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const loggers = fiber.getRef(Logger.CurrentLoggers)
    let built = false
    const gate = Logger.make((options) => {
      if (built || options.logLevel !== "Warn") for (const logger of loggers) logger.log(options)
    })
    const done = Effect.tap(build, () =>
      Effect.sync(() => {
        built = true
      })
    )
    return Effect.provideService(done, Logger.CurrentLoggers, new Set([gate]))
  })

/**
 * Circuits that all processes with this Redis and this prefix share. Fails with a `PolicyError` that names the option that
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
export const layer = (options: Options = {}): Layer.Layer<BreakerStore.BreakerStore, PolicyError, Redis.Redis> => {
  const { prefix: _, subscribe: __, ...rest } = options
  return Layer.unwrap(Effect.map(make(options), (store) => BreakerStore.layerShared(store, rest)))
}

/**
 * {@link layer} that connects by itself, in the background: a program starts and is protected whether Redis is there or
 * not, and shares its circuits from when it is. A client that cannot connect is built again, after a tenth of a second at
 * first and ten seconds at most, which is logged once. Whoever builds this waits for it 200 milliseconds at most.
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
): Layer.Layer<BreakerStore.BreakerStore, PolicyError, R> => {
  const { prefix: _, subscribe: __, ...rest } = options
  return Layer.unwrap(Effect.map(connect(redis, options), (store) => BreakerStore.layerShared(store, rest)))
}

/**
 * {@link layer} with options from the environment, or any `ConfigProvider`.
 *
 * ```ts
 * import { Config } from "effect"
 * import * as RedisStore from "effect-fuse/RedisStore"
 *
 * const Store = RedisStore.layerConfig({
 *   prefix: Config.String("BREAKER_PREFIX"),
 *   syncInterval: Config.Duration("BREAKER_SYNC_INTERVAL")
 * })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Options>
): Layer.Layer<BreakerStore.BreakerStore, PolicyError | Config.ConfigError, Redis.Redis> =>
  Layer.unwrap(Effect.map(Config.unwrap(options), layer))

type Service = Redis.Redis["Service"]

const fromRedis = (redis: Service, { prefix = "effect-fuse", subscribe = true }: RedisOptions): SharedStore => {
  const key = (name: string): string => `{${prefix}}:${name}`
  const keys = { live: key("live"), listed: key("listed"), era: key("era") }
  const channel = key("changes")
  const recordKey = (circuit: string): string => key(`record:${circuit}`)
  const ballotKeys = (circuit: string): ReadonlyArray<string> => [key(`ballots:${circuit}`), key(`until:${circuit}`)]
  const run = <A>(operation: StoreError["operation"], effect: Effect.Effect<A, Redis.RedisError>) =>
    Effect.mapError(effect, ({ cause }) => new StoreError({ operation, cause }))
  const evalCast = redis.eval(cast)
  const evalSwap = redis.eval(swap)
  const evalLoad = redis.eval(load)
  const evalList = redis.eval(list)

  return {
    cast: ({ ballot, box, circuit, era, inquire, ttl, voice }) => {
      const args = [era, box, voice, ttl, (ballot ?? []).join(","), inquire, channel, announced("I", circuit, box)]
      const answer = evalCast([recordKey(circuit), ...ballotKeys(circuit), keys.live], args)
      return run(
        "cast",
        Effect.map(answer, ([live, record, voices, sums, asked]) => ({
          live,
          record: toStored(record),
          tally: voices < 0 ? undefined : toTally(voices, sums, asked)
        }))
      )
    },
    swap: ({ body, circuit, expectedEra, listed, ttl }) => {
      const args = [expectedEra, body, ttl ?? "", listed ? 1 : 0, circuit, channel, announced("R", circuit, body)]
      const answer = evalSwap([recordKey(circuit), keys.era, keys.listed, ...ballotKeys(circuit)], args)
      return run(
        "swap",
        Effect.map(answer, ([swapped, record]) => ({ swapped: swapped === 1, record: toStored(record) }))
      )
    },
    load: (circuit) =>
      run(
        "load",
        Effect.map(evalLoad([recordKey(circuit)], []), ([record]) => toStored(record))
      ),
    list: (voice, ttl) =>
      run(
        "list",
        Effect.flatMap(evalList([keys.live, keys.listed], [voice, ttl]), ([live, circuits]) =>
          Effect.map(
            Effect.forEach(chunks(circuits), (some) => evalLoad(some.map(recordKey), []), { concurrency: 8 }),
            (replies) => ({
              live,
              records: replies.flat().flatMap((reply, place) => {
                const [record, circuit] = [toStored(reply), circuits[place]]
                return record === undefined || circuit === undefined ? [] : [{ ...record, circuit }]
              })
            })
          )
        )
      ),
    changes: subscribe
      ? Stream.unwrap(Effect.map(subscribed(redis, channel), (messages) => Stream.fromQueue(messages))).pipe(
          Stream.mapError(({ cause }) => new StoreError({ operation: "changes", cause })),
          Stream.map(({ message }) => toChange(message)),
          Stream.filter((change) => change !== undefined)
        )
      : Stream.never
  }
}

/** Connecting cannot be interrupted: a server that hangs is left alone with it, or nothing here could end. */
const subscribed = (redis: Service, channel: string) =>
  Effect.gen(function* () {
    const own = yield* Scope.make()
    const connecting = yield* Effect.forkDetach(Scope.provide(redis.subscribe(channel), own))
    const leave = Effect.andThen(Fiber.await(connecting), Scope.close(own, Exit.void))
    yield* Effect.addFinalizer(() => Effect.forkDetach(leave))
    return yield* Fiber.join(connecting)
  })

/** So many records are read with one command. */
const chunkSize = 200

const chunks = (circuits: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> =>
  Array.from({ length: Math.ceil(circuits.length / chunkSize) }, (_, i) =>
    circuits.slice(i * chunkSize, (i + 1) * chunkSize)
  )

const toStored = (reply: RecordReply | undefined): Stored | undefined =>
  reply === undefined || reply.length === 0
    ? undefined
    : { era: Number(reply[0]), body: reply[1], age: Number(reply[2]) }

const toTally = (voices: number, sums: string, asked: number): Tally => ({
  voices,
  sums: sums === "" ? [] : sums.split(",").map((n) => Number(n) || 0),
  asked: asked < 0 ? undefined : asked
})

/** `R` or `I`, the era, the circuit and the rest, with one space between them. */
const toChange = (message: string): Change | undefined => {
  const found = /^([RI]) (\d+) (\S+) (.*)$/s.exec(message)
  if (found === null) return undefined
  const [, tag, digits, circuit = "", rest = ""] = found
  const era = Number(digits)
  if (!Number.isSafeInteger(era)) return undefined
  return tag === "R" ? { _tag: "Record", circuit, era, body: rest } : { _tag: "Inquiry", circuit, era, box: rest }
}
