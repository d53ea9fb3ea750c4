/**
 * Queue workers under a circuit breaker: while its circuit is open, a job returns to its queue with a delay, and loses no attempt.
 *
 * ```ts
 * import { Duration, Effect, pipe } from "effect"
 * import { BreakerStore, CircuitBreaker } from "effect-fuse"
 * import { JobBreaker } from "effect-fuse/queue"
 *
 * const work = pipe(
 *   Effect.succeed("sent"),
 *   JobBreaker.protect("mail", {
 *     // Use your queue's operation: change the visibility, nack with a delay, set `run_at`.
 *     release: (delay) => Effect.succeed(`back in ${Math.round(Duration.toSeconds(delay))} s`),
 *     jitter: 0
 *   })
 * )
 * const program = Effect.gen(function* () {
 *   const first = yield* work
 *   yield* CircuitBreaker.isolate("mail", { for: "30 seconds" })
 *   return [first, yield* work]
 * })
 * await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory)) // => ["sent", "back in 30 s"]
 * ```
 *
 * A returned job runs again from its beginning, including the work that it did before an inner circuit rejected it. Jobs need to tolerate
 * that anyway in queues that deliver at least once.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import type * as PersistedQueue from "effect/persistence/PersistedQueue"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import type { ProtectOptions } from "../breaker/CircuitBreaker.ts"
import { keyOrFunction } from "../breaker/options.ts"
import { guard, type Subject, subjectFields, toSubject } from "../breaker/protect.ts"
import {
  type Decoded,
  decodeArgument,
  decodeOptions,
  type Field,
  type FieldsOf,
  field,
  functionField,
  optional,
  textOrEmpty
} from "../core/fields.ts"
import type { AnyEffect } from "../engine/timeout.ts"
import { boundsFields, delayBounds } from "../resilience/delayBounds.ts"
import { inLine, type Patience, untilItMayPass, untilPasses, waitMillis, wasNotMade } from "../resilience/waiting.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"

/**
 * The delay of a returned job: the circuit's `retryAfter`, within these bounds.
 *
 * @category options
 */
export interface Delays {
  /** The shortest delay. Default: 1 second, or `maxDelay` if that is shorter. */
  readonly minDelay?: Duration.Input | undefined
  /** The longest delay before `jitter`, however long the circuit stays open. Default: 5 minutes. */
  readonly maxDelay?: Duration.Input | undefined
  /** The maximum random extension, as a fraction of the delay from 0 to 1, so that jobs do not all return at once. Default: 0.2. */
  readonly jitter?: number | undefined
}

/**
 * Configures how a rejected job returns to its queue.
 *
 * @category options
 */
export interface HandBackOptions<out A, out E = never, out R = never> extends Delays {
  /**
   * Returns the job to its queue, which delivers it again after `delay`. The delay is always finite. The result of this effect becomes the
   * result of the job.
   */
  readonly release: (delay: Duration.Duration, rejection: CircuitOpen) => Effect.Effect<A, E, R>
}

/** Computes the delay of a returned job. `times` counts earlier returns, if known. Each earlier return doubles the delay. */
type DelayOf = (rejection: CircuitOpen, times?: number) => Effect.Effect<Duration.Duration>

const delaying = (operation: string, delays: Decoded<typeof boundsFields>): DelayOf => {
  const { apply, min } = delayBounds(operation, delays, 300_000)
  return ({ retryAfter }, times = 0) =>
    Effect.map(apply(Math.max(min * 2 ** times, Duration.toMillis(retryAfter))), Duration.millis)
}

type Release = (delay: Duration.Duration, rejection: CircuitOpen) => AnyEffect

const handBackFields = { ...boundsFields, release: functionField as Field<Release> }

const handingBack = (operation: string, { release, ...delays }: Decoded<typeof handBackFields>) => {
  const delayOf = delaying(operation, delays)
  return (self: AnyEffect): AnyEffect =>
    Effect.catch(self, (error) =>
      wasNotMade(error) ? Effect.flatMap(delayOf(error), (delay) => release(delay, error)) : Effect.fail(error)
    )
}

/**
 * Returns a job to its queue if a circuit inside the job rejects a call.
 *
 * If a probe times out, the job still fails with `CircuitOpen`, because the job has already started.
 *
 * @category combinators
 */
export const handBack: {
  <A, E, R, A2, E2, R2>(
    self: Effect.Effect<A, E, R>,
    options: HandBackOptions<A2, E2, R2>
  ): Effect.Effect<A | A2, E | E2, R | R2>
  <A2, E2, R2>(
    options: HandBackOptions<A2, E2, R2>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A | A2, E | E2, R | R2>
} = dual(
  2,
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
  (self: AnyEffect, options: HandBackOptions<unknown, unknown>): any =>
    handingBack("JobBreaker.handBack", decodeOptions("JobBreaker.handBack", handBackFields, options))(self)
)

/**
 * Configures the circuit of a job, and how to return the job to its queue.
 *
 * @category options
 */
export interface Options<in A, in E, out A2, out E2 = never, out R2 = never, out R3 = never>
  extends ProtectOptions<A, E, R3>,
    HandBackOptions<A2, E2, R2> {}

/**
 * Runs a job under a circuit, and returns it to its queue if that circuit, or another circuit inside the job, rejects it. See
 * {@link handBack}. Throws a `RangeError` that names the invalid option.
 *
 * @category combinators
 */
export const protect: {
  <A, E, R, A2, E2, R2, R3 = never>(
    self: Effect.Effect<A, E, R>,
    name: string,
    options: Options<A, E, A2, E2, R2, R3>
  ): Effect.Effect<A | A2, E | E2 | CircuitOpen, R | R2 | R3 | BreakerStore>
  <A, E, A2, E2, R2, R3 = never>(
    name: string,
    options: Options<A, E, A2, E2, R2, R3>
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A | A2, E | E2 | CircuitOpen, R | R2 | R3 | BreakerStore>
} = dual(
  (args) => Effect.isEffect(args[0]),
  // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
  (self: AnyEffect, name: string, options: Options<never, never, unknown, unknown, unknown>): any => {
    const operation = "JobBreaker.protect"
    const decoded = decodeOptions(operation, { ...subjectFields, ...handBackFields }, options)
    const handBack = handingBack(operation, decoded)
    return handBack(guard(self, toSubject(operation, name, decoded)))
  }
)

// ---- Effect's persisted queue ---------------------------------------------------------------------------------------

/**
 * Configures the circuits of the jobs of a queue, and the delays of returned jobs.
 *
 * @category options
 */
export interface TakeOptions<in Job, in A, in E, out R = never> extends Omit<ProtectOptions<A, E, R>, "key">, Delays {
  /** The key of the circuit: a string for all jobs, or a function of the job. Default: one circuit for all jobs. */
  readonly key?: string | ((job: Job) => string | undefined) | undefined
}

const takeFields = { ...subjectFields, ...boundsFields, key: optional(keyOrFunction) } satisfies FieldsOf<
  TakeOptions<never, never, never>
>

const queueField = field("a PersistedQueue", (input) =>
  typeof (input as Queue | null | undefined)?.take === "function" ? input : undefined
)

type Queue = PersistedQueue.PersistedQueue<unknown, unknown>
type JobHandler = (job: unknown, metadata: { readonly id: string; readonly attempts: number }) => AnyEffect

interface Taking {
  readonly of: Subject
  readonly delayOf: DelayOf
  readonly f: JobHandler
}

/**
 * One circuit for all jobs. No job is claimed while the circuit is open, and workers continue in waves after a close. If a circuit rejects a
 * claimed job, an interruption returns it to the queue, which does not count that as an attempt.
 */
const takeOne = (queue: Queue, { f, of }: Taking): AnyEffect => {
  const take = (patience: Patience): AnyEffect => {
    let rejected: CircuitOpen | undefined
    const job = queue.take((value, metadata) =>
      Effect.catch(
        guard(
          Effect.suspend(() => f(value, metadata)),
          of
        ),
        (error) => {
          if (!wasNotMade(error)) return Effect.fail(error)
          rejected = error
          return Effect.interrupt
        }
      )
    )
    return Effect.catchCause(job as AnyEffect, (cause) =>
      rejected !== undefined && Cause.hasInterruptsOnly(cause)
        ? Effect.andThen(inLine(rejected, waitMillis(rejected), patience), next(patience))
        : Effect.failCause(cause)
    )
  }
  const next = (patience: Patience): AnyEffect =>
    Effect.flatMap(untilPasses(of, patience) as Effect.Effect<void>, () => take(patience))
  // Each worker keeps its position in the waiting line of the circuit until it has run a job.
  return Effect.suspend(() => next({ millis: Infinity }))
}

const postponed = Symbol("postponed")

/** A job's id ends with the number of times that the job was offered again. */
const again = /~(\d+)$/

/**
 * The id for the next offer. If an interruption between the offer and the end of the claimed job leads to a second offer, both have the
 * same id, and the queue keeps one job.
 */
const nextId = (id: string): { readonly id: string; readonly times: number } => {
  const times = Number(again.exec(id)?.[1] ?? 0)
  return { id: `${id.replace(again, "")}~${times + 1}`, times }
}

/**
 * Takes jobs of different circuits. A worker must claim a job before it knows the job's circuit. A worker offers a rejected job again with
 * a delay, and completes the claimed copy, so that other jobs can run. If the job has already failed, or the offer fails, the worker gives
 * the job back unchanged, and the job keeps its attempts.
 */
const takeKeyed = (queue: Queue, { delayOf, f, of }: Taking, keyOf: (job: unknown) => unknown): AnyEffect => {
  const offerAgain = (value: unknown, id: string, open: CircuitOpen): AnyEffect => {
    const next = nextId(id)
    return Effect.flatMap(delayOf(open, next.times), (delay) =>
      Effect.as(queue.offer(value, { id: next.id, delay }) as AnyEffect, postponed)
    )
  }
  const taken = Effect.suspend(() => {
    let givenBack: CircuitOpen | undefined
    const giveBack = (open: CircuitOpen) =>
      Effect.suspend(() => {
        givenBack = open
        return Effect.interrupt
      })
    const job = queue.take((value, metadata) =>
      Effect.catch(
        Effect.suspend(() => {
          const key = decodeArgument("JobBreaker.take", "key", optional(textOrEmpty), keyOf(value))
          return guard(
            Effect.suspend(() => f(value, metadata)),
            { ...of, key }
          )
        }),
        (error) => {
          if (!wasNotMade(error)) return Effect.fail(error)
          if (metadata.attempts > 1) return giveBack(error)
          return Effect.catchCause(offerAgain(value, metadata.id, error), (cause) =>
            Cause.hasInterruptsOnly(cause) ? Effect.failCause(cause) : giveBack(error)
          )
        }
      )
    )
    return Effect.matchCauseEffect(job as AnyEffect, {
      onSuccess: (answer) => (answer === postponed ? taken : Effect.succeed(answer)),
      onFailure: (cause) =>
        givenBack !== undefined && Cause.hasInterruptsOnly(cause)
          ? Effect.andThen(untilItMayPass(givenBack, Math.min(givenBackMillis, waitMillis(givenBack))), taken)
          : Effect.failCause(cause)
    })
  }) as AnyEffect
  return taken
}

/** The longest wait after a worker has given back a job. The next job may have another circuit. */
const givenBackMillis = 1_000

/**
 * `take` of Effect's `PersistedQueue` under a circuit: runs the next job, and succeeds with its result. Rejections do not count as
 * attempts.
 *
 * - With one circuit for all jobs, workers take no job while it is open. After the circuit closes, workers continue in waves, the oldest
 *   first: 4 workers at once, then 8, 16 and so on, every 100 milliseconds. If the circuit opens after a worker has claimed a job, or
 *   another circuit inside the job rejects a call, the worker gives the job back unchanged.
 * - With a `key` that is a function of the job, jobs of other circuits continue. If the circuit rejects a job at its first attempt, the
 *   worker offers the job again with a delay, and completes the claimed copy. The new id ends with the number of offers (`~1`), and the
 *   delay doubles each time, up to `maxDelay`. A job that has already failed keeps its attempts: the worker gives it back unchanged. If
 *   `key` throws or does not return a string, the job fails with a defect and loses an attempt.
 *
 * It runs one job, and fails if the job fails. For a worker, use `Effect.retry(Effect.forever(take), Schedule.spaced("1 second"))`.
 *
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { PersistedQueue } from "effect/persistence"
 * import { BreakerStore } from "effect-fuse"
 * import { JobBreaker } from "effect-fuse/queue"
 *
 * const program = Effect.gen(function* () {
 *   const mails = yield* PersistedQueue.make({ name: "mails", schema: Schema.String })
 *   yield* mails.offer("hello")
 *   return yield* JobBreaker.take(mails, "smtp", (mail) => Effect.succeed(`sent ${mail}`))
 * })
 * const Queues = Layer.provide(PersistedQueue.layer, PersistedQueue.layerStoreMemory)
 * await Effect.runPromise(Effect.provide(program, Layer.merge(BreakerStore.layerMemory, Queues))) // => "sent hello"
 * ```
 *
 * @category workers
 */
export const take = <Job, RQ, A, E, R, R2 = never>(
  queue: PersistedQueue.PersistedQueue<Job, RQ>,
  name: string,
  f: (job: Job, metadata: { readonly id: string; readonly attempts: number }) => Effect.Effect<A, E, R>,
  options: TakeOptions<Job, A, E, R2> = {}
): Effect.Effect<A, E | CircuitOpen | PersistedQueue.PersistedQueueError, RQ | R | R2 | BreakerStore> => {
  const operation = "JobBreaker.take"
  decodeArgument(operation, "queue", queueField, queue)
  decodeArgument(operation, "f", functionField, f)
  const { key, ...given } = decodeOptions(operation, takeFields, options)
  const of = toSubject(operation, name, typeof key === "function" ? given : { ...given, key })
  const taking: Taking = { of, delayOf: delaying(operation, given), f: f as JobHandler }
  // `takeOne` and `takeKeyed` only pass elements of the queue to `f` and back to the queue, so they do not need the type of the elements.
  const jobs = queue as unknown as Queue
  return (typeof key === "function" ? takeKeyed(jobs, taking, key) : takeOne(jobs, taking)) as Effect.Effect<A, E>
}
