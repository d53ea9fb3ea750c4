import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import { BreakerPolicy, CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"
import { type Replica, standsAt, trip, until, works } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisProxy } from "./support/redisProxy.ts"
import { client, redisServer } from "./support/redisServer.ts"
import { capture, type Line } from "./support/verbs.ts"

/** A process that connects by itself. */
const connecting = (url: string, options: RedisStore.Options = {}) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const end = Scope.close(scope, Exit.void)
    yield* Effect.addFinalizer(() => end)
    const store = RedisStore.layerConnect(client(url), { syncInterval: 200, ...options })
    const context = yield* Layer.buildWithScope(Layer.provideMerge(store, BreakerPolicy.layer({})), scope)
    const run: Replica["run"] = (effect) => Effect.provideContext(effect, context)
    return { run, end }
  })

describe("a program that connects by itself", () => {
  live(
    "starts while there is no Redis, is protected, and is one of a fleet from when there is one",
    Effect.gen(function* () {
      const server = yield* redisServer
      yield* server.kill
      const replicas = [yield* connecting(server.url), yield* connecting(server.url)] as const
      const [one] = replicas
      for (let i = 0; i < 5; i++) yield* Effect.ignore(one.run(CircuitBreaker.protect(Effect.fail("down"), "alone")))
      yield* standsAt([one], "Open (local)", { circuit: "alone" })
      yield* server.start
      yield* until(
        "what one says reaches the other",
        Effect.gen(function* () {
          yield* one.run(CircuitBreaker.isolate("all"))
          return (yield* replicas[1].run(CircuitBreaker.state("all"))) === "Isolated"
        })
      )
      for (const each of replicas) assert.strictEqual(yield* works(each), "ok")
      yield* trip(replicas)
    }),
    60_000
  )

  live(
    "knows what is open before it admits anything, where Redis is there",
    Effect.gen(function* () {
      const server = yield* redisServer
      const one = yield* connecting(server.url)
      yield* one.run(CircuitBreaker.isolate("api"))
      yield* standsAt([one], "Isolated (fleet)")
      const other = yield* connecting(server.url)
      yield* standsAt([other], "Isolated (fleet)")
    }),
    60_000
  )

  live(
    "starts and ends while Redis hangs",
    Effect.gen(function* () {
      const proxy = yield* redisProxy((yield* redisServer).port)
      yield* proxy.hang
      const one = yield* connecting(proxy.url)
      assert.strictEqual(yield* works(one), "ok")
      yield* one.end
    }),
    60_000
  )

  live(
    "is warned that an invalid URL will never connect, and is protected all the same",
    Effect.gen(function* () {
      const lines: Array<Line> = []
      const one = yield* capture(lines, connecting("localhost:6379"))
      yield* until(
        "told",
        Effect.sync(() => lines.length > 0)
      )
      assert.strictEqual(yield* works(one), "ok")
      assert.deepStrictEqual(
        lines.map(({ level, message }) => `${level}: ${message}`),
        [
          "Error: Redis cannot be used as it is configured, and each process decides alone: TypeError: Protocol - localhost: - is not a valid Redis protocol. Expected redis: or rediss:"
        ]
      )
    }),
    60_000
  )
})
