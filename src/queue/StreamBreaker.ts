/**
 * Streams under a circuit breaker: while the circuit is open, the current element waits, the source is not pulled, and the stream resumes
 * when the circuit lets calls through.
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Stream from "effect/Stream"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import type { ProtectOptions } from "../breaker/CircuitBreaker.ts"
import { guard, subjectFields, toSubject } from "../breaker/protect.ts"
import {
  concurrency,
  decodeArgument,
  decodeOptions,
  type FieldsOf,
  flag,
  functionField,
  optional,
  struct
} from "../core/fields.ts"
import type { RetryOptions } from "../resilience/Resilience.ts"
import { retryFields, retrying } from "../resilience/retry.ts"
import { whileRejected } from "../resilience/waiting.ts"
import type { CircuitOpen } from "../shapes/CircuitOpen.ts"

/**
 * Configures the circuit of a stream, its concurrency, and retries.
 *
 * @category options
 */
export interface Options<in A, in E, out R = never> extends ProtectOptions<A, E, R> {
  /** The maximum number of concurrent calls: 1 or more, or `unbounded`. Default: 1. */
  readonly concurrency?: number | "unbounded" | undefined
  /** Whether results may be in another order than their elements. Default: `false`. */
  readonly unordered?: boolean | undefined
  /**
   * How to retry a failed element. Waiting for the circuit does not count as an attempt. A probe that timed out is retried too. Default: no
   * retries, and a failed element ends the stream.
   */
  readonly retry?: Omit<RetryOptions<E>, "waitForCircuit" | "budget"> | undefined
}

const { schedule, times, while: again } = retryFields
const fields = {
  ...subjectFields,
  concurrency: optional(concurrency),
  unordered: optional(flag),
  retry: optional(struct({ schedule, times, while: again }))
} satisfies FieldsOf<Options<never, never>>

/**
 * `Stream.mapEffect` under a circuit. If the circuit, or another circuit inside `f`, rejects an element, the element waits without limit
 * and is tried again. Meanwhile, the stream pulls at most `concurrency` elements, and it notices the end of the source.
 *
 * ```ts
 * import { Effect, pipe, Stream } from "effect"
 * import { BreakerPolicy, BreakerStore, Trip } from "effect-fuse"
 * import { StreamBreaker } from "effect-fuse/queue"
 *
 * let down = 3
 * const save = (n: number) => Effect.suspend(() => (down-- > 0 ? Effect.fail("down") : Effect.succeed(n * 10)))
 *
 * const program = pipe(
 *   Stream.make(1, 2, 3),
 *   StreamBreaker.mapEffect("db", save, {
 *     policy: { trip: Trip.consecutive(2), cooldown: "100 millis" },
 *     retry: { times: 5 }
 *   }),
 *   Stream.runCollect
 * )
 * await Effect.runPromise(Effect.provide(program, BreakerStore.layerMemory)) // => [10, 20, 30]
 * ```
 *
 * The stream fails with `CircuitOpen` only if a probe times out and there is no `retry`, as its call had already started.
 *
 * @category combinators
 */
export const mapEffect: {
  <A, E, R, B, E2, R2, R3 = never>(
    self: Stream.Stream<A, E, R>,
    name: string,
    f: (element: A, index: number) => Effect.Effect<B, E2, R2>,
    options?: Options<B, E2, R3>
  ): Stream.Stream<B, E | E2 | CircuitOpen, R | R2 | R3 | BreakerStore>
  <A, B, E2, R2, R3 = never>(
    name: string,
    f: (element: A, index: number) => Effect.Effect<B, E2, R2>,
    options?: Options<B, E2, R3>
  ): <E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<B, E | E2 | CircuitOpen, R | R2 | R3 | BreakerStore>
} = dual(
  (args) => Stream.isStream(args[0]),
  (
    self: Stream.Stream<unknown, unknown>,
    name: string,
    f: (element: unknown, index: number) => Effect.Effect<unknown, unknown>,
    options: Options<unknown, unknown> = {}
    // biome-ignore lint/suspicious/noExplicitAny: the overloads above are its types
  ): any => {
    const operation = "StreamBreaker.mapEffect"
    const { concurrency, retry, unordered, ...protecting } = decodeOptions(operation, fields, options)
    const of = toSubject(operation, name, protecting)
    decodeArgument(operation, "f", functionField, f)
    const again = retry === undefined ? undefined : retrying(retry)()
    const call = (element: unknown, index: number) => {
      const guarded = guard(
        Effect.suspend(() => f(element, index)),
        of
      )
      const kept = whileRejected(guarded, { millis: Infinity, again: again !== undefined })
      return again === undefined ? kept : again(kept)
    }
    return Stream.mapEffect(self, call, {
      concurrency: concurrency ?? 1,
      unordered: unordered ?? false
    })
  }
)
