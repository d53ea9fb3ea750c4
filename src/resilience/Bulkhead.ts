/**
 * Limits how many calls run concurrently and how many wait, so that one slow dependency cannot take up the resources of all others.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Bulkhead } from "effect-fuse"
 *
 * const program = Effect.gen(function* () {
 *   const reports = yield* Bulkhead.make({ name: "reports", concurrency: 1, queue: 1 })
 *   const slow = Effect.as(Effect.sleep("10 millis"), "done").pipe(Bulkhead.limit(reports))
 *   // One runs, one waits, and for the third there is no room.
 *   const all = yield* Effect.all([slow, slow, Effect.flip(slow)], { concurrency: "unbounded" })
 *   return [...all.map(String), Bulkhead.inspect(reports).rejected]
 * })
 * await Effect.runPromise(program) // => ["done", "done", "BulkheadFull: Bulkhead \"reports\" is full: 1 running and 1 waiting", 1]
 * ```
 *
 * Waiting calls run in the order of arrival. They wait without limit: to wait less, add `Effect.timeout`.
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { decodeOptions } from "../core/fields.ts"
import type * as BulkheadFull from "../shapes/BulkheadFull.ts"
import { bulkheadFields, hasSlots, type Slots, TypeId, toSlots } from "./slots.ts"

/**
 * The options of a bulkhead.
 *
 * @category options
 */
export interface Options {
  /** The maximum number of concurrent calls, at least 1. */
  readonly concurrency: number
  /** The maximum number of waiting calls. Further calls are rejected. Default: 0. */
  readonly queue?: number | undefined
  /** The name in `BulkheadFull` errors. Default: `bulkhead`. */
  readonly name?: string | undefined
}

/**
 * A snapshot of a bulkhead.
 *
 * @category models
 */
export interface Inspection {
  readonly name: string
  readonly concurrency: number
  readonly queue: number
  /** Running calls, at most `concurrency`. */
  readonly running: number
  /** Waiting calls, at most `queue`. */
  readonly waiting: number
  /** Calls that were rejected since the bulkhead was created. */
  readonly rejected: number
}

/**
 * A limit that all effects with the same bulkhead share.
 *
 * @category models
 */
export interface Bulkhead {
  readonly [TypeId]: Slots
}

/**
 * Whether a value is a bulkhead.
 *
 * @category guards
 */
export const isBulkhead = (value: unknown): value is Bulkhead => hasSlots(value)

/**
 * Creates a bulkhead without an effect, for example as a module-level constant. Throws a `RangeError` that names the invalid option.
 *
 * @category constructors
 */
export const makeUnsafe = (options: Options): Bulkhead => ({
  [TypeId]: toSlots(decodeOptions("Bulkhead.makeUnsafe", bulkheadFields, options))
})

/**
 * Creates a bulkhead. Create it once, not for each call. Throws a `RangeError` that names the invalid option.
 *
 * @category constructors
 */
export const make = (options: Options): Effect.Effect<Bulkhead> => {
  const decoded = decodeOptions("Bulkhead.make", bulkheadFields, options)
  return Effect.sync(() => ({ [TypeId]: toSlots(decoded) }))
}

/**
 * Runs an effect in a bulkhead. If the bulkhead is busy, the effect waits. If its queue is full too, the effect fails with `BulkheadFull`.
 *
 * Do not nest the same bulkhead: the inner effect may wait for the slot that the outer effect holds.
 *
 * @category combinators
 */
export const limit: {
  <A, E, R>(self: Effect.Effect<A, E, R>, bulkhead: Bulkhead): Effect.Effect<A, E | BulkheadFull.BulkheadFull, R>
  (bulkhead: Bulkhead): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | BulkheadFull.BulkheadFull, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, bulkhead: Bulkhead): Effect.Effect<A, E | BulkheadFull.BulkheadFull, R> =>
    bulkhead[TypeId].limit(self)
)

/**
 * The numbers of running, waiting and rejected calls.
 *
 * @category getters
 */
export const inspect = (bulkhead: Bulkhead): Inspection => {
  const { concurrency, inside, name, queue, rejected } = bulkhead[TypeId]
  const running = Math.min(inside, concurrency)
  return { name, concurrency, queue, running, waiting: inside - running, rejected }
}
