import { it } from "@effect/vitest"
import { Effect, Option, type Scope } from "effect"
import { WorkflowEngine } from "effect/workflow"
import { BreakerPolicy, BreakerStore } from "effect-fuse"
import { quick, start } from "./verbs.ts"
import { Order } from "./workflows.ts"

type Services = BreakerStore.BreakerStore | WorkflowEngine.WorkflowEngine | Scope.Scope

/** A test with an engine and a store in memory. */
export const scenario = <E>(
  name: string,
  body: () => Generator<Effect.Effect<unknown, E, Services>, unknown, never>,
  policy: BreakerPolicy.Input = quick
) =>
  it.effect(name, () =>
    Effect.gen(body).pipe(
      Effect.provide(WorkflowEngine.layerMemory),
      Effect.provide(BreakerStore.layerMemory),
      Effect.provide(BreakerPolicy.layer({ default: policy }))
    )
  )

export const executionId = Order.executionId({ id: "1" })
const poll = Effect.flatMap(executionId, (id) => Order.poll(id))

/** Lets the fibers run until they wait. Web Crypto computes the ids of executions asynchronously, so `Effect.yieldNow` is not enough. */
const settled = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** Begins an execution. Returns when the execution waits. The fiber ends with the exit of the execution. */
export const begin = (id = "1") =>
  Effect.gen(function* () {
    yield* Order.execute({ id }, { discard: true })
    yield* settled
    const fiber = yield* start(Effect.exit(Order.execute({ id })))
    yield* settled
    return fiber
  })

/** The result of the execution so far: `Suspended`, `Complete`, or `Running`. */
export const progress = Effect.map(poll, (result) => (Option.isSome(result) ? result.value._tag : "Running"))
