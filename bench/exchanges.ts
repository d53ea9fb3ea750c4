/**
 * Measures how long one store operation takes on Redis and on PostgreSQL, by the clock of the client; on Redis also by the clock of the
 * server (SLOWLOG).
 *
 *     npm run bench:exchanges
 *
 * It starts a `redis-server` and a PostgreSQL of its own on free ports.
 */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Logger, Redacted } from "effect"
import { SharedStore } from "effect-fuse"
import { Circuit } from "effect-fuse/core"
import * as RedisStore from "effect-fuse/RedisStore"
import * as SqlStore from "effect-fuse/SqlStore"
import { toSwap } from "../src/store/record.ts"
import { postgresServer } from "../test/support/postgresServer.ts"
import { redisServer } from "../test/support/redisServer.ts"
import { quantile } from "./fleet/figures.ts"
import { type Admin, admin, logSlow, longest } from "./fleet/stores.ts"

const { limits } = SharedStore
const repeats = 200
const listed = 40_000
const openCircuits = 2_000

/** A record as the engine writes it for an opening. */
const swapOf = (circuit: string, expectedEpoch: number): SharedStore.Swap => {
  const now = Date.now()
  const cause = {
    why: "Tripped",
    detail: "5 failures in a row in 3 of 4 processes together",
    actor: undefined
  } as const
  const state = Circuit.open(Circuit.initial, now, { openFor: 3_600_000, cause, at: now })
  const provenance = { ...cause, policy: "1a2b3c4", process: "checkout~1a2b3c4d5e6f", at: now }
  return toSwap(circuit, expectedEpoch, state, now, provenance)
}

const castOf = (circuit: string, epoch: number, n: number, roll: number): SharedStore.Cast => ({
  ...{ circuit, epoch, box: "2~1a2b3c4", ttl: 10_000, inquire: 300, roll },
  ballot: [1_000, n, 0, 3, 40, 3, 0, 3_000]
})

const name = (n: number) => `payments/customer-${n}`
const numbers = (count: number, from = 0) => Array.from({ length: count }, (_, i) => i + from)

const done = (store: SharedStore.SharedStore, more: Partial<SharedStore.Exchange>) =>
  Effect.flatMap(
    store.exchange({
      ...{ voter: "checkout~1", ttl: 60_000, notAfter: undefined, heard: 0, floor: 0, casts: [], swaps: [] },
      ...more
    }),
    (answer) => (answer._tag === "Done" ? Effect.succeed(answer) : Effect.die("late"))
  )

/** A heartbeat of a process that has heard all roll calls. */
const heartbeat = (store: SharedStore.SharedStore) => {
  const { head, life } = last
  return Effect.map(done(store, { heard: head, life }), (answer) => {
    last = answer
  })
}
let last = { head: 0, life: "" }

const fill = (store: SharedStore.SharedStore, from: number, count: number) =>
  Effect.forEach(
    numbers(Math.ceil(count / 32), 0),
    (batch) => {
      const some = numbers(Math.min(32, count - batch * 32), from + batch * 32)
      return done(store, { swaps: some.map((n) => swapOf(name(n), 0)) })
    },
    { discard: true }
  )

/** The operations to measure; `n` is different each time. */
const operations = (store: SharedStore.SharedStore) => {
  const epochs = new Map<string, number>()
  return {
    fill: Effect.andThen(
      // Ten other voters, with ballots in the same boxes.
      Effect.forEach(numbers(10), (voter) =>
        done(store, {
          voter: `other~${voter}`,
          casts: numbers(32, 100_000).map((n) => castOf(name(n), 0, voter, 0))
        })
      ),
      fill(store, 0, openCircuits)
    ),
    before: {
      [`heartbeat, ${openCircuits} open`]: () => heartbeat(store),
      "page, nothing new": () => store.page(Number.MAX_SAFE_INTEGER - 1, limits.page),
      "exchange of 32 changed ballots": (n: number) =>
        done(store, { casts: numbers(32, 100_000).map((one) => castOf(name(one), 0, n, 0)) }),
      "the same, each with a roll call": (n: number) =>
        done(store, { casts: numbers(32, 100_000 + 32 * (n + 1)).map((one) => castOf(name(one), 0, n, 30_000)) }),
      "exchange of 32 swaps": () =>
        Effect.map(
          done(store, { swaps: numbers(32, 200_000).map((n) => swapOf(name(n), epochs.get(name(n)) ?? 0)) }),
          ({ swaps }) => {
            for (const [i, { record }] of swaps.entries()) epochs.set(name(200_000 + i), record?.epoch ?? 0)
          }
        )
    },
    refill: fill(store, openCircuits, listed - openCircuits),
    after: {
      [`heartbeat, ${listed} open`]: () => heartbeat(store),
      [`page, nothing new, ${listed} listed`]: () => store.page(Number.MAX_SAFE_INTEGER - 1, limits.page),
      [`page of ${limits.page} of ${listed}`]: () => store.page(0, limits.page)
    }
  }
}

const shown = (all: ReadonlyArray<number>): string =>
  all.length === 0 ? "" : [0.5, 0.95, 1].map((q) => quantile(all, q).toFixed(2).padStart(8)).join("")

const measure = (
  what: string,
  run: (n: number) => Effect.Effect<unknown, SharedStore.StoreError>,
  server: Admin | undefined
) =>
  Effect.gen(function* () {
    for (const n of numbers(20, repeats)) yield* run(n)
    if (server !== undefined) {
      yield* Effect.promise(() => logSlow(server, 0))
      yield* Effect.promise(() => longest(server))
    }
    const client: Array<number> = []
    for (const n of numbers(repeats)) {
      const began = performance.now()
      yield* run(n)
      client.push(performance.now() - began)
    }
    let own: ReadonlyArray<number> = []
    if (server !== undefined) {
      own = yield* Effect.promise(() => longest(server))
      yield* Effect.promise(() => logSlow(server, -1))
    }
    console.log(`${what.padEnd(44)}${shown(own).padStart(26)}${shown(client).padStart(28)}`)
  })

const all = (store: SharedStore.SharedStore, server: Admin | undefined) =>
  Effect.gen(function* () {
    const { after, before, fill, refill } = operations(store)
    console.log(`${"milliseconds: p50, p95, max".padEnd(44)}${"server".padStart(26)}${"client".padStart(28)}`)
    yield* fill
    for (const [what, run] of Object.entries(before)) yield* measure(what, run, server)
    yield* refill
    for (const [what, run] of Object.entries(after)) yield* measure(what, run, server)
  })

const program = Effect.gen(function* () {
  const { url } = yield* redisServer
  const server = yield* Effect.promise(() => admin(url))
  console.log(`Redis ${server.version}`)
  const redis = yield* Layer.build(NodeRedis.layer({ url }))
  yield* all(yield* Effect.provideContext(RedisStore.make({ subscribe: false }), redis), server)
  yield* Effect.promise(() => server.close())
  console.log("\nPostgreSQL")
  const database = yield* postgresServer
  const sql = yield* Layer.build(PgClient.layer({ url: Redacted.make(database.url) }))
  yield* all(yield* Effect.provideContext(SqlStore.make(), sql), undefined)
})

await Effect.runPromise(Effect.scoped(Effect.provide(program, Logger.layer([]))))
process.exit(0)
