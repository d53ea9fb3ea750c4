/**
 * Policies around a call: timeout, bulkhead, breaker, retry, hedge, rate limit and fallback. Use a single policy, or combine several into
 * one value.
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
 * In a pipe, the first policy is the innermost, next to the call. {@link standard} has the recommended order:
 *
 *     call -> timeout -> bulkhead -> breaker -> retry -> fallback
 *
 * - The **timeout** limits each attempt. Inside the breaker it counts as a Failure. Outside it would be an interruption, which says nothing
 *   about the dependency.
 * - The **bulkhead** is outside the timeout, so that waiting in its queue does not look like a slow dependency. It is inside the breaker,
 *   so that no call waits while the circuit is open. The breaker ignores `BulkheadFull`.
 * - The **breaker** is inside the retry, so that it counts each attempt and stops further attempts.
 * - The **retry** stops at `CircuitOpen`.
 * - The **fallback** is the outermost: it handles the final error.
 */
import type * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Schedule from "effect/Schedule"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import type { CircuitOptions } from "../breaker/CircuitBreaker.ts"
import { guard, type Subject, subject, subjectFields, toSubject } from "../breaker/protect.ts"
import {
  decodeArgument,
  decodeOptions,
  type FieldsOf,
  field,
  listOf,
  optional,
  orFalse,
  positiveMillis,
  struct
} from "../core/fields.ts"
import type * as Outcome from "../core/Outcome.ts"
import type { BulkheadFull } from "../shapes/BulkheadFull.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"
import * as Bulkhead_ from "./Bulkhead.ts"
import { cascading } from "./cascade.ts"
import { makeTimeoutWithin } from "./deadlines.ts"
import { fallbackField, fallingBack } from "./fallback.ts"
import { hedged, hedging } from "./hedge.ts"
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
import { limiting } from "./rateLimit.ts"
import { earning, guardEarning, mayRepeat, medianOf, retryField, retryFields, retrying } from "./retry.ts"
import { bulkheadField, bulkheadFields, hasSlots, TypeId, toSlots } from "./slots.ts"

/**
 * A policy, or a combination of policies. A policy is a function from an effect to an effect. The policy keeps the effect's result and
 * errors, and adds the results and errors of its parts. `parts` lists the names of the parts. The innermost part comes first.
 *
 * - `E`: the errors that it adds.
 * - `R`: the services that it needs.
 * - `B`: the results that it may add.
 * - `In`: the errors that it can handle.
 * - `Kept`: `unknown` if the effect's own errors pass, `never` if they do not.
 *
 * @category models
 */
export interface Pipeline<out E = never, out R = never, out B = never, in In = unknown, out Kept = unknown>
  extends PipelineType<E, R, B, In, Kept> {}

/**
 * Combines policies into one value, the innermost first: `pipeline(a, b, c)(effect)` is `pipe(effect, a, b, c)`. For more than five, nest
 * pipelines. It is a type error if a policy cannot handle the errors of those inside it.
 *
 * @category combinators
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
 * Interrupts an effect that takes longer, and fails with Effect's `TimeoutError`. It behaves as `Effect.timeout`, but costs much less. It
 * may fire late, by at most 1 % or 16 milliseconds.
 *
 * If the process stalls while the time runs out, the effect gets a little more time to read an answer that has already arrived. If it still
 * takes too long, a breaker around it ignores the `TimeoutError`.
 *
 * Inside `Deadline.within`, the timeout is the duration or the remaining time, whichever is shorter. `Deadline.isDeadlineExceeded` says
 * whether the deadline ended the effect.
 *
 * @category policies
 */
export const timeout = (duration: Duration.Input): Pipeline<Cause.TimeoutError> =>
  timingOut(decodeArgument("Resilience.timeout", "duration", positiveMillis, duration))

const timingOut = (millis: number): Pipeline<Cause.TimeoutError> => makePipeline(["timeout"], makeTimeoutWithin(millis))

/**
 * The circuit of a breaker in a pipeline, and how it classifies the ends of calls, as in `CircuitBreaker.protect`.
 *
 * @category options
 */
export interface BreakerOptions<in E = unknown, out R = never> extends CircuitOptions {
  /** Classifies the whole exit. Cannot be combined with the other two options. */
  readonly classify?:
    | ((exit: Exit.Exit<unknown, E>) => Outcome.Outcome | Effect.Effect<Outcome.Outcome, never, R>)
    | undefined
  /** Which errors are Failures. Other errors count as Success. */
  readonly isFailure?: ((error: E) => boolean) | undefined
  /** Which errors say nothing about the dependency. */
  readonly isIgnored?: ((error: E) => boolean) | undefined
}

/**
 * `CircuitBreaker.protect` as a policy.
 *
 * @category policies
 */
export const breaker = <E = unknown, R = never>(
  name: string,
  options?: BreakerOptions<E, R>
): Pipeline<CircuitOpen, BreakerStore | R, never, E> => around(subject("Resilience.breaker", name, options))

const around = <P extends Any>(of: Subject): P => makePipeline(["breaker"], (self) => guard(self, of))

/**
 * `Bulkhead.limit` as a policy. Given options, it creates a bulkhead that all effects with this policy share.
 *
 * @category policies
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
 * A limit on the retries of all callers of one circuit: in the last `over`, at most `floor` retries, or `share` of the calls that have
 * succeeded, whichever is more. If it refuses a retry, the caller fails with the error of the last attempt.
 *
 * Only successes earn retries, so during an outage, at most `floor` retries remain. The defaults allow one retry for five
 * successes, as Finagle and Linkerd do, and on average one retry per second without successes.
 *
 * Each circuit has one budget. The first use sets its `over`. `CircuitBreaker.inspect` shows the budget as `retries`.
 *
 * @category options
 */
export interface Budget {
  readonly name: string
  readonly key?: string | undefined
  /** How many retries a successful call earns, above 0 and at most 1. Default: 0.2. */
  readonly share?: number | undefined
  /** The number of retries that are always allowed. Default: 10. */
  readonly floor?: number | undefined
  /** The period over which successes and retries are counted. Default: 10 seconds. */
  readonly over?: Duration.Input | undefined
}

/**
 * When to retry a call, how often, and with which delays.
 *
 * @category options
 */
export interface RetryOptions<in E = unknown, out SE = never, out SR = never> {
  /** The maximum number of retries. Default: 2, or unlimited if `schedule` is given. */
  readonly times?: number | undefined
  /** The delays between attempts. Default: `Backoff.exponential({ min: "100 millis", max: "10 seconds", jitter: 0.5 })`. */
  readonly schedule?: Schedule.Schedule<unknown, E, SE, SR> | undefined
  /**
   * Which errors to retry. Default: all except rejections by a policy. `CircuitOpen` never reaches this function: only `waitForCircuit`
   * repeats a call that a circuit rejected.
   */
  readonly while?: ((error: E) => boolean) | undefined
  /**
   * The maximum total time to wait for a circuit that rejects. Rejected attempts do not count as `times`. If the circuit asks for a longer
   * wait, the call fails with `CircuitOpen` at once. Default: no waiting.
   *
   * After the circuit closes, waiting callers proceed in waves, the oldest first: 4 at once, then twice as many every 100 milliseconds.
   */
  readonly waitForCircuit?: Duration.Input | undefined
  /**
   * The longest wait that an error may ask for, with its `retryAfter` or with response headers such as `Retry-After`. A retry waits at
   * least as long as the error asks. If that is longer than `maxRetryAfter`, the call fails with the error at once. Default: 10 seconds.
   */
  readonly maxRetryAfter?: Duration.Input | undefined
  /** The retry budget of a circuit, by the circuit's name or with options. Default and `false`: no budget. */
  readonly budget?: string | Budget | false | undefined
}

/**
 * Repeats a call that fails. Defects and interruptions are not retried. Throws a `RangeError` that names the invalid option.
 *
 * @category policies
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
 * A percentile of durations, above 0 and below 100, such as `p95` or `p99.9`.
 *
 * @category options
 */
export type Percentile = `p${number}`

/**
 * When to start copies of a call, and how many.
 *
 * @category options
 */
export interface HedgeOptions {
  /**
   * The hedge starts a second copy of the call after this time. The time is a duration, or a percentile of all earlier calls. With `p95`,
   * the hedge copies about 5 % of the calls, for fast and for slow dependencies.
   */
  readonly after: Duration.Input | Percentile
  /** The shortest delay that a percentile may give. Default: 10 milliseconds. */
  readonly min?: Duration.Input | undefined
  /**
   * The longest delay that a percentile may give. It is also the delay until 100 calls have ended. Default: no maximum, and no copies until
   * then.
   */
  readonly max?: Duration.Input | undefined
  /** The maximum number of additional copies. Default: 1. */
  readonly copies?: number | undefined
  /**
   * A retry budget that the additional copies share with the retries of the circuit's callers, or `false` for none. Default: with a
   * percentile, the copies are at most 5 % of the calls; with a duration, no budget.
   */
  readonly budget?: string | Budget | false | undefined
}

/**
 * Starts another copy of a call that takes too long. The first success is the result and interrupts the other copies. A breaker inside the
 * hedge ignores interrupted copies. Inside a hedge, `CircuitPool.call` calls another member for each copy.
 *
 * It helps against slow calls, not against errors. A failed copy is not repeated, and its failure becomes the result only if no other copy
 * is running. Use it only for calls that may be made twice.
 *
 * Create one hedge as a constant, and use it only for similar calls: a hedge with a percentile measures the durations of all its calls. If
 * a copy is interrupted, the hedge measures the time until the interruption.
 *
 * @category policies
 */
export const hedge: {
  (options: HedgeOptions & { readonly budget: string | Budget }): Pipeline<never, BreakerStore>
  (options: HedgeOptions & { readonly budget?: false | undefined }): Pipeline
  (options: HedgeOptions): Pipeline<never, BreakerStore>
} = (options: HedgeOptions): Pipeline => {
  const { budget, hedge } = hedging("Resilience.hedge", options)
  if (budget === false) return makePipeline(["hedge"], (self) => hedged(self, hedge))
  const paid = { ...hedge, allowed: mayRepeat(budget), usualOf: medianOf(budget) }
  return makePipeline(["hedge"], (self) => earning(budget, hedged(self, paid)))
}

/**
 * A rate limiter, such as `RateLimiter` of `effect/persistence`.
 *
 * @category models
 */
export interface Limiter<out E> {
  readonly consume: (options: RateLimitOptions) => Effect.Effect<{ readonly delay: Duration.Duration }, E>
}

/**
 * The options of Effect's limiter.
 *
 * @category options
 */
export interface RateLimitOptions {
  /** Calls with the same key share the limit. */
  readonly key: string
  /** The maximum number of calls in each `window`. */
  readonly limit: number
  readonly window: Duration.Input
  /** The number of calls that this call counts as. Default: 1. */
  readonly tokens?: number | undefined
  readonly algorithm?: "fixed-window" | "token-bucket" | undefined
  /** Whether a call above the limit waits (`delay`), or fails with the limiter's error (`fail`). Default: `fail`. */
  readonly onExceeded?: "delay" | "fail" | undefined
}

/**
 * Limits the rate of calls with a limiter, or with Effect's `RateLimiter` service: `Resilience.rateLimit(RateLimiter.RateLimiter, { key:
 * "api", limit: 100, window: "1 second" })`. Breakers ignore its rejections, which say nothing about the dependency.
 *
 * @category policies
 */
export const rateLimit = <E, R = never>(
  limiter: Limiter<E> | Effect.Effect<Limiter<E>, never, R>,
  options: RateLimitOptions
): Pipeline<E, R> => makePipeline(["rateLimit"], limiting("Resilience.rateLimit", limiter, options))

/**
 * Runs another effect if the call fails. `orElse` is that effect, or a function from the error to it. Defects and interruptions pass.
 *
 * @category policies
 */
export const fallback = <B, E2 = never, R2 = never, E = unknown>(
  orElse: Effect.Effect<B, E2, R2> | ((error: E) => Effect.Effect<B, E2, R2>)
): Pipeline<E2, R2, B, E, never> => fallingBack(decodeArgument("Resilience.fallback", "orElse", fallbackField, orElse))

/**
 * The policies of {@link standard}. `false` removes a policy.
 *
 * @category options
 */
export interface StandardOptions {
  /** The timeout of each attempt. Default: 10 seconds. */
  readonly timeout?: Duration.Input | false | undefined
  /** The bulkhead, or its options. Default: no bulkhead. */
  readonly bulkhead?: Bulkhead_.Options | Bulkhead_.Bulkhead | false | undefined
  /** The key and policy of the circuit, and how it classifies the ends of calls. */
  readonly breaker?: BreakerOptions<never> | undefined
  /** The maximum number of retries, or options. Default: those of {@link retry}, with the retry budget of the circuit. */
  readonly retry?: number | RetryOptions<never> | false | undefined
  /** The effect that runs after the final error, or a function from the error to it. Default: no fallback. */
  readonly fallback?:
    | Effect.Effect<unknown, unknown, unknown>
    | ((error: never) => Effect.Effect<unknown, unknown, unknown>)
    | undefined
}

/**
 * The type of the pipeline that {@link standard} returns.
 *
 * @category models
 */
export type Standard<O extends StandardOptions> = [Fallback<O>] extends [never]
  ? Pipeline<StandardErrors<O>, BreakerStore, never, StandardInput<O>>
  : undefined extends O["fallback"]
    ? // The fallback is optional: the errors of the call and the results of the fallback are both possible.
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
 * The recommended pipeline: timeout, bulkhead, breaker, retry and fallback, the innermost first. By default, each attempt may take 10
 * seconds, and a failed call is retried twice, with a backoff and within the retry budget of the circuit.
 *
 * Create it once, as a constant: each pipeline has its own bulkhead. Throws a `RangeError` that names the invalid option.
 *
 * @category policies
 */
export const standard = <const O extends StandardOptions = Record<never, never>>(
  name: string,
  options?: O & Exactly<O, StandardOptions, { breaker: BreakerOptions; retry: RetryOptions }>
): Standard<O> => {
  const operation = "Resilience.standard"
  const decoded = decodeOptions(operation, standardFields, options)
  const { breaker = {}, bulkhead = false, fallback, retry = {}, timeout = 10_000 } = decoded
  const of = toSubject(operation, name, breaker, "breaker")
  // If the retries use the budget of this circuit, the breaker counts the successes. This costs less than a count outside the breaker.
  const earns = retry !== false && retry.budget === undefined
  const parts: ReadonlyArray<Any | false> = [
    timeout !== false && timingOut(timeout),
    bulkhead !== false && inBulkhead(hasSlots(bulkhead) ? bulkhead : { [TypeId]: toSlots({ name, ...bulkhead }) }),
    earns ? makePipeline<Pipeline>(["breaker"], (self) => guardEarning(self, of)) : around(of),
    retry !== false && makePipeline<Pipeline>(["retry"], retrying(retry)(of, earns)),
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
 * An alternative of {@link cascade}: a call and its circuit, with the options of `CircuitBreaker.protect`.
 *
 * @category options
 */
export interface Way<out A = unknown, out E = unknown, out R = unknown> extends BreakerOptions<never> {
  readonly name: string
  readonly call: Effect.Effect<A, E, R>
}

type CallsOf<Ways extends ReadonlyArray<Way>> = Ways[number]["call"]

/**
 * Tries alternatives in order, each under its own circuit, until one succeeds. Alternatives with an open circuit are skipped at once. If
 * all fail, the error is that of the last alternative. For a default value, add {@link fallback}, or make it the last alternative.
 *
 * `while` says which errors lead to the next alternative. `CircuitOpen` always does.
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
 */
export const cascade = <const Ways extends ReadonlyArray<Way>>(
  ways: Ways,
  options?: { readonly while?: ((error: Effect.Error<CallsOf<Ways>>) => boolean) | undefined }
): Effect.Effect<
  Effect.Success<CallsOf<Ways>>,
  Effect.Error<CallsOf<Ways>> | CircuitOpen,
  Effect.Services<CallsOf<Ways>> | BreakerStore
> => cascading("Resilience.cascade", ways, options) as Effect.Effect<never>
