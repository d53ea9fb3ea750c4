/**
 * Circuit breakers for the activities of a workflow. While the circuit is open, the workflow is suspended. The activity does not use an
 * attempt for the wait.
 *
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { Activity, Workflow, WorkflowEngine } from "effect/workflow"
 * import { BreakerStore } from "effect-fuse"
 * import { ActivityBreaker } from "effect-fuse/workflow"
 *
 * const Order = Workflow.make("Order", {
 *   payload: { id: Schema.String },
 *   idempotencyKey: ({ id }) => id,
 *   success: Schema.String
 * })
 * const charge = (id: string) =>
 *   Activity.make({ name: "charge", success: Schema.String, execute: Effect.succeed(`charged ${id}`) })
 *
 * const Orders = Order.toLayer(({ id }) => charge(id).pipe(ActivityBreaker.protect("payments"), Effect.orDie))
 * const program = Order.execute({ id: "17" })
 * const done = program.pipe(
 *   Effect.provide(Layer.provideMerge(Orders, WorkflowEngine.layerMemory)),
 *   Effect.provide(BreakerStore.layerMemory)
 * )
 * await Effect.runPromise(done) // => "charged 17"
 * ```
 *
 * The engine stores a wait as the result of the activity and a durable clock, and suspends the workflow. After the wait, the engine resumes
 * the workflow, in this process or in another process, and the circuit decides again. A wait of at most 5 seconds stays in memory.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Activity from "effect/workflow/Activity"
import * as DurableClock from "effect/workflow/DurableClock"
import type { WorkflowEngine, WorkflowInstance } from "effect/workflow/WorkflowEngine"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import type { ProtectOptions } from "../breaker/CircuitBreaker.ts"
import { guard, locate, subjectFields, toSubject } from "../breaker/protect.ts"
import {
  type Decoded,
  decodeArgument,
  decodeOptions,
  endlessMillis,
  type FieldsOf,
  field,
  optional
} from "../core/fields.ts"
import type { AnyEffect } from "../engine/timeout.ts"
import { boundsFields, delayBounds } from "../resilience/delayBounds.ts"
import { inTurn, isKnown, type Patience, wasNotMade, whileRejected } from "../resilience/waiting.ts"
import { CircuitOpen } from "../shapes/CircuitOpen.ts"

/**
 * How long an activity waits while circuits reject it.
 *
 * @category options
 */
export interface Waits {
  /**
   * One attempt waits at most this long in total, including waits in memory. If the next wait would exceed this limit, or if the circuit
   * stays open for longer, the attempt fails with `CircuitOpen` at once. Default: no limit.
   */
  readonly maxWait?: Duration.Input | undefined
  /** The shortest single wait. Default: 1 second, or `maxDelay` if that is shorter. */
  readonly minDelay?: Duration.Input | undefined
  /** Before `jitter`, one wait is at most this long, even if the circuit stays open for longer. Default: 1 hour. */
  readonly maxDelay?: Duration.Input | undefined
  /**
   * Each wait gets a random extension of up to this fraction, from 0 to 1. The extension spreads the load of many workflows. Default: 0.2.
   */
  readonly jitter?: number | undefined
}

/**
 * Configures the circuit of an activity, and the waits while the circuit is open.
 *
 * @category options
 */
export interface Options<in A, in E, out R = never> extends ProtectOptions<A, E, R>, Waits {}

const waitFields = { ...boundsFields, maxWait: optional(endlessMillis) } satisfies FieldsOf<Waits>

const protectFields = { ...subjectFields, ...waitFields } satisfies FieldsOf<Options<never, never>>

// TypeScript does not know the types of the schemas here.
type AnyActivity = Activity.Activity<Schema.Top, Schema.Top, unknown>

const activityField = field("an Activity, before Activity.retry and other combinators", (input) =>
  // The check covers only the properties that no other effect has, so TypeScript does not narrow to the type.
  Predicate.hasProperty(input, "exitSchema") && Predicate.hasProperty(input, "execute") && Effect.isEffect(input)
    ? (input as unknown as AnyActivity)
    : undefined
)

/**
 * What the engine stores as the result of an activity that a circuit rejected: the circuit, the milliseconds that the attempt has waited so
 * far, the milliseconds until the next try, and whether the circuit belongs to the store of the runner.
 */
const Waiting = Schema.TaggedStruct("effect-fuse/Waiting", {
  circuit: Schema.String,
  key: Schema.optional(Schema.String),
  waited: Schema.Number,
  delay: Schema.Number,
  wasKnown: Schema.optional(Schema.Boolean)
})
type Waiting = typeof Waiting.Type

const isWaiting = (result: unknown): result is Waiting => Predicate.isTagged(result, Waiting.fields._tag.schema.literal)

/** A workflow stays in memory for waits of at most this length, because a stored wait would cost the engine more. */
const inMemoryMillis = 5_000

/** If a rejection has no known end, the first wait has this length. */
const unknownEndMillis = 60_000

interface Delays {
  readonly maxWait: number
  /**
   * The delay before the next try, or `undefined` to give up. A run reads all earlier waits of its workflow, so the
   * number of waits must stay small: a wait is at least an eighth of the time waited so far, up to `maxDelay`.
   */
  readonly next: (open: CircuitOpen, waited: number) => Effect.Effect<number | undefined>
}

const delaying = (operation: string, { maxWait = Infinity, ...bounds }: Decoded<typeof waitFields>): Delays => {
  const { apply } = delayBounds(operation, bounds, 3_600_000)
  return {
    maxWait,
    next: ({ retryAfter }, waited) => {
      const end = Duration.isFinite(retryAfter) ? Duration.toMillis(retryAfter) : undefined
      return Effect.map(apply(Math.max(end ?? unknownEndMillis, waited / 8)), (delay) =>
        waited + Math.max(delay, end ?? 0) > maxWait ? undefined : delay
      )
    }
  }
}

interface Attempts {
  readonly activity: AnyActivity
  /** The activity under its circuits. */
  readonly guarded: AnyEffect
  /** Runs before a try that follows a wait. */
  readonly returning: AnyEffect
  readonly delays: Delays
}

const waitingDurably = ({ activity, delays, guarded, returning }: Attempts): AnyEffect => {
  const { annotations, name } = activity
  // `Waiting` and `CircuitOpen` come first, because the schemas of the activity may accept any value. A result that the engine has stored
  // for the bare activity remains readable.
  const success = Schema.Union([Waiting, activity.successSchema])
  const error = Schema.Union([CircuitOpen, activity.errorSchema])

  const execute = (last: Waiting | undefined): AnyEffect =>
    Effect.suspend(() => {
      const before = last === undefined ? 0 : last.waited + last.delay
      const limit = Math.min(inMemoryMillis, delays.maxWait - before)
      const patience: Patience = { millis: inMemoryMillis }
      const call = Effect.suspend(() => {
        // `maxWait` does not limit the wait in the line. Activities continue in waves even if their last wait has used up `maxWait`.
        patience.millis -= inMemoryMillis - limit
        return whileRejected(guarded, patience)
      })
      const tried = last === undefined ? call : Effect.andThen(returning, Effect.andThen(inTurn(last, patience), call))
      return Effect.catch(tried as AnyEffect, (open) => {
        if (!wasNotMade(open)) return Effect.fail(open)
        const { circuit, key } = open
        const waited = before + limit - patience.millis
        return Effect.flatMap(delays.next(open, waited), (delay) =>
          delay === undefined
            ? Effect.fail(open)
            : Effect.map(isKnown(open), (wasKnown) =>
                Waiting.make({ circuit, ...(key === undefined ? {} : { key }), waited, delay, wasKnown })
              )
        )
      })
    })

  // The engine stores results by name and attempt, and clocks by name. Each wait therefore has its own names, and a replay finds them again.
  const tryAt = (wait: number, last?: Waiting): AnyEffect => {
    const tried = Activity.make({
      name: wait === 0 ? name : `${name}~${wait}`,
      success,
      error,
      annotations,
      execute: execute(last)
      // The type `AnyEffect` does not contain the services that an effect needs.
    }) as Effect.Effect<unknown, unknown, unknown> as AnyEffect
    return Effect.flatMap(tried, (result) => {
      if (!isWaiting(result)) return Effect.succeed(result)
      const slept = Effect.flatMap(Activity.CurrentAttempt, (attempt) =>
        DurableClock.sleep({ name: `${name}/${attempt}~${wait}`, duration: result.delay, inMemoryThreshold: 0 })
      )
      return Effect.andThen(slept, tryAt(wait + 1, result)) as AnyEffect
    })
  }
  return tryAt(0)
}

/**
 * Runs an activity under a circuit. If that circuit, or another circuit inside the activity, rejects a call, the activity waits durably for
 * the `retryAfter` of the rejection, and tries again. A wait is not an attempt, so `Activity.retry` counts only calls that were made.
 *
 * - The engine stores each wait, so a wait continues after a restart, in this process or in another process. If the circuit closes early,
 *   the wait does not end early.
 * - After a wait, the workflows of a process continue in waves, the oldest first: 4 at once, then twice as many every 100 milliseconds.
 *   While the circuit probes, they wait in memory, at most 5 seconds, and then durably again.
 * - If a rejection has no known end, the first wait is 1 minute. Each wait is at least an eighth of the time waited so far.
 * - The attempt fails with `CircuitOpen` if it would wait longer than `maxWait`, or if it was a probe and did not end within
 *   `probeTimeout`. The engine stores this error, and `Activity.retry` may retry it.
 *
 * If a workflow is interrupted or suspended, the circuit ignores its activity. Throws a `RangeError` that names the invalid option.
 *
 * @category combinators
 */
export const protect: {
  <S extends Schema.Constraint, E extends Schema.Constraint, R, R2 = never>(
    self: Activity.Activity<S, E, R>,
    name: string,
    options?: Options<S["Type"], E["Type"], R2>
  ): Effect.Effect<
    S["Type"],
    E["Type"] | CircuitOpen,
    S["DecodingServices"] | E["DecodingServices"] | R | R2 | BreakerStore | WorkflowEngine | WorkflowInstance
  >
  <A, E, R2 = never>(
    name: string,
    options?: Options<A, E, R2>
  ): <S extends Schema.Constraint & { readonly Type: A }, F extends Schema.Constraint & { readonly Type: E }, R>(
    self: Activity.Activity<S, F, R>
  ) => Effect.Effect<
    S["Type"],
    F["Type"] | CircuitOpen,
    S["DecodingServices"] | F["DecodingServices"] | R | R2 | BreakerStore | WorkflowEngine | WorkflowInstance
  >
} = dual(
  (args) => typeof args[0] !== "string",
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
  (self: unknown, name: string, options: Options<never, never> = {}): any => {
    const operation = "ActivityBreaker.protect"
    const activity = decodeArgument(operation, "self", activityField, self)
    const decoded = decodeOptions(operation, protectFields, options)
    const subject = toSubject(operation, name, decoded)
    return waitingDurably({
      activity,
      guarded: guard(activity.execute as AnyEffect, subject),
      // After a restart, the process may not have created the circuit yet.
      returning: Effect.withFiber((fiber) => Effect.sync(() => locate(fiber, subject))),
      delays: delaying(operation, decoded)
    })
  }
)

/**
 * Like {@link protect}, but without a circuit around the activity. Use this function if the calls inside the activity have circuits. If
 * such a circuit rejects a call, the activity waits durably. After the wait, the whole activity runs again, including its calls before the
 * rejection.
 *
 * @category combinators
 */
export const waitDurably: {
  <S extends Schema.Constraint, E extends Schema.Constraint, R>(
    self: Activity.Activity<S, E, R>,
    options?: Waits
  ): Effect.Effect<
    S["Type"],
    E["Type"] | CircuitOpen,
    S["DecodingServices"] | E["DecodingServices"] | R | WorkflowEngine | WorkflowInstance
  >
  (
    options?: Waits
  ): <S extends Schema.Constraint, E extends Schema.Constraint, R>(
    self: Activity.Activity<S, E, R>
  ) => Effect.Effect<
    S["Type"],
    E["Type"] | CircuitOpen,
    S["DecodingServices"] | E["DecodingServices"] | R | WorkflowEngine | WorkflowInstance
  >
} = dual(
  (args) => Effect.isEffect(args[0]),
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
  (self: unknown, options: Waits = {}): any => {
    const operation = "ActivityBreaker.waitDurably"
    const activity = decodeArgument(operation, "self", activityField, self)
    const decoded = decodeOptions(operation, waitFields, options)
    return waitingDurably({
      activity,
      guarded: activity.execute as AnyEffect,
      returning: Effect.void,
      delays: delaying(operation, decoded)
    })
  }
)
