/** Custom trips, registered by name so that a file can select them: by time of day, by weight, and stricter at each opening. */
import { Effect, Layer, Logger, pipe } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Outcome, Trip } from "effect-fuse"

const trips = [
  // At night, no operator watches, so two failures are enough.
  Trip.custom("byTimeOfDay", ({ streak, time }) => streak >= (new Date(time).getUTCHours() < 6 ? 2 : 4)),
  // A failure rate in which a failure of weight 2 counts twice.
  Trip.custom("heavy", ({ calls, weight }) => calls >= 4 && weight >= calls / 2, { over: 10 }),
  // Four failures, then three, then two: each opening of an outage needs fewer.
  Trip.custom("stricterEachTime", ({ openings, streak }) => streak >= Math.max(1, 4 - openings))
]

// The content of a configuration file.
const json = `{
  "night":   { "trip": { "_tag": "Custom", "name": "byTimeOfDay" } },
  "weights": { "trip": { "_tag": "Any", "trips": [{ "_tag": "Custom", "name": "heavy" }, { "_tag": "Consecutive", "failures": 9 }] } },
  "again":   { "trip": { "_tag": "Custom", "name": "stricterEachTime" }, "cooldown": "10 seconds" }
}`

/** Fails until the circuit opens. Returns the number of failures. */
const failuresUntilOpen = Effect.fnUntraced(function* (name: string, weight = 1) {
  const fails = pipe(Effect.fail("down"), CircuitBreaker.protect(name, { classify: () => Outcome.failure({ weight }) }))
  let failures = 0
  for (; (yield* CircuitBreaker.state(name)) !== "Open"; failures++) yield* Effect.ignore(fails)
  return failures
})

const program = Effect.gen(function* () {
  yield* TestClock.setTime(Date.UTC(2026, 0, 1, 3))
  console.log("at 3 in the morning:", yield* failuresUntilOpen("night"))
  yield* CircuitBreaker.reset("night")
  yield* TestClock.setTime(Date.UTC(2026, 0, 1, 12))
  console.log("at noon:", yield* failuresUntilOpen("night"))

  yield* Effect.repeat(pipe(Effect.void, CircuitBreaker.protect("weights")), { times: 5 })
  console.log("after six successes, failures of weight 2:", yield* failuresUntilOpen("weights", 2))

  for (let opening = 1; opening <= 3; opening++) {
    console.log(`opening ${opening}: ${yield* failuresUntilOpen("again")}`)
    yield* TestClock.adjust("10 seconds")
    yield* pipe(Effect.void, CircuitBreaker.protect("again")) // the probe closes it
  }

  // A mistyped name is reported before the program runs.
  const wrong = BreakerPolicy.layer({ trips, breakers: { a: { trip: { _tag: "Custom", name: "havey" } } } })
  console.log((yield* Effect.flip(Layer.build(wrong))).message)
})

await Effect.runPromise(
  program.pipe(
    Effect.scoped,
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(BreakerPolicy.layer({ trips, breakers: JSON.parse(json) })),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
