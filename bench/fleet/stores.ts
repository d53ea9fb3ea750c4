import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Logger, ManagedRuntime, Redacted } from "effect"
import { CircuitBreaker as EffectOwn, Redis } from "effect/persistence"
import { BreakerPolicy, BreakerStore, type SharedStore } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import * as SqlStore from "effect-fuse/SqlStore"

const silent = Logger.layer([])

export type Ours = ManagedRuntime.ManagedRuntime<BreakerStore.BreakerStore, unknown>

/** A runtime with Effect's own breaker in its documented form: five failures in a row. */
export interface Theirs {
  readonly runtime: ManagedRuntime.ManagedRuntime<EffectOwn.CircuitBreaker, unknown>
  readonly breaker: EffectOwn.CircuitBreaker
}

/** This cooldown is longer than every measurement, so circuits do not probe during a measurement. */
const cooldown = "10 minutes"

interface OursOptions extends RedisStore.Options {
  /** Whether to trip only by five failures in a row, as Effect's breaker. Default: the default policy. */
  readonly streak?: boolean
  /** Wraps the store, to observe it. */
  readonly around?: (store: SharedStore.SharedStore) => SharedStore.SharedStore
}

const policies = (streak: boolean | undefined) =>
  BreakerPolicy.layer({
    default: streak === true ? { cooldown, trip: { _tag: "Consecutive", failures: 5 } } : { cooldown }
  })

export const bare = () => ManagedRuntime.make(silent)

export const oursInMemory = (options: BreakerStore.Options & { readonly streak?: boolean } = {}): Ours => {
  const { streak, ...rest } = options
  const store = BreakerStore.layerMemoryWith(rest)
  return ManagedRuntime.make(store.pipe(Layer.provideMerge(policies(streak)), Layer.provideMerge(silent)))
}

/** `RedisStore.layer`, or its parts if the store is observed. */
export const oursOnRedis = async (url: string, options: OursOptions = {}): Promise<Ours> => {
  const { around, prefix, streak, ...rest } = options
  const store =
    around === undefined
      ? RedisStore.layer({ prefix, ...rest })
      : Layer.unwrap(Effect.map(RedisStore.make({ prefix }), (store) => BreakerStore.layerShared(around(store), rest)))
  const runtime = ManagedRuntime.make(
    store.pipe(
      Layer.provide(NodeRedis.layer({ url, disableOfflineQueue: true })),
      Layer.provideMerge(policies(streak)),
      Layer.provideMerge(silent)
    )
  )
  await runtime.context()
  return runtime
}

/** `SqlStore.layer` on PostgreSQL. */
export const oursOnPostgres = async (url: string): Promise<Ours> => {
  const runtime = ManagedRuntime.make(
    SqlStore.layer().pipe(
      Layer.provide(PgClient.layer({ url: Redacted.make(url), maxConnections: 3 })),
      Layer.provideMerge(policies(undefined)),
      Layer.provideMerge(silent)
    )
  )
  await runtime.context()
  return runtime
}

const theirs = async (store: Layer.Layer<EffectOwn.CircuitBreakerStore, unknown>): Promise<Theirs> => {
  const runtime = ManagedRuntime.make(
    EffectOwn.layer({ tripPolicy: EffectOwn.consecutive(5), openDuration: cooldown }).pipe(
      Layer.provide(store),
      Layer.provideMerge(silent)
    )
  )
  return { runtime, breaker: await runtime.runPromise(EffectOwn.CircuitBreaker) }
}

export const theirsInMemory = () => theirs(EffectOwn.layerStoreMemory())

/** As in Effect's documentation, which recommends `disableOfflineQueue`. The default is without. */
export const theirsOnRedis = (url: string, options: { readonly disableOfflineQueue?: boolean } = {}) =>
  theirs(
    EffectOwn.layerStoreRedis({ prefix: `theirs-${options.disableOfflineQueue === true}:` }).pipe(
      Layer.provide(NodeRedis.layer({ url, ...options })),
      Layer.provide(silent)
    )
  )

export interface Admin {
  readonly send: <A>(command: string, ...args: ReadonlyArray<string>) => Promise<A>
  readonly version: string
  /** How many times each command was run since the server started, by clients or within scripts. */
  readonly commands: () => Promise<ReadonlyMap<string, number>>
  readonly close: () => Promise<void>
}

/** Effect's Redis service without a breaker. */
export const plain = (url: string) =>
  ManagedRuntime.make(NodeRedis.layer({ url, RESP: 2 }).pipe(Layer.provideMerge(silent)))

/** A connection of the bench's own. */
export const admin = async (url: string): Promise<Admin> => {
  const runtime = plain(url)
  const send = <A>(command: string, ...args: ReadonlyArray<string>) =>
    runtime.runPromise(Effect.flatMap(Redis.Redis, (redis) => redis.send<A>(command, ...args)))
  const server = String(await send("INFO", "server"))
  return {
    send,
    version: /redis_version:(\S+)/.exec(server)?.[1] ?? "unknown",
    commands: async () =>
      new Map(
        [...String(await send("INFO", "commandstats")).matchAll(/cmdstat_([^:]+):calls=(\d+)/g)].map(
          ([, name = "", calls]) => [name.toLowerCase(), Number(calls)] as const
        )
      ),
    close: () => runtime.dispose()
  }
}

/** Sets the threshold of the slow log in microseconds. -1 turns the log off. */
export const logSlow = (server: Admin, micros: number): Promise<unknown> =>
  server.send("CONFIG", "SET", "slowlog-log-slower-than", String(micros), "slowlog-max-len", "100000")

/** The times of the scripts that the server has logged since the last call of this function, in milliseconds, the longest first. */
export const longest = async (server: Admin): Promise<ReadonlyArray<number>> => {
  const entries = await server.send<ReadonlyArray<readonly [number, number, number, ReadonlyArray<string>]>>(
    "SLOWLOG",
    "GET",
    "100000"
  )
  await server.send("SLOWLOG", "RESET")
  return entries
    .filter(([, , , [name = ""]]) => /^evalsha$/i.test(name))
    .map(([, , micros]) => Number(micros) / 1_000)
    .sort((a, b) => b - a)
}
