import { execFile } from "node:child_process"
import { promisify } from "node:util"
import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import type { Redis } from "effect/persistence"
import { BreakerPolicy, CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import { layer as clusterLayer } from "../examples/redisCluster.ts"
import { layer as sentinelLayer } from "../examples/redisSentinel.ts"
import { connection, type Replica, send, standsAt, until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisCluster, redisSentinel } from "./support/redisTopologies.ts"
import { root } from "./support/root.ts"

/** A process that connects by itself, with a client of its own. */
const process_ = (redis: Layer.Layer<Redis.Redis, unknown>): Effect.Effect<Replica, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const end = Scope.close(scope, Exit.void)
    yield* Effect.addFinalizer(() => end)
    const store = RedisStore.layerConnect(redis, { syncInterval: 200, prefix: "shop" })
    const context = yield* Effect.orDie(Layer.buildWithScope(Layer.provideMerge(store, BreakerPolicy.layer({})), scope))
    return { run: (effect) => Effect.provideContext(effect, context), end }
  })

/** What one process does reaches the other. */
const together = ([a, b]: readonly [Replica, Replica], circuit: string) =>
  Effect.gen(function* () {
    yield* a.run(CircuitBreaker.isolate(circuit))
    yield* standsAt([b], "Isolated (fleet)", { circuit })
    yield* b.run(CircuitBreaker.release(circuit))
    yield* standsAt([a], "Closed (local)", { circuit })
  })

const example = (file: string, env: Readonly<Record<string, string>>) =>
  Effect.promise(async () => {
    const args = ["--conditions=@effect-fuse/source", "--disable-warning=ExperimentalWarning", `examples/${file}`]
    const { stderr, stdout } = await promisify(execFile)(process.execPath, args, {
      cwd: root,
      env: { ...process.env, ...env },
      timeout: 60_000
    })
    return { lines: stdout.trimEnd().split("\n"), stderr }
  })

const printed = { lines: ["payments is Isolated, decided by the fleet", "paid"], stderr: "" }

describe("a Redis Cluster of three masters", () => {
  live(
    "has the circuits of processes that use node-redis' cluster client, also after the master of their slot has died",
    Effect.gen(function* () {
      const { addresses, masters } = yield* redisCluster
      assert.deepStrictEqual(yield* example("redisCluster.ts", { REDIS_CLUSTER: addresses.join(",") }), printed)
      const pair = [yield* process_(clusterLayer(addresses)), yield* process_(clusterLayer(addresses))] as const
      yield* together(pair, "before")
      const [first] = masters
      assert.isDefined(first)
      const admin = yield* connection((first as (typeof masters)[number]).url)
      const slot = Number(yield* send(admin, "CLUSTER KEYSLOT {shop}:store"))
      const dying = masters[slot <= 5460 ? 0 : slot <= 10922 ? 1 : 2]
      yield* pair[0].run(CircuitBreaker.isolate("kept"))
      yield* standsAt([pair[1]], "Isolated (fleet)", { circuit: "kept" })
      yield* dying?.kill ?? Effect.void
      yield* together(pair, "afterwards")
      yield* standsAt(pair, "Isolated (fleet)", { circuit: "kept" })
    }),
    180_000
  )
})

describe("a Redis with Sentinel", () => {
  live(
    "has the circuits of processes that use node-redis' sentinel client, also after a failover",
    Effect.gen(function* () {
      const { master, replica, sentinels } = yield* redisSentinel
      const env = { REDIS_SENTINELS: sentinels.map(({ port }) => `127.0.0.1:${port}`).join(",") }
      assert.deepStrictEqual(yield* example("redisSentinel.ts", env), printed)
      const redis = sentinelLayer("mymaster", sentinels)
      const pair = [yield* process_(redis), yield* process_(redis)] as const
      yield* together(pair, "before")
      yield* master.kill
      const admin = yield* connection(replica.url)
      const isMaster = Effect.map(send<string>(admin, "INFO replication"), (text) => /role:master/.test(text))
      // The sentinels close the connections of a server whose role changes.
      yield* until(
        "the replica is the master",
        Effect.catchCause(isMaster, () => Effect.succeed(false))
      )
      yield* together(pair, "afterwards")
    }),
    180_000
  )
})
