import * as Trips from "../core/Trip.ts"
import type { Seen, Time, Trip } from "./types.ts"

/**
 * The rules by which circuits open. A window (`over`, `of`) is a number of calls, or a text such as `"10s"` or `"10 seconds"`.
 *
 * @category trips
 */
export const trip: {
  /** Opens after this number of failures in a row. */
  readonly consecutive: (failures: number) => Trip
  /** Opens if at least `atLeast` of the calls in the window `of` failed: `{ atLeast: 2, of: 5 }`. */
  readonly failures: (options: { readonly atLeast: number; readonly of: number | string }) => Trip
  /** Opens if the share of failed calls reaches the threshold. */
  readonly failureRate: (options: TripRate) => Trip
  /** Opens if the share of slow calls reaches the threshold. */
  readonly slowRate: (options: TripRate) => Trip
  /** Opens if this number of calls have been running for longer than `olderThan`. */
  readonly stuck: (options: { readonly calls: number; readonly olderThan: Time }) => Trip
  /** Opens if at least one of the trips does. */
  readonly any: (...trips: ReadonlyArray<Trip>) => Trip
  /** Opens if all of the trips do. */
  readonly all: (...trips: ReadonlyArray<Trip>) => Trip
  /** A rule of your own. Opens if `predicate` returns `true`. `over` is its window. */
  readonly custom: (
    name: string,
    predicate: (seen: Seen) => boolean,
    options?: { readonly over?: number | string }
  ) => Trip
  // This module's `Trip` has no fields, because this module's types must not refer to types of Effect.
} = Trips as never

/**
 * When a share of calls opens a circuit.
 *
 * @category options
 */
export interface TripRate {
  /** The share of calls, from 0 to 1. */
  readonly threshold: number
  /** How many calls the window must have before the circuit can open. */
  readonly minimumCalls: number
  /** The window: a number of calls, or a duration. */
  readonly over: number | string
}
