/** Two circuits write metrics for Prometheus. One circuit opens, and adds attributes to the span of a rejected call. */
import { Effect, Layer, Logger } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { BreakerHealth, BreakerMetrics, BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

const works = Effect.succeed("ok").pipe(CircuitBreaker.protect("stock"))
const fails = Effect.ignore(Effect.fail("down").pipe(CircuitBreaker.protect("payments")))

const program = Effect.gen(function* () {
  yield* Effect.repeat(works, { times: 4 })
  yield* Effect.repeat(fails, { times: 2 }) // three calls: two fail and open the circuit

  const text = yield* PrometheusMetrics.format()
  const shown = /breaker_(calls|rejections|outages)_total\{name="payments"/
  for (const line of text.split("\n").filter((one) => shown.test(one))) console.log(line)

  const { healthy, total } = yield* BreakerHealth.check
  console.log(`${healthy} of ${total} circuits are healthy`)

  const span = yield* Effect.withSpan(Effect.andThen(fails, Effect.currentSpan), "checkout")
  for (const [name, value] of span.attributes) console.log(`${name}: ${value}`)
})

const services = Layer.mergeAll(
  Layer.provideMerge(BreakerMetrics.layer({ durations: false }), BreakerStore.layerMemory),
  BreakerPolicy.layer({ default: { trip: Trip.consecutive(2), cooldown: "1 minute" } }),
  Logger.layer([])
)
await Effect.runPromise(Effect.provide(program, services))
