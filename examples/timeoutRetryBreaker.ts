/** Timeout inside breaker inside retry, compared with two wrong orders, for a dependency that hangs. */
import { Effect, Fiber, Logger, pipe } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, Resilience, Trip } from "effect-fuse"

const policy = { trip: Trip.consecutive(3) }
let started = 0
const hangs = Effect.suspend(() => {
  started++
  return Effect.never
})

const timeout = Resilience.timeout("1 second")
const retry = Resilience.retry({ times: 4 })
const breaker = (name: string) => Resilience.breaker(name, { policy })

const orders = {
  // Each attempt that times out is a failure. The third opens the circuit, which ends the retry.
  right: pipe(hangs, timeout, breaker("right"), retry),
  // The breaker sees only interruptions, which it ignores, so it never opens.
  "timeout outside": pipe(hangs, breaker("timeout outside"), timeout, retry),
  // The breaker sees one failure for five attempts, and does not stop them.
  "retry inside": pipe(hangs, timeout, retry, breaker("retry inside"))
}

const program = Effect.gen(function* () {
  for (const [name, call] of Object.entries(orders)) {
    started = 0
    const fiber = yield* Effect.forkChild(Effect.flip(call))
    yield* TestClock.adjust("1 minute")
    const error = yield* Fiber.join(fiber)
    const { state, totals } = yield* CircuitBreaker.inspect(name)
    const seen = `${totals.failures} failed, ${totals.ignored} ignored`
    console.log(`${name}: ${started} attempts, ended by ${error._tag}; its breaker saw ${seen}: ${state}`)
  }
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
