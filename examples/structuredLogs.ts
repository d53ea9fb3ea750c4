/** Logs transitions as lines of JSON with Effect's own loggers. The details are fields, so that no text has to be parsed. */
import { Effect, Logger, pipe, References } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { Dependency } from "effect-fuse/testing"

// `Logger.consoleJson` has fixed fields. This logger has the fields that the collector expects.
const json = Logger.map(Logger.formatStructured, ({ annotations, level, message, timestamp }) =>
  console.log(JSON.stringify({ time: timestamp.slice(11, 19), level, message, ...annotations }))
)

const program = Effect.gen(function* () {
  const bank = yield* Dependency.make({ answer: "paid", error: "down", steps: ["fail", "fail"] })
  const pay = pipe(
    bank.call,
    CircuitBreaker.protect("bank", { policy: { trip: Trip.consecutive(2), cooldown: "20 seconds" } }),
    Effect.ignore
  )
  yield* Effect.repeat(pay, { times: 1 })
  yield* TestClock.adjust("20 seconds")
  yield* pay
  yield* CircuitBreaker.isolate("bank", { reason: "maintenance", actor: "ann", for: "1 hour" })
  yield* CircuitBreaker.release("bank", { actor: "ann" })
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(Logger.layer([json])),
    Effect.provideService(References.MinimumLogLevel, "Debug"), // probes are logged at Debug
    Effect.provide(TestClock.layer())
  )
)
