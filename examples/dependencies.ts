/** Circuits with dependencies. While the circuit of the database is open, the circuits that depend on it reject calls, and name it. */
import { Duration, Effect, Logger, pipe } from "effect"
import { TestClock } from "effect/testing"
import { BreakerHealth, BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { Dependency } from "effect-fuse/testing"

const policies = BreakerPolicy.layer({
  default: { trip: Trip.consecutive(2), cooldown: "10 seconds" },
  breakers: {
    orders: { dependsOn: ["database"] },
    checkout: { dependsOn: ["orders", "bank"] } // and through the orders on the database
  }
})

const program = Effect.gen(function* () {
  const database = yield* Dependency.make({ answer: "rows", error: "no connection" })
  const query = pipe(database.call, CircuitBreaker.protect("database"))
  const orders = pipe(query, CircuitBreaker.protect("orders"))
  const bank = pipe(Effect.succeed("paid"), CircuitBreaker.protect("bank"))
  const checkout = pipe(Effect.andThen(orders, bank), CircuitBreaker.protect("checkout"))

  const say = (name: string, call: Effect.Effect<string, unknown, BreakerStore.BreakerStore>) =>
    Effect.match(call, { onFailure: String, onSuccess: (answer) => answer }).pipe(
      Effect.map((answer) => console.log(`${name}: ${answer}`))
    )

  yield* say("checkout", checkout)
  yield* database.fail
  yield* Effect.repeat(Effect.ignore(query), { times: 1 })
  yield* say("checkout", checkout)
  yield* say("orders", orders)
  yield* say("bank", bank)

  const { circuits, healthy, total } = yield* BreakerHealth.check
  console.log(`${healthy} of ${total} are healthy`)
  for (const { blockedBy, circuit, retryAfter, state } of circuits) {
    if (blockedBy !== undefined)
      console.log(`${circuit} is ${state}, and waits ${Duration.format(retryAfter)} for the ${blockedBy}`)
  }

  yield* database.recover
  yield* TestClock.adjust("10 seconds")
  yield* say("checkout", checkout)
  console.log(`database: ${yield* CircuitBreaker.state("database")}`)
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(policies),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
