/** Workers of a persisted queue. While the mail server is down, no worker takes a job, and no job loses an attempt. */
import { Effect, Fiber, Layer, Logger, Schema } from "effect"
import { PersistedQueue } from "effect/persistence"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Trip } from "effect-fuse"
import { JobBreaker } from "effect-fuse/queue"

let down = false
const send = (mail: string) => (down ? Effect.fail("no connection") : Effect.succeed(`sent ${mail}`))

const program = Effect.gen(function* () {
  const mails = yield* PersistedQueue.make({ name: "mails", schema: Schema.String })
  const worker = JobBreaker.take(mails, "smtp", (mail, { attempts }) =>
    Effect.map(send(mail), (said) => `${said}, attempt ${attempts}`)
  )

  yield* mails.offer("hello")
  console.log(yield* worker)

  // The server goes down, and the first job fails.
  down = true
  yield* mails.offer("news", { id: "news" })
  console.log(yield* Effect.flip(worker))
  console.log(yield* CircuitBreaker.state("smtp"))

  // The worker waits. It continues by itself when the cooldown is over and the server is back.
  yield* mails.offer("more news")
  const waiting = yield* Effect.forkChild(worker)
  yield* Effect.sleep("100 millis")
  console.log(`claimed meanwhile: ${waiting.pollUnsafe() === undefined ? "nothing" : "a job"}`)
  down = false
  console.log(yield* Fiber.join(waiting))
})

const services = Layer.mergeAll(
  BreakerStore.layerMemory,
  BreakerPolicy.layer({ breakers: { smtp: { trip: Trip.consecutive(1), cooldown: "500 millis" } } }),
  Layer.provide(PersistedQueue.layer, PersistedQueue.layerStoreMemory),
  Logger.layer([])
)
await Effect.runPromise(Effect.provide(program, services))
