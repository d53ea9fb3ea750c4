/**
 * Streams under a breaker: while the circuit is open the element in hand is kept, no other is pulled from the source, and the
 * stream goes on by itself when the circuit lets calls through.
 *
 * @since 0.1.0
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
 * @category options
 * @since 0.1.0
 */
export interface Options<in A, in E, out R = never> extends ProtectOptions<A, E, R> {
  /** How many elements are worked on at once: a number of 1 or more (default 1), or `unbounded`. */
  readonly concurrency?: number | "unbounded" | undefined
  /** Whether answers may come in another order than their elements. Default `false`. */
  readonly unordered?: boolean | undefined
  /**
   * How an element is tried again that fails. Waiting for the circuit is none of its attempts, and a probe that took too long
   * is tried again. Default: it is not, and its failure ends the stream.
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
 * `Stream.mapEffect` under a circuit. An element that the circuit, or another that it passes, rejects waits and is tried again,
 * for as long as it takes, and meanwhile no more are pulled than are worked on at once. A source that ends meanwhile is heard.
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
 * The one `CircuitOpen` with which it may fail is that of a probe that took longer than its policy allows, where there is no
 * `retry`: what it called had been started.
 *
 * @category combinators
 * @since 0.1.0
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
