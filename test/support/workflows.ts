import { Clock, Effect, Layer, Schema } from "effect"
import { Activity, Workflow, type WorkflowEngine } from "effect/workflow"
import { CircuitOpen } from "effect-fuse"

/** The payload identifies an execution of this workflow. */
export const Order = Workflow.make("Order", {
  payload: { id: Schema.String },
  idempotencyKey: ({ id }) => id,
  success: Schema.String,
  error: Schema.Union([CircuitOpen.CircuitOpen, Schema.String])
})

type OrderError = typeof Order.errorSchema.Type

/** Makes a layer that registers the workflow with this body. Counts the started runs. */
export const defined = <E extends OrderError, R>(body: Effect.Effect<string, E, R>, runs = { count: 0 }) => ({
  runs,
  layer: Order.toLayer(() =>
    Effect.suspend(() => {
      runs.count++
      return body
    })
  )
})

/** Registers the workflow with this body. Returns a counter of the started runs. */
export const define = <E extends OrderError, R>(
  body: Effect.Effect<string, E, R | WorkflowEngine.WorkflowInstance>
) => {
  const { layer, runs } = defined(body)
  return Effect.as(Layer.build(layer), runs)
}

/** Makes an activity. Each call records its start time and its attempt, and then runs `answer`. */
export const recorded = <E extends OrderError = never, R = never>(
  answer: Effect.Effect<string, E, R> = Effect.succeed("charged")
) => {
  const calls: Array<{ readonly at: number; readonly attempt: number }> = []
  const activity = Activity.make({
    name: "charge",
    success: Schema.String,
    // `E` can contain `CircuitOpen`: `ActivityBreaker` adds that error to this schema.
    error: Schema.String as unknown as Schema.Codec<E, unknown>,
    execute: Effect.gen(function* () {
      calls.push({ at: yield* Clock.currentTimeMillis, attempt: yield* Activity.CurrentAttempt })
      return yield* answer
    })
  })
  return { activity, calls }
}
