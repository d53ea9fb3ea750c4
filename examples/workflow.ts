/** A workflow calls a payment provider that is down. The workflow waits, keeps its attempts, and continues when the provider works. */
import { Clock, Effect, Fiber, Layer, Logger, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Activity, Workflow, WorkflowEngine } from "effect/workflow"
import { BreakerPolicy, BreakerStore, CircuitOpen, Trip } from "effect-fuse"
import { ActivityBreaker } from "effect-fuse/workflow"

const Order = Workflow.make("Order", {
  payload: { id: Schema.String },
  idempotencyKey: ({ id }) => id,
  success: Schema.String,
  error: Schema.Union([CircuitOpen.CircuitOpen, Schema.String])
})

const log = (what: string) =>
  Effect.map(Clock.currentTimeMillis, (now) => console.log(`${String(Math.floor(now / 1000)).padStart(2)} s  ${what}`))

let down = true
const charge = (id: string) =>
  Activity.make({
    name: "charge",
    success: Schema.String,
    error: Schema.String,
    execute: Effect.gen(function* () {
      yield* log(`charges ${id}, attempt ${yield* Activity.CurrentAttempt}`)
      return down ? yield* Effect.fail("no connection") : `charged ${id}`
    })
  })

const Orders = Order.toLayer(({ id }) =>
  Effect.andThen(
    log(`runs ${id}`),
    charge(id).pipe(ActivityBreaker.protect("payments", { jitter: 0 }), Activity.retry({ times: 2 }))
  )
)

const program = Effect.gen(function* () {
  // The first attempt opens the circuit. The second attempt waits for 30 seconds, and fails. The third attempt waits again.
  yield* Order.execute({ id: "17" }, { discard: true })
  yield* TestClock.adjust("40 seconds")
  yield* log("the provider is back")
  down = false
  const order = yield* Effect.forkChild(Order.execute({ id: "17" }))
  yield* TestClock.adjust("30 seconds")
  yield* log(yield* Fiber.join(order))
})

const services = Layer.provideMerge(Orders, WorkflowEngine.layerMemory).pipe(
  Layer.provideMerge(BreakerStore.layerMemory),
  Layer.provideMerge(BreakerPolicy.layer({ default: { trip: Trip.consecutive(1), cooldown: "30 seconds" } })),
  Layer.provideMerge(Layer.merge(TestClock.layer(), Logger.layer([])))
)
await Effect.runPromise(Effect.provide(program, services))
