/** The health of many services: how many are healthy, why the others are not, and whether a critical service needs an engineer now. */
import { Effect, Logger } from "effect"
import { BreakerHealth, BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"

const down = new Set(["mail", "avatars"])
const names = ["orders", "bank", "stock", "search", "mail", "avatars", "prices", "reviews"]
const call = (name: string) =>
  Effect.suspend(() => (down.has(name) ? Effect.fail("down") : Effect.void)).pipe(CircuitBreaker.protect(name))

const policies = BreakerPolicy.layer({
  default: { trip: Trip.failures({ atLeast: 2, of: 10 }) },
  breakers: { reviews: { dependsOn: ["search"] } }
})

const program = Effect.gen(function* () {
  yield* Effect.forEach([...names, ...names], (name) => Effect.ignore(call(name)))
  yield* CircuitBreaker.isolate("search", { reason: "a new index" })

  const { circuits, healthy, total } = yield* BreakerHealth.check
  console.log(`${healthy} of ${total} are healthy`)
  for (const { blockedBy, cause, circuit, state } of circuits) {
    if (blockedBy !== undefined) console.log(`${circuit}: waits for ${blockedBy}`)
    else if (cause !== undefined) console.log(`${circuit}: ${state}, ${cause.detail}`)
  }
  const critical = yield* BreakerHealth.checkOnly(["orders", "bank"])
  console.log(critical.unhealthy === 0 ? "no alarm" : "wake the engineer on call")
})

await Effect.runPromise(
  program.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(policies), Effect.provide(Logger.layer([])))
)
