/** A primary and a secondary, each with a circuit. If the primary is down, the secondary is called. If both are down, a default is used. */
import { Effect, Logger, pipe } from "effect"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Resilience, Trip } from "effect-fuse"
import { Dependency } from "effect-fuse/testing"

const program = Effect.gen(function* () {
  const primary = yield* Dependency.make({ answer: "1.10, live", error: "primary down" })
  const secondary = yield* Dependency.make({ answer: "1.09, delayed", error: "secondary down" })

  const rate = pipe(
    Resilience.cascade([
      { name: "rates-primary", call: Effect.timeout(primary.call, "1 second") },
      { name: "rates-secondary", call: secondary.call }
    ]),
    Resilience.fallback(Effect.succeed("1.00, from yesterday"))
  )
  const ask = (when: string) => Effect.map(rate, (answer) => console.log(`${when}: ${answer}`))

  yield* ask("all is well")
  yield* primary.fail
  for (let i = 0; i < 4; i++) yield* ask("the primary is down")
  console.log(`the primary was called ${(yield* primary.calls) - 1} times, then rejected`)
  yield* secondary.fail
  for (let i = 0; i < 2; i++) yield* ask("both are down")

  // No switch back is needed: the first call after the cooldown is a probe, and the primary answers it.
  yield* primary.recover
  yield* TestClock.adjust("30 seconds")
  yield* ask("the primary is back")
  console.log(`${yield* CircuitBreaker.state("rates-primary")}; ${yield* CircuitBreaker.state("rates-secondary")}`)
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(BreakerPolicy.layer({ default: { trip: Trip.consecutive(2) } })),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
