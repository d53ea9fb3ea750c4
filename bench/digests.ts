/**
 * Measures what digests cost. A process makes digests, a heartbeat sends them, the store keeps them, and a program reads them.
 *
 *     npm run bench:digests
 *     npm run bench:digests -- --quick   without the fleet of 1,000 processes
 *
 * It starts its own `redis-server` and PostgreSQL on free ports.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Effect, Layer, Logger, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { BreakerStore, CircuitBreaker, type SharedStore } from "effect-fuse"
import * as Operator from "effect-fuse/Operator"
import * as RedisStore from "effect-fuse/RedisStore"
import * as SqlStore from "effect-fuse/SqlStore"
import { TrafficMeter } from "../src/engine/traffic.ts"
import { encode, type NameDigest } from "../src/store/digest.ts"
import { postgresServer } from "../test/support/postgresServer.ts"
import { redisServer } from "../test/support/redisServer.ts"
import { quantile } from "./fleet/figures.ts"
import { type Admin, admin, logSlow, longest } from "./fleet/stores.ts"

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i)
const fleets = process.argv.includes("--quick") ? [3, 20, 200] : [3, 20, 200, 1_000]
const circuits = [10, 100, 10_000]

const millis = (all: ReadonlyArray<number>): string =>
  [0.5, 0.95, 1].map((q) => quantile(all, q).toFixed(2).padStart(8)).join("")
const kilobytes = (bytes: number): string => `${(bytes / 1_024).toFixed(1)} kB`.padStart(12)

// ---- The process ----------------------------------------------------------------------------------------------------

/** Calls circuits, then reads their traffic. Measures how long the reading takes, and for how long it blocks the process. */
const ofProcess = (what: string, circuit: (n: number) => readonly [name: string, key?: string], count: number) =>
  Effect.gen(function* () {
    const context = yield* Layer.build(Layer.fresh(BreakerStore.layerMemory))
    const meter = new TrafficMeter(Context.get(context, BreakerStore.BreakerStore))
    const whole: Array<number> = []
    const blocked: Array<number> = []
    let bytes = 0
    for (const turn of numbers(30)) {
      for (const n of numbers(count)) {
        const [name, key] = circuit(n)
        yield* Effect.provideContext(CircuitBreaker.protect(Effect.void, name, { key }), context)
      }
      let last = performance.now()
      let isReading = true
      const other = Effect.gen(function* () {
        while (isReading) {
          const now = performance.now()
          blocked.push(now - last)
          last = now
          yield* Effect.yieldNow
        }
      })
      yield* Effect.forkChild(other)
      const began = performance.now()
      const { begin, millis, names } = yield* meter.read
      const beforeEncode = performance.now()
      const text = encode(millis, names)
      blocked.push(performance.now() - beforeEncode)
      isReading = false
      begin()
      if (turn >= 5) whole.push(performance.now() - began)
      bytes = text.length
    }
    console.log(
      `${what.padEnd(44)}${millis(whole)}   longest part ${quantile(blocked.slice(20), 0.99).toFixed(2)}${kilobytes(bytes)}`
    )
  }).pipe(Effect.scoped)

// ---- The store ------------------------------------------------------------------------------------------------------

const nameDigest = (n: number): NameDigest => ({
  name: `service-${n}/operation`,
  ...{ calls: 1_000 + n, successes: 990, failures: 10 + n, rejected: 0, slow: 3, passed: 0, inFlight: 4 },
  ...{ keys: 12, notClosed: 0, limit: undefined, p50: 12.5, p95: 140 },
  worst: [{ key: `tenant-${n}`, state: "Closed", failures: 3 }]
})

const digestOf = (count: number): string => encode(5_000, numbers(count).map(nameDigest))

const heartbeat = (store: SharedStore.SharedStore, n: number, digest: string | undefined) =>
  store.exchange({
    ...{ voter: `checkout~${n}`, ttl: 600_000, notAfter: undefined, heard: 0, floor: 0, casts: [], swaps: [] },
    digest
  })

interface Watcher {
  /** Starts to measure how long each command takes in the server. */
  readonly start: Effect.Effect<void>
  /** The times since then, in milliseconds; empty if the server does not report them. */
  readonly stop: Effect.Effect<ReadonlyArray<number>>
  readonly bytes: Effect.Effect<number>
}

const ofStore = (store: SharedStore.SharedStore, watcher: Watcher) =>
  Effect.gen(function* () {
    console.log(
      `${"processes, circuits: milliseconds p50, p95, max".padEnd(44)}${"heartbeat".padStart(24)}${"overview".padStart(24)}`
    )
    for (const processes of fleets) {
      for (const [count, digest] of [[0, undefined] as const, ...circuits.map((n) => [n, digestOf(n)] as const)]) {
        yield* Effect.forEach(numbers(processes), (n) => heartbeat(store, n, digest), { discard: true })
        yield* watcher.start
        const beats: Array<number> = []
        for (const n of numbers(200)) {
          const began = performance.now()
          yield* heartbeat(store, n % processes, digest)
          beats.push(performance.now() - began)
        }
        const beatsOfServer = yield* watcher.stop
        yield* watcher.start
        const reads: Array<number> = []
        let commands = 0
        const counted: SharedStore.SharedStore = {
          ...store,
          digests: (after) => {
            commands++
            return store.digests(after)
          }
        }
        for (const _ of numbers(20)) {
          const began = performance.now()
          yield* Operator.overview(counted)
          reads.push(performance.now() - began)
        }
        const readsOfServer = yield* watcher.stop
        const bytes = yield* watcher.bytes
        const sent = digest?.length ?? 0
        console.log(
          `${`${processes} processes, ${count === 0 ? "no digest" : `${count} circuits (${sent} bytes)`}`.padEnd(44)}${millis(beats)}${millis(reads)}   ${1 + commands / 20} commands${kilobytes(bytes)}`
        )
        if (beatsOfServer.length > 0)
          console.log(`${"  by the clock of the server".padEnd(44)}${millis(beatsOfServer)}${millis(readsOfServer)}`)
      }
    }
  })

const onRedis = (server: Admin): Watcher => ({
  start: Effect.promise(async () => {
    await logSlow(server, 0)
    await longest(server)
  }),
  stop: Effect.promise(async () => {
    const times = await longest(server)
    await logSlow(server, -1)
    return times
  }),
  bytes: Effect.promise(async () => {
    let bytes = 0
    for (const key of await server.send<ReadonlyArray<string>>("KEYS", "*")) {
      bytes += Number(await server.send("MEMORY", "USAGE", key, "SAMPLES", "0"))
    }
    return bytes
  })
})

const program = Effect.gen(function* () {
  console.log("A process: milliseconds p50, p95, max of a whole reading")
  for (const count of circuits) yield* ofProcess(`${count} names`, (n) => [`name-${n}`], count)
  yield* ofProcess("10000 keys of one name", (n) => ["api", `key-${n}`], 10_000)
  yield* ofProcess("10000 keys of 100 names", (n) => [`name-${n % 100}`, `key-${n}`], 10_000)

  const { url } = yield* redisServer
  const server = yield* Effect.promise(() => admin(url))
  console.log(`\nRedis ${server.version}`)
  const redis = yield* Layer.build(NodeRedis.layer({ url }))
  yield* ofStore(yield* Effect.provideContext(RedisStore.make({ subscribe: false }), redis), onRedis(server))
  yield* Effect.promise(() => server.close())

  console.log("\nPostgreSQL")
  const database = yield* postgresServer
  const sql = yield* Layer.build(PgClient.layer({ url: Redacted.make(database.url) }))
  const { unsafe } = Context.get(sql, SqlClient.SqlClient)
  yield* ofStore(yield* Effect.provideContext(SqlStore.make(), sql), {
    start: Effect.void,
    stop: Effect.succeed([]),
    bytes: Effect.map(
      Effect.orDie(unsafe<{ size: string }>("SELECT pg_total_relation_size('circuit_breaker_voters') AS size")),
      ([row]) => Number(row?.size)
    )
  })
})

await Effect.runPromise(Effect.scoped(Effect.provide(program, Logger.layer([]))))
process.exit(0)
