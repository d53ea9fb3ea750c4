/**
 * Circuits in a Redis Cluster, with node-redis' cluster client as Effect's Redis service. The client follows its cluster: it learns of a
 * failover and moves to the new master by itself. `layerConnect` replaces the client if it does not.
 *
 * Give it the nodes of a cluster: REDIS_CLUSTER="127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003".
 */
import { Deferred, Effect, Layer, Logger } from "effect"
import { Redis } from "effect/persistence"
import { BreakerPolicy, CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import { createCluster } from "redis"

const failed = (cause: unknown) => new Redis.RedisError({ cause })

/** Effect's Redis service on a cluster. */
export const layer = (nodes: ReadonlyArray<string>): Layer.Layer<Redis.Redis, Redis.RedisError> =>
  Layer.effect(
    Redis.Redis,
    Effect.gen(function* () {
      const cluster = yield* Effect.acquireRelease(
        Effect.sync(
          () =>
            createCluster({
              rootNodes: nodes.map((node) => ({ url: `redis://${node}` })),
              // Password and TLS go here. They apply to all nodes, also to nodes that the client discovers.
              defaults: { disableOfflineQueue: true, pingInterval: 10_000 }
            }).on("error", () => {}) // commands fail with this error
        ),
        (cluster) => Effect.sync(() => cluster.isOpen && cluster.destroy())
      )
      yield* Effect.tryPromise({ try: () => cluster.connect(), catch: failed })
      return yield* Redis.make({
        send: <A>(command: string, ...args: ReadonlyArray<string>) =>
          Effect.tryPromise({
            // The first key selects the node. All keys of a store are in one slot.
            try: () =>
              cluster.sendCommand(/^EVAL/.test(command) ? args[2] : args[0], false, [command, ...args]) as Promise<A>,
            catch: failed
          }),
        connect: Effect.fail(failed(new Error("a store needs no connection for itself"))),
        subscribe: (channel, onMessage) =>
          Effect.gen(function* () {
            const hear = (message: string | Buffer, channel: string | Buffer) =>
              onMessage({ channel: String(channel), message: String(message) })
            yield* Effect.acquireRelease(
              Effect.tryPromise({ try: () => cluster.subscribe(channel, hear), catch: failed }),
              () => Effect.sync(() => void cluster.unsubscribe(channel, hear).catch(() => {}))
            )
            return Deferred.await(yield* Deferred.make<void, Redis.RedisError>())
          })
      })
    })
  )

const nodes = process.env["REDIS_CLUSTER"]
if (import.meta.main && nodes !== undefined) {
  const Store = RedisStore.layerConnect(layer(nodes.split(",")), { prefix: "shop", process: "checkout" })
  const main = Effect.gen(function* () {
    yield* CircuitBreaker.isolate("payments", { reason: "migration", for: "1 minute" })
    const { scope, state } = yield* CircuitBreaker.inspect("payments")
    console.log(`payments is ${state}, decided by the ${scope}`)
    yield* CircuitBreaker.release("payments")
    console.log(yield* CircuitBreaker.protect(Effect.succeed("paid"), "payments"))
  })
  // Prints only the lines of this program.
  const quiet = Logger.layer([])
  await Effect.runPromise(Effect.provide(main, Layer.provideMerge(Store, Layer.merge(BreakerPolicy.layer({}), quiet))))
}
