/**
 * Circuits in a Redis with Sentinel, with node-redis' sentinel client as Effect's Redis service. The client asks the sentinels which server
 * is the master, and moves to the new one after a failover. `layerConnect` replaces the client if it does not.
 *
 * Give it the sentinels and the name of the master: REDIS_SENTINELS="127.0.0.1:26379,127.0.0.1:26380" REDIS_MASTER=mymaster.
 */
import { Deferred, Effect, Layer, Logger } from "effect"
import { Redis } from "effect/persistence"
import { BreakerPolicy, CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import { createSentinel } from "redis"

const failed = (cause: unknown) => new Redis.RedisError({ cause })

/** Effect's Redis service on the master that sentinels name. */
export const layer = (
  name: string,
  sentinels: ReadonlyArray<{ readonly host: string; readonly port: number }>
): Layer.Layer<Redis.Redis, Redis.RedisError> =>
  Layer.effect(
    Redis.Redis,
    Effect.gen(function* () {
      const sentinel = yield* Effect.acquireRelease(
        Effect.sync(
          () =>
            createSentinel({
              name,
              sentinelRootNodes: [...sentinels],
              // Password and TLS of the servers go here. Those of the sentinels go into `sentinelClientOptions`.
              nodeClientOptions: { disableOfflineQueue: true, pingInterval: 10_000 },
              scanInterval: 1_000
            }).on("error", () => {}) // commands fail with this error
        ),
        (sentinel) => Effect.sync(() => void sentinel.destroy().catch(() => {}))
      )
      yield* Effect.tryPromise({ try: () => sentinel.connect(), catch: failed })
      return yield* Redis.make({
        send: <A>(command: string, ...args: ReadonlyArray<string>) =>
          Effect.tryPromise({
            try: () => sentinel.sendCommand(false, [command, ...args]) as Promise<A>,
            catch: failed
          }),
        connect: Effect.fail(failed(new Error("a store needs no connection for itself"))),
        subscribe: (channel, onMessage) =>
          Effect.gen(function* () {
            const hear = (message: string | Buffer, channel: string | Buffer) =>
              onMessage({ channel: String(channel), message: String(message) })
            yield* Effect.acquireRelease(
              Effect.tryPromise({ try: () => sentinel.subscribe(channel, hear), catch: failed }),
              () => Effect.sync(() => void sentinel.unsubscribe(channel, hear).catch(() => {}))
            )
            return Deferred.await(yield* Deferred.make<void, Redis.RedisError>())
          })
      })
    })
  )

const { REDIS_MASTER: master = "mymaster", REDIS_SENTINELS: addresses } = process.env
if (import.meta.main && addresses !== undefined) {
  const sentinels = addresses.split(",").map((address) => {
    const { hostname, port } = new URL(`redis://${address}`)
    return { host: hostname, port: Number(port) }
  })
  const Store = RedisStore.layerConnect(layer(master, sentinels), { prefix: "shop", process: "checkout" })
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
