import { Effect, Logger, Option, Schedule } from "effect"
import { CircuitBreaker } from "effect-fuse"
import { ActivityBreaker } from "effect-fuse/workflow"
import { runner, waits } from "./workflowRunner.ts"
import { defined, Order, recorded } from "./workflows.ts"

/** This program runs a workflow until the workflow waits for a circuit. Then it prints "waits", and waits until a test kills it. */
const [, , url = ""] = process.argv

const program = Effect.gen(function* () {
  const { layer } = defined(ActivityBreaker.protect(recorded().activity, "api", waits))
  const { run } = yield* runner(url, layer)
  yield* run(CircuitBreaker.isolate("api"))
  const id = yield* run(Order.execute({ id: "1" }, { discard: true }))
  yield* Effect.repeat(run(Order.poll(id)), { until: Option.isSome, schedule: Schedule.spaced("20 millis") })
  process.stdout.write("waits\n")
  return yield* Effect.never
})

await Effect.runPromise(Effect.provide(Effect.scoped(program), Logger.layer([])))
