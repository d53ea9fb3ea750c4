import * as Trips from "../core/Trip.ts"
import type { Seen, Time, Trip } from "./types.ts"

/**
 * When circuits open. Windows (`over`, `of`) are a number of calls, or a text such as `"10s"` or `"10 seconds"`.
 *
 * @category trips
 * @since 0.1.0
 */
export const trip: {
  /** So many failures in a row. */
  readonly consecutive: (failures: number) => Trip
  /** So many failures of the last calls: `{ atLeast: 2, of: 5 }`. */
  readonly failures: (options: { readonly atLeast: number; readonly of: number | string }) => Trip
  /** A share of failures, from 0 to 1, from so many calls on. */
  readonly failureRate: (options: TripRate) => Trip
  /** A share of slow calls, from 0 to 1, from so many calls on. */
  readonly slowRate: (options: TripRate) => Trip
  /** So many calls that have been running for longer than that. */
  readonly stuck: (options: { readonly calls: number; readonly olderThan: Time }) => Trip
  /** The first that does. */
  readonly any: (...trips: ReadonlyArray<Trip>) => Trip
  /** When all of them do. */
  readonly all: (...trips: ReadonlyArray<Trip>) => Trip
  /** A rule of your own, under a name. */
  readonly custom: (
    name: string,
    predicate: (seen: Seen) => boolean,
    options?: { readonly over?: number | string }
  ) => Trip
} = Trips as never

/**
 * @category options
 * @since 0.1.0
 */
export interface TripRate {
  readonly threshold: number
  readonly minimumCalls: number
  readonly over: number | string
}
