/** Runs code for Effect's own circuit breaker on these circuits. They can be inspected and controlled as all others. */
import { Effect, Layer, Logger } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { CircuitBreaker as Effects } from "effect/persistence"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import * as EffectCircuitBreaker from "effect-fuse/EffectCircuitBreaker"

const down = HttpClient.make((request) =>
  Effect.succeed(HttpClientResponse.fromWeb(request, new Response(null, { status: 503 })))
)

const program = Effect.gen(function* () {
  // The existing code, with Effect's service and its client.
  const client = HttpClient.withCircuitBreaker(down, { breaker: yield* Effects.CircuitBreaker, key: "api" })
  for (let i = 0; i < 3; i++) {
    const said = Effect.map(client.get("http://api.example/items"), ({ status }) => `answered ${status}`)
    console.log(yield* Effect.catch(said, ({ message }) => Effect.succeed(message)))
  }
  const [circuit] = yield* CircuitBreaker.list
  console.log(`${circuit?.circuit} ${circuit?.key}: ${circuit?.state}, ${circuit?.totals.calls} calls`)
})

const Breakers = EffectCircuitBreaker.layer("http").pipe(
  Layer.provideMerge(BreakerStore.layerMemory),
  Layer.provideMerge(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2) } }))
)
await Effect.runPromise(program.pipe(Effect.provide(Breakers), Effect.provide(Logger.layer([]))))
