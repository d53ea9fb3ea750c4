/** A hedge outside a breaker, which starts a second copy of a slow call, and a rate limit inside a breaker. */
import { Effect, Fiber, Logger, pipe } from "effect"
import { RateLimiter } from "effect/persistence"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, Resilience } from "effect-fuse"

let copies = 0
/** Every first copy takes five seconds, and every second copy takes 50 milliseconds. */
const read = Effect.suspend(() => {
  const n = ++copies
  return Effect.delay(Effect.succeed(`copy ${n}`), n % 2 === 1 ? "5 seconds" : "50 millis")
})

// The hedge is outside, so each copy is a call of the circuit. The slower copy is interrupted, and does not count.
const hedged = pipe(
  read,
  CircuitBreaker.protect("replica"),
  Resilience.hedge({ after: "200 millis", budget: { name: "replica", share: 0.1, floor: 5 } })
)

// The limit is inside, so that rejected calls take no tokens. The circuit ignores the rejections of the limit.
const limited = pipe(
  Effect.succeed("sent"),
  Resilience.rateLimit(RateLimiter.RateLimiter, { key: "mail", limit: 3, window: "1 second" }),
  CircuitBreaker.protect("mail")
)

const program = Effect.gen(function* () {
  const answer = yield* Effect.forkChild(hedged)
  yield* TestClock.adjust("250 millis")
  console.log(`${yield* Fiber.join(answer)} answered after 250 ms`)
  const replica = (yield* CircuitBreaker.inspect("replica")).totals
  console.log(`the circuit saw ${replica.successes} success, ${replica.ignored} ignored`)

  const sent = yield* Effect.forEach(Array.from({ length: 5 }), () => Effect.result(limited))
  console.log(sent.map((one) => (one._tag === "Success" ? one.success : one.failure._tag)).join(", "))
  const { state, totals } = yield* CircuitBreaker.inspect("mail")
  console.log(
    `the circuit is ${state}: ${totals.successes} successes, ${totals.ignored} ignored, ${totals.failures} failures`
  )
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(RateLimiter.layer),
    Effect.provide(RateLimiter.layerStoreMemory),
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
