import { Clock, Effect, Layer, Schema } from "effect"
import { Activity, Workflow, type WorkflowEngine } from "effect/workflow"
import { CircuitOpen } from "effect-fuse"

/** A workflow whose executions are told apart by their payload. */
export const Order = Workflow.make("Order", {
  payload: { id: Schema.String },
  idempotencyKey: ({ id }) => id,
  success: Schema.String,
  error: Schema.Union([CircuitOpen.CircuitOpen, Schema.String])
})

type OrderError = typeof Order.errorSchema.Type

/** What the workflow does, and how often a run of it began. */
export const defined = <E extends OrderError, R>(body: Effect.Effect<string, E, R>, runs = { count: 0 }) => ({
  runs,
  layer: Order.toLayer(() =>
    Effect.suspend(() => {
      runs.count++
      return body
    })
  )
})

/** Registers what the workflow does. Returns how often a run of it began. */
export const define = <E extends OrderError, R>(
  body: Effect.Effect<string, E, R | WorkflowEngine.WorkflowInstance>
) => {
  const { layer, runs } = defined(body)
  return Effect.as(Layer.build(layer), runs)
}

/** An activity that records its calls: when each began, and its attempt. `answer` is how it ends. */
export const recorded = <E extends OrderError = never, R = never>(
  answer: Effect.Effect<string, E, R> = Effect.succeed("charged")
) => {
  const calls: Array<{ readonly at: number; readonly attempt: number }> = []
  const activity = Activity.make({
    name: "charge",
    success: Schema.String,
    // An activity that a circuit rejects needs no schema for that.
    error: Schema.String as unknown as Schema.Codec<E, unknown>,
    execute: Effect.gen(function* () {
      calls.push({ at: yield* Clock.currentTimeMillis, attempt: yield* Activity.CurrentAttempt })
      return yield* answer
    })
  })
  return { activity, calls }
}
