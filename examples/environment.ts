/**
 * The environment chooses the store and the policies, so that one program runs with circuits in memory on a laptop, and with shared
 * circuits in production:
 *
 *     node --conditions=@effect-fuse/source examples/environment.ts
 *     CIRCUIT_BREAKER_STORE=redis REDIS_URL=redis://localhost:6379 CIRCUIT_BREAKER_COOLDOWN=10s node ... examples/environment.ts
 */
import { Effect, Layer, Logger, pipe } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker } from "effect-fuse"
import * as RedisStore from "effect-fuse/RedisStore"

// Other stores get their own names here, such as `database: SqlStore.layer().pipe(Layer.provide(PgLive))`.
const Circuits = BreakerStore.layerConfig({ redis: RedisStore.layerConfig({ prefix: "shop" }) }).pipe(
  Layer.provideMerge(BreakerPolicy.layerConfig())
)

const program = Effect.gen(function* () {
  const call = pipe(Effect.fail("connection refused"), CircuitBreaker.protect("payments"))
  for (let i = 0; i < 5; i++) yield* Effect.ignore(call)
  const { scope, state } = yield* CircuitBreaker.inspect("payments")
  console.log(`payments is ${state} (${scope})`)
})

const main = Effect.catch(Effect.provide(program, Circuits), (error) =>
  // "REDIS_PORT: expected a port from 1 to 65535, got ..."
  Effect.sync(() => console.error(error.message))
)
await Effect.runPromise(Effect.provide(main, Logger.layer([])))
