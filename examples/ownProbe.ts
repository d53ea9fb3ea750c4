/** A custom health check, so that no user's call is the probe. The first success closes the circuit. */
import { Effect, Logger, pipe } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

let up = false
let asked = 0
let checks = 0

/** The check uses the same path as calls. A page that always answers would close a circuit that should be open. */
const select = Effect.suspend(() => (up ? Effect.succeed(1) : Effect.fail("no connection")))

const policies = BreakerPolicy.layer({
  breakers: {
    database: {
      trip: Trip.consecutive(2),
      cooldown: "10 minutes", // long, because the check closes the circuit earlier
      probe: {
        check: Effect.andThen(
          Effect.sync(() => checks++),
          select
        ),
        schedule: "5 seconds"
      }
    }
  }
})

const query = pipe(
  Effect.andThen(
    Effect.sync(() => asked++),
    select
  ),
  CircuitBreaker.protect("database"),
  Effect.as("a row"),
  Effect.catch((error) => Effect.succeed(typeof error === "string" ? error : "not asked"))
)

const program = Effect.gen(function* () {
  const say = Effect.map(Effect.zip(query, CircuitBreaker.state("database")), (both) => console.log(both.join(", ")))
  yield* say
  yield* say
  yield* say
  yield* TestClock.adjust("20 seconds")
  console.log(`${checks} checks, and ${asked} queries were made`)
  up = true
  yield* TestClock.adjust("5 seconds")
  console.log(`the next check closes it: ${yield* CircuitBreaker.state("database")}`)
  yield* say
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(policies),
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
