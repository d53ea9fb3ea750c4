/**
 * Policies around a call: retry, breaker, bulkhead, timeout, hedge, limit and fallback, each alone or several as one value.
 *
 * ```ts
 * import { Effect, pipe } from "effect"
 * import { BreakerStore, Resilience } from "effect-fuse"
 *
 * const resilient = Resilience.standard("api", { timeout: "2 seconds", retry: { times: 2 } }) // once, as a constant
 *
 * const program = pipe(Effect.succeed("hello"), resilient)
 * await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory)) // => "hello"
 * ```
 *
 * In a pipe the first is the innermost, next to the call. {@link standard} has the order that works:
 *
 *     call -> timeout -> bulkhead -> breaker -> retry -> fallback
 *
 * - The **timeout** bounds each attempt. Inside the breaker it is a Failure, as it should be; outside it would be an
 *   interruption, which tells the breaker nothing.
 * - The **bulkhead** is outside the timeout, so that waiting for a place is not mistaken for a slow dependency, and inside the
 *   breaker, so that no place is waited for while the circuit is open. That it is full says nothing of the dependency: the
 *   breaker ignores it.
 * - The **breaker** is inside the retry, so that it sees each attempt, and stops the next.
 * - The **retry** stops at `CircuitOpen`.
 * - The **fallback** comes last: it answers when all else has failed.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Schedule from "effect/Schedule"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import type { CircuitOptions } from "../breaker/CircuitBreaker.ts"
import { guard, type Subject, subject, subjectFields, toSubject } from "../breaker/protect.ts"
import {
  count,
  decodeArgument,
  decodeOptions,
  type FieldsOf,
  field,
  functionField,
  listOf,
  optional,
  orFalse,
  positiveMillis,
  struct,
  text,
  word
} from "../core/fields.ts"
import type * as Outcome from "../core/Outcome.ts"
import { makeTimeout } from "../engine/timeout.ts"
import type { BulkheadFull } from "../shapes/BulkheadFull.ts"
import { type CircuitOpen, isCircuitOpen } from "../shapes/CircuitOpen.ts"
import * as Bulkhead_ from "./Bulkhead.ts"
import { fallbackField, fallingBack } from "./fallback.ts"
import { hedged } from "./hedge.ts"
import {
  type Any,
  type Compose,
  type Exactly,
  type Fallback,
  isPipeline,
  makePipeline,
  type Pipeline as PipelineType,
  type StandardErrors,
  type StandardInput
} from "./pipeline.ts"
import { budgetField, counting, mayRepeat, retryField, retryFields, retrying } from "./retry.ts"
import { bulkheadField, bulkheadFields, hasSlots, TypeId, toSlots } from "./slots.ts"

/**
 * A policy, or several as one: a function of an effect that keeps what the effect answers and fails with, and adds what
 * its parts add. `parts` names them, the innermost first.
 *
 * `E`: the errors it adds. `R`: the services it needs. `B`: what it may answer instead. `In`: the errors it can handle.
 * `Kept`: `unknown` if the effect's own errors pass, `never` if none does.
 *
 * @category models
 * @since 0.1.0
 */
export interface Pipeline<out E = never, out R = never, out B = never, in In = unknown, out Kept = unknown>
  extends PipelineType<E, R, B, In, Kept> {}

/**
 * Several policies as one value, the innermost first, as in a pipe: what `pipe(effect, a, b, c)` does, `pipeline(a, b, c)`
 * does to any effect. More than five are pipelines of pipelines. A policy that could not handle the errors of those
 * inside it is a type error.
 *
 * @category combinators
 * @since 0.1.0
 */
export const pipeline: Compose = (...parts: ReadonlyArray<Any>) =>
  compose(decodeArgument("Resilience.pipeline", "parts", listOf(partField, 1), parts))

const partField = field("a policy", (input) => (isPipeline(input) ? input : undefined))

const compose = <P extends Any>(parts: ReadonlyArray<Any>): P =>
  makePipeline(
    parts.flatMap((part) => part.parts),
    (self) => {
      let outer = self
      for (const part of parts) outer = part(outer) as Effect.Effect<unknown, unknown>
      return outer
    }
  )

/**
 * Fails with Effect's `TimeoutError` what takes longer, and interrupts it.
 * It behaves as `Effect.timeout`, but costs much less. It may fire late, by at most 1 % or 16 milliseconds.
 *
 * If the process stalls while the time runs out, the effect gets a little more time, so that it can read an answer that has arrived. If it
 * then still takes too long, a breaker around it ignores the `TimeoutError`.
 *
 * @category policies
 * @since 0.1.0
 */
export const timeout = (duration: Duration.Input): Pipeline<Cause.TimeoutError> =>
  timingOut(decodeArgument("Resilience.timeout", "duration", positiveMillis, duration))

const timingOut = (millis: number): Pipeline<Cause.TimeoutError> => makePipeline(["timeout"], makeTimeout(millis))

/**
 * Which circuit a breaker of a pipeline uses, and how the ends of its calls are read, as in `CircuitBreaker.protect`.
 *
 * @category options
 * @since 0.1.0
 */
export interface BreakerOptions<in E = unknown, out R = never> extends CircuitOptions {
  /** Reads the whole exit. Not with the other two. */
  readonly classify?:
    | ((exit: Exit.Exit<unknown, E>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome, never, R>)
    | undefined
  /** Which errors are failures; others are answers. */
  readonly isFailure?: ((error: E) => boolean) | undefined
  /** Which errors tell nothing of the dependency. */
  readonly isIgnored?: ((error: E) => boolean) | undefined
}

/**
 * `CircuitBreaker.protect` as a part.
 *
 * @category policies
 * @since 0.1.0
 */
export const breaker = <E = unknown, R = never>(
  name: string,
  options?: BreakerOptions<E, R>
): Pipeline<CircuitOpen, BreakerStore | R, never, E> => around(subject("Resilience.breaker", name, options))

const around = <P extends Any>(of: Subject): P => makePipeline(["breaker"], (self) => guard(self, of))

/**
 * `Bulkhead.limit` as a part, in a bulkhead that is given or one of its own, which all effects in this pipeline share.
 *
 * @category policies
 * @since 0.1.0
 */
export const bulkhead = (options: Bulkhead_.Options | Bulkhead_.Bulkhead): Pipeline<BulkheadFull> =>
  inBulkhead(
    Bulkhead_.isBulkhead(options)
      ? options
      : { [TypeId]: toSlots(decodeOptions("Resilience.bulkhead", bulkheadFields, options)) }
  )

const inBulkhead = (bulkhead: Bulkhead_.Bulkhead): Pipeline<BulkheadFull> =>
  makePipeline(["bulkhead"], Bulkhead_.limit(bulkhead))

/**
 * What bounds the retries of all that call one circuit: at most `floor` in the last `over`, or `share` of the calls made
 * in that time, whichever is more. A retry that it refuses is not made, and the error that there is stays.
 *
 * A circuit has one budget; the first to use it says how far it looks back. `CircuitBreaker.inspect` shows it as `retries`.
 *
 * @category options
 * @since 0.1.0
 */
export interface Budget {
  /** The name of the circuit. */
  readonly name: string
  /** Its key. */
  readonly key?: string | undefined
  /** From above 0 to 1. Default 0.2. */
  readonly share?: number | undefined
  /** Default 10. */
  readonly floor?: number | undefined
  /** Default 10 seconds. */
  readonly over?: Duration.Input | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface RetryOptions<in E = unknown, out SE = never, out SR = never> {
  /** How often a call is made again. Default 2, or as often as `schedule` says where one is given. */
  readonly times?: number | undefined
  /** How long to wait before each. Default `Backoff.exponential({ min: "100 millis", max: "10 seconds", jitter: 0.5 })`. */
  readonly schedule?: Schedule.Schedule<unknown, E, SE, SR> | undefined
  /**
   * Which errors are worth another attempt. Default all but those with which a policy rejected the call. It is not asked about
   * `CircuitOpen`, which is never tried again but by `waitForCircuit`.
   */
  readonly while?: ((error: E) => boolean) | undefined
  /**
   * Waits while the circuit rejects, for no longer than this in all, and then calls: an attempt that was rejected is none of
   * `times`. What would take longer fails with `CircuitOpen` at once. After a close, the callers that wait go in waves, the oldest
   * first: 4 at once, and every 100 milliseconds twice as many as before. Default: no waiting.
   */
  readonly waitForCircuit?: Duration.Input | undefined
  /**
   * The longest wait that an error may ask for. An error asks for a wait with its `retryAfter`, or with the headers of its response
   * (`Retry-After` and others). A retry waits at least that long. If the error asks for longer than `maxRetryAfter`, there is no retry:
   * the call fails with that error at once. Default 10 seconds.
   */
  readonly maxRetryAfter?: Duration.Input | undefined
  /** Bounds the retries of all that call a circuit, given by its name or with figures. Default, and `false`: nothing does. */
  readonly budget?: string | Budget | false | undefined
}

/**
 * Calls again when the call fails. Defects and interruptions are not tried again.
 *
 * @category policies
 * @since 0.1.0
 */
export const retry: {
  <E = unknown, SE = never, SR = never>(
    options: RetryOptions<E, SE, SR> & { readonly budget: string | Budget }
  ): Pipeline<SE, SR | BreakerStore, never, E>
  <E = unknown, SE = never, SR = never>(
    options?: RetryOptions<E, SE, SR> & { readonly budget?: false | undefined }
  ): Pipeline<SE, SR, never, E>
  <E = unknown, SE = never, SR = never>(options: RetryOptions<E, SE, SR>): Pipeline<SE, SR | BreakerStore, never, E>
} = <E, SE, SR>(options: RetryOptions<E, SE, SR> = {}): Pipeline<SE, SR, never, E> =>
  makePipeline(["retry"], retrying(decodeOptions("Resilience.retry", retryFields, options))())

/**
 * @category options
 * @since 0.1.0
 */
export interface HedgeOptions {
  /** How long a call may take before another is made beside it: about as long as 95 of 100 take. */
  readonly after: Duration.Input
  /** How many more calls are made at most. Default 1. */
  readonly max?: number | undefined
  /** Bounds these calls together with the retries of all that call a circuit. Default: nothing does. */
  readonly budget?: string | Budget | false | undefined
}

/**
 * Makes the same call again beside one that takes too long, and answers with the first success. The others are
 * interrupted, which a breaker inside ignores. It helps against slowness and not against errors: a call that has failed is not
 * made again, and its failure is the result only when no other call is left.
 *
 * Only for calls that may be made twice.
 *
 * @category policies
 * @since 0.1.0
 */
export const hedge: {
  (options: HedgeOptions & { readonly budget: string | Budget }): Pipeline<never, BreakerStore>
  (options: HedgeOptions & { readonly budget?: false | undefined }): Pipeline
  (options: HedgeOptions): Pipeline<never, BreakerStore>
} = (options: HedgeOptions): Pipeline => {
  const { after, budget = false, max = 1 } = decodeOptions("Resilience.hedge", hedgeFields, options)
  const allowed = budget === false ? Effect.succeed(true) : mayRepeat(budget)
  return makePipeline(["hedge"], (self) => {
    const race = hedged(self, after, max, allowed)
    return budget === false ? race : counting(budget, race)
  })
}

const hedgeFields = { after: positiveMillis, max: optional(count), budget: optional(budgetField) }

/**
 * What a limiter must be able to do: `RateLimiter` of `effect/persistence` can.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limiter<out E> {
  readonly consume: (options: RateLimitOptions) => Effect.Effect<{ readonly delay: Duration.Duration }, E>
}

/**
 * The options of Effect's limiter.
 *
 * @category options
 * @since 0.1.0
 */
export interface RateLimitOptions {
  /** Calls with the same key share the limit. */
  readonly key: string
  /** How many calls in each `window`. */
  readonly limit: number
  readonly window: Duration.Input
  /** How many calls this one counts for. Default 1. */
  readonly tokens?: number | undefined
  readonly algorithm?: "fixed-window" | "token-bucket" | undefined
  /** Whether a call beyond the limit waits, or fails with the limiter's error. Default `fail`. */
  readonly onExceeded?: "delay" | "fail" | undefined
}

/**
 * Limits how many calls are made in a time, by Effect's own limiter: `Resilience.rateLimit(RateLimiter.RateLimiter, { key: "api",
 * limit: 100, window: "1 second" })`. Give its service, or a limiter. What it rejects says nothing of the dependency:
 * breakers ignore it.
 *
 * @category policies
 * @since 0.1.0
 */
export const rateLimit = <E, R = never>(
  limiter: Limiter<E> | Effect.Effect<Limiter<E>, never, R>,
  options: RateLimitOptions
): Pipeline<E, R> => {
  decodeArgument("Resilience.rateLimit", "limiter", limiterField, limiter)
  const checked = decodeOptions("Resilience.rateLimit", rateLimitFields, options)
  const found = Effect.isEffect(limiter) ? limiter : Effect.succeed(limiter)
  const consumed = Effect.flatMap(found as Effect.Effect<Limiter<E>>, (limiter) => limiter.consume(checked))
  return makePipeline(["rateLimit"], (self) =>
    Effect.flatMap(consumed, ({ delay }) => (Duration.isZero(delay) ? self : Effect.delay(self, delay)))
  )
}

const limiterField = field("a RateLimiter, or its service", (input) =>
  Effect.isEffect(input) || typeof (input as Limiter<unknown> | null | undefined)?.consume === "function"
    ? input
    : undefined
)
const rateLimitFields = {
  key: text,
  limit: count,
  window: positiveMillis,
  tokens: optional(count),
  algorithm: optional(word("fixed-window", "token-bucket")),
  onExceeded: optional(word("delay", "fail"))
}

/**
 * Answers when all else has failed, with an effect or one that is made of the error. Defects and interruptions pass.
 *
 * @category policies
 * @since 0.1.0
 */
export const fallback = <B, E2 = never, R2 = never, E = unknown>(
  orElse: Effect.Effect<B, E2, R2> | ((error: E) => Effect.Effect<B, E2, R2>)
): Pipeline<E2, R2, B, E, never> => fallingBack(decodeArgument("Resilience.fallback", "orElse", fallbackField, orElse))

/**
 * The parts of {@link standard}. Each that is `false` is left out; those with a default are there unless it is.
 *
 * @category options
 * @since 0.1.0
 */
export interface StandardOptions {
  /** Bounds each attempt. Default 10 seconds. */
  readonly timeout?: Duration.Input | false | undefined
  /** How many attempts run at once. Default: no bulkhead. */
  readonly bulkhead?: Bulkhead_.Options | Bulkhead_.Bulkhead | false | undefined
  /** Its key, its policy, and how ends are read. */
  readonly breaker?: BreakerOptions<never> | undefined
  /** The maximum number of retries, or options. Default as {@link retry}, with a budget of the circuit. */
  readonly retry?: number | RetryOptions<never> | false | undefined
  /** What answers when all else has failed. Default: nothing does. */
  readonly fallback?:
    | Effect.Effect<unknown, unknown, unknown>
    | ((error: never) => Effect.Effect<unknown, unknown, unknown>)
    | undefined
}

/**
 * What {@link standard} makes of its options.
 *
 * @category models
 * @since 0.1.0
 */
export type Standard<O extends StandardOptions> = [Fallback<O>] extends [never]
  ? Pipeline<StandardErrors<O>, BreakerStore, never, StandardInput<O>>
  : undefined extends O["fallback"]
    ? // There may be one: both may come.
      Pipeline<
        StandardErrors<O> | Effect.Error<Fallback<O>>,
        BreakerStore | Effect.Services<Fallback<O>>,
        Effect.Success<Fallback<O>>,
        StandardInput<O>
      >
    : Pipeline<
        Effect.Error<Fallback<O>>,
        BreakerStore | Effect.Services<Fallback<O>>,
        Effect.Success<Fallback<O>>,
        StandardInput<O>,
        never
      >

/**
 * The order that works: call, timeout, bulkhead, breaker, retry, fallback. By default each attempt may take 10 seconds and
 * is made twice more, with a backoff, within the retry budget of the circuit.
 *
 * Make it once, as a constant: its bulkhead is its own. Throws a `RangeError` that names the option that
 * is wrong.
 *
 * @category policies
 * @since 0.1.0
 */
export const standard = <const O extends StandardOptions = Record<never, never>>(
  name: string,
  options?: O & Exactly<O, StandardOptions, { breaker: BreakerOptions; retry: RetryOptions }>
): Standard<O> => {
  const operation = "Resilience.standard"
  const decoded = decodeOptions(operation, standardFields, options)
  const { breaker = {}, bulkhead = false, fallback, retry = {}, timeout = 10_000 } = decoded
  const of = toSubject(operation, name, breaker, "breaker")
  const parts: ReadonlyArray<Any | false> = [
    timeout !== false && timingOut(timeout),
    bulkhead !== false && inBulkhead(hasSlots(bulkhead) ? bulkhead : { [TypeId]: toSlots({ name, ...bulkhead }) }),
    around(of),
    retry !== false && makePipeline<Pipeline>(["retry"], retrying(retry)(of)),
    fallback !== undefined && fallingBack(fallback)
  ]
  return compose(parts.filter((part) => part !== false))
}

const standardFields = {
  timeout: optional(orFalse(positiveMillis)),
  bulkhead: optional(orFalse(bulkheadField)),
  breaker: optional(struct(subjectFields)),
  retry: optional(orFalse(retryField)),
  fallback: optional(fallbackField)
} satisfies FieldsOf<StandardOptions>

/**
 * One of the ways of {@link cascade}: a call and its circuit, with the options of `CircuitBreaker.protect`.
 *
 * @category options
 * @since 0.1.0
 */
export interface Way<out A = unknown, out E = unknown, out R = unknown> extends BreakerOptions<never> {
  /** The name of the circuit. */
  readonly name: string
  readonly call: Effect.Effect<A, E, R>
}

type CallsOf<Ways extends ReadonlyArray<Way>> = Ways[number]["call"]

/**
 * Tries one way after another, each under its own circuit, until one succeeds: a way whose circuit is open costs nothing. What
 * the last one fails with is the error. For a default put {@link fallback} around it, or make it the last way.
 *
 * `while` says which errors are worth another way, and is not asked about `CircuitOpen`, which always is.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { BreakerStore, Resilience } from "effect-fuse"
 *
 * const price = Resilience.cascade([
 *   { name: "prices-eu", call: Effect.fail("down") },
 *   { name: "prices-us", call: Effect.succeed(42) }
 * ])
 * await Effect.runPromise(Effect.provide(price, BreakerStore.layerMemory)) // => 42
 * ```
 *
 * @category policies
 * @since 0.1.0
 */
export const cascade = <const Ways extends ReadonlyArray<Way>>(
  ways: Ways,
  options?: { readonly while?: ((error: Effect.Error<CallsOf<Ways>>) => boolean) | undefined }
): Effect.Effect<
  Effect.Success<CallsOf<Ways>>,
  Effect.Error<CallsOf<Ways>> | CircuitOpen,
  Effect.Services<CallsOf<Ways>> | BreakerStore
> => {
  const operation = "Resilience.cascade"
  const { while: goesOn } = decodeOptions(operation, cascadeFields, options)
  const calls = decodeArgument(operation, "ways", listOf(struct(wayFields), 1), ways).map(
    ({ call, name, ...given }, index) => guard(call, toSubject(operation, name, given, `ways.${index}`))
  )
  const after = (error: unknown) => isCircuitOpen(error) || goesOn === undefined || goesOn(error)
  return calls.reduceRight((next, call) =>
    Effect.catch(call, (error) => (after(error) ? next : Effect.fail(error)))
  ) as Effect.Effect<never>
}

const wayFields = {
  ...subjectFields,
  name: text,
  call: field<Effect.Effect<unknown, unknown>>("an effect", (input) =>
    Effect.isEffect(input) ? (input as Effect.Effect<unknown, unknown>) : undefined
  )
}
const cascadeFields = { while: optional(functionField) }
