/**
 * Bounds how many calls run at once, and how many may wait: so that one dependency that has become slow cannot take up
 * everything that the others need.
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
 * Who waits does so in the order of arrival, and for as long as it takes: put `Effect.timeout` around it to wait less.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import { decodeOptions } from "../core/fields.ts"
import type * as BulkheadFull from "../shapes/BulkheadFull.ts"
import { bulkheadFields, hasSlots, type Slots, TypeId, toSlots } from "./slots.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** How many calls run at once, at least 1. */
  readonly concurrency: number
  /** How many more may wait. Default 0: what cannot run at once is rejected. */
  readonly queue?: number | undefined
  /** What its error calls it. Default `bulkhead`. */
  readonly name?: string | undefined
}

/**
 * What a bulkhead holds at one moment.
 *
 * @category models
 * @since 0.1.0
 */
export interface Inspection {
  readonly name: string
  readonly concurrency: number
  readonly queue: number
  /** Calls that run now, at most `concurrency`. */
  readonly running: number
  /** Calls that wait for a place now, at most `queue`. */
  readonly waiting: number
  /** Calls that found no room, since it was made. */
  readonly rejected: number
}

/**
 * A number of places. Whoever uses the same bulkhead shares them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Bulkhead {
  readonly [TypeId]: Slots
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isBulkhead = (value: unknown): value is Bulkhead => hasSlots(value)

/**
 * {@link make}, outside of an effect: for a constant of a module. Throws a `RangeError` that names the option that is wrong.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeUnsafe = (options: Options): Bulkhead => ({
  [TypeId]: toSlots(decodeOptions("Bulkhead.makeUnsafe", bulkheadFields, options))
})

/**
 * Makes a bulkhead: once, and not for each call. Throws a `RangeError` that names the option that is wrong.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Effect.Effect<Bulkhead> => {
  const decoded = decodeOptions("Bulkhead.make", bulkheadFields, options)
  return Effect.sync(() => ({ [TypeId]: toSlots(decoded) }))
}

/**
 * Runs an effect in one of the places, or waits for one, or fails with `BulkheadFull`.
 *
 * Its place is free again when the effect has ended, however it ends. Do not use it twice around one call: the inner one
 * may wait for the place that the outer one holds.
 *
 * @category combinators
 * @since 0.1.0
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
 * @category getters
 * @since 0.1.0
 */
export const inspect = (bulkhead: Bulkhead): Inspection => {
  const { concurrency, inside, name, queue, rejected } = bulkhead[TypeId]
  // Whoever is inside runs as long as there is a place.
  const running = Math.min(inside, concurrency)
  return { name, concurrency, queue, running, waiting: inside - running, rejected }
}
