/** Rules of one's own, registered by name so that a file can choose them: by the time of day, by weight, stricter each time. */
import { Effect, Layer, Logger, pipe } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Outcome, Trip } from "effect-fuse"

const trips = [
  // At night nobody is there to look: two failures are enough.
  Trip.custom("byTimeOfDay", ({ streak, time }) => streak >= (new Date(time).getUTCHours() < 6 ? 2 : 4)),
  // A rate in which a failure that weighs 2 counts as two.
  Trip.custom("heavy", ({ calls, weight }) => calls >= 4 && weight >= calls / 2, { over: 10 }),
  // Four failures, then three, then two: what keeps on failing gets less patience.
  Trip.custom("stricterEachTime", ({ openings, streak }) => streak >= Math.max(1, 4 - openings))
]

// As it may stand in a file.
const json = `{
  "night":   { "trip": { "_tag": "Custom", "name": "byTimeOfDay" } },
  "weights": { "trip": { "_tag": "Any", "trips": [{ "_tag": "Custom", "name": "heavy" }, { "_tag": "Consecutive", "failures": 9 }] } },
  "again":   { "trip": { "_tag": "Custom", "name": "stricterEachTime" }, "cooldown": "10 seconds" }
}`

/** Fails until it opens, and says after how many failures that was. */
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

  // A name that is mistyped is found before anything runs.
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
