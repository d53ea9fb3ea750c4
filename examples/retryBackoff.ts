/** A retry with exponential backoff and jitter. An open circuit ends the retry, or the retry waits for it with `waitForCircuit`. */
import { Clock, Effect, Fiber, Logger, pipe, Random } from "effect"
import { TestClock } from "effect/testing"
import { Backoff, BreakerStore, CircuitBreaker, Resilience, Trip } from "effect-fuse"

// About 100, 200, 400 ... milliseconds, each up to a quarter shorter or longer.
const schedule = Backoff.exponential({ min: "100 millis", max: "5 seconds", jitter: 0.25 })

let down = true
const times: Array<number> = []
const call = Effect.flatMap(Clock.currentTimeMillis, (now) => {
  times.push(now)
  return down ? Effect.fail("down") : Effect.succeed("hello")
})
const guarded = pipe(
  call,
  CircuitBreaker.protect("api", { policy: { trip: Trip.consecutive(4), cooldown: "30 seconds" } })
)

const said = Effect.catch((error: { readonly _tag: string } | string) =>
  Effect.succeed(typeof error === "string" ? error : error._tag)
)
const impatient = said(Resilience.retry({ times: 10, schedule })(guarded))
const patient = said(Resilience.retry({ times: 10, schedule, waitForCircuit: "1 minute" })(guarded))

const program = Effect.gen(function* () {
  const first = yield* Effect.forkChild(impatient)
  yield* TestClock.adjust("10 seconds")
  console.log(yield* Fiber.join(first))
  const waits = times.slice(1).map((time, i) => time - (times[i] ?? 0))
  const within = waits.every((wait, i) => wait >= 75 * 2 ** i && wait <= 125 * 2 ** i)
  console.log(
    `${times.length} of 11 attempts were made; the waits were ${within ? "about 100, 200 and 400 ms" : waits}`
  )

  down = false
  const second = yield* Effect.forkChild(patient)
  yield* TestClock.adjust("30 seconds")
  console.log(yield* Fiber.join(second))
  console.log(`${times.length - 4} attempt was made, when the circuit let it through`)
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([])),
    Random.withSeed("retry")
  )
)
