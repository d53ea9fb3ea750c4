/** A queue consumer pauses while the circuit is open. It keeps its current message, and the other messages wait in the queue. */
import { Clock, Effect, Fiber, Logger, pipe, Queue, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { BreakerStore, CircuitBreaker, Resilience, Trip } from "effect-fuse"

let down = false
let reached = 0
const send = (message: string) =>
  Effect.suspend(() => {
    reached++
    return down ? Effect.fail("no connection") : Effect.succeed(`sent ${message}`)
  })

const say = (words: string) =>
  Effect.map(Clock.currentTimeMillis, (now) => console.log(`${String(now / 1_000).padStart(2)} s  ${words}`))

/** Retries each message until it is sent. Waiting for the circuit does not count as an attempt. */
const consume = (queue: Queue.Queue<string>) =>
  Effect.flatMap(Queue.take(queue), (message) =>
    pipe(
      send(message),
      CircuitBreaker.protect("smtp", { policy: { trip: Trip.consecutive(2), cooldown: "30 seconds" } }),
      Resilience.retry({ times: 5, schedule: Schedule.spaced("1 second"), waitForCircuit: "1 hour" }),
      Effect.flatMap(say),
      Effect.catch((error) => say(`gave up on ${message}: ${error}`)) // in production: move it to the dead letters
    )
  )

const program = Effect.gen(function* () {
  const queue = yield* Queue.bounded<string>(100)
  const consumer = yield* Effect.forkChild(Effect.forever(consume(queue)))
  yield* Queue.offerAll(queue, ["a", "b"])
  yield* TestClock.adjust("2 seconds")

  down = true
  yield* Queue.offerAll(queue, ["c", "d", "e"])
  yield* TestClock.adjust("10 seconds")
  yield* say(`${yield* CircuitBreaker.state("smtp")}, ${yield* Queue.size(queue)} are waiting`)
  down = false
  yield* TestClock.adjust("30 seconds")
  yield* Fiber.interrupt(consumer)
  yield* say(`${reached} calls for 5 messages`)
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(BreakerStore.layerMemory),
    Effect.provide(TestClock.layer()),
    Effect.provide(Logger.layer([]))
  )
)
