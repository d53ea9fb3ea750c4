import { Clock, Effect, Layer, Schema } from "effect"
import { Activity, Workflow, type WorkflowEngine } from "effect/workflow"
import { CircuitOpen } from "effect-fuse"

/** A workflow. The payload identifies an execution. */
export const Order = Workflow.make("Order", {
  payload: { id: Schema.String },
  idempotencyKey: ({ id }) => id,
  success: Schema.String,
  error: Schema.Union([CircuitOpen.CircuitOpen, Schema.String])
})

type OrderError = typeof Order.errorSchema.Type

/** The implementation of the workflow, and the number of runs that have begun. */
export const defined = <E extends OrderError, R>(body: Effect.Effect<string, E, R>, runs = { count: 0 }) => ({
  runs,
  layer: Order.toLayer(() =>
    Effect.suspend(() => {
      runs.count++
      return body
    })
  )
})

/** Registers the implementation of the workflow. Returns the number of runs that have begun. */
export const define = <E extends OrderError, R>(
  body: Effect.Effect<string, E, R | WorkflowEngine.WorkflowInstance>
) => {
  const { layer, runs } = defined(body)
  return Effect.as(Layer.build(layer), runs)
}

/** An activity that records the start and the attempt of each call. `answer` is its result. */
export const recorded = <E extends OrderError = never, R = never>(
  answer: Effect.Effect<string, E, R> = Effect.succeed("charged")
) => {
  const calls: Array<{ readonly at: number; readonly attempt: number }> = []
  const activity = Activity.make({
    name: "charge",
    success: Schema.String,
    // The schemas of an activity do not need to include `CircuitOpen`.
    error: Schema.String as unknown as Schema.Codec<E, unknown>,
    execute: Effect.gen(function* () {
      calls.push({ at: yield* Clock.currentTimeMillis, attempt: yield* Activity.CurrentAttempt })
      return yield* answer
    })
  })
  return { activity, calls }
}
