/**
 * When a Closed circuit opens.
 *
 * A trip is data with one interpreter, {@link tripped}, so that it can be written in code, read from configuration,
 * compared, printed and evaluated on what one process saw or on what a fleet saw together. It is evaluated when a call
 * failed or was slow, never after a plain success, and opens at its threshold (`>=`, unrounded).
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import { show } from "./printable.ts"
import type * as Window from "./Window.ts"

/**
 * A trip as the interpreter reads it: checked, durations in milliseconds, custom predicates found. Policies hold this.
 *
 * @category models
 * @since 0.1.0
 */
export type Trip =
  | { readonly _tag: "Consecutive"; readonly failures: number }
  | {
      readonly _tag: "FailureRate"
      readonly threshold: number
      readonly minimumCalls: number
      readonly over: Window.Over
    }
  | { readonly _tag: "SlowRate"; readonly threshold: number; readonly minimumCalls: number; readonly over: Window.Over }
  | { readonly _tag: "Failures"; readonly atLeast: number; readonly over: Window.Over }
  | { readonly _tag: "Weighted"; readonly atLeast: number; readonly over: Window.Over }
  | { readonly _tag: "Stuck"; readonly calls: number; readonly olderThanMillis: number }
  | { readonly _tag: "Any"; readonly trips: ReadonlyArray<Trip> }
  | { readonly _tag: "All"; readonly trips: ReadonlyArray<Trip> }
  | {
      readonly _tag: "Custom"
      readonly name: string
      readonly over: Window.Over
      readonly predicate: Predicate<never>
      /** The decoded parameters; `undefined` if the trip has none. */
      readonly parameters?: unknown
    }

/**
 * Decides for {@link custom}, from what it sees and from the parameters of the trip. It must not have side effects. If it throws, it does
 * not trip, and the circuit reports this.
 *
 * @category models
 * @since 0.1.0
 */
export type Predicate<P = undefined> = (seen: Seen, parameters: P) => boolean

/**
 * What a custom trip sees.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen extends Window.Counts {
  /** Failures in a row, up to now. */
  readonly streak: number
  /** Share of the calls in the window that failed, 0 when there are none. */
  readonly failureRate: number
  /** Share of the calls in the window that were slow, 0 when there are none. */
  readonly slowRate: number
  /** Calls in flight. */
  readonly running: number
  /** How often the circuit has opened without staying closed long enough in between. */
  readonly openings: number
  /** Wall clock, milliseconds since 1970: for rules that depend on the time of day. */
  readonly time: number
}

/**
 * What the interpreter reads. One process implements it on its own windows, a fleet on pooled ones.
 *
 * @category models
 * @since 0.1.0
 */
export interface Evidence {
  readonly streak: number
  readonly running: number
  readonly openings: number
  readonly time: number
  counts(over: Window.Over): Window.Counts
  /** How many calls in flight started at least `millis` ago; counting may stop at `enough`. */
  stuck(millis: number, enough: number): number
}

/**
 * A window as written: a number is a count of calls, anything else a duration.
 *
 * @category inputs
 * @since 0.1.0
 */
export type OverInput = number | Exclude<Duration.Input, number | bigint>

/**
 * A trip as written in code or configuration, not yet checked. The constructors of this module make these; a policy that
 * is decoded checks them and says which field is wrong.
 *
 * @category inputs
 * @since 0.1.0
 */
export type Input =
  | { readonly _tag: "Consecutive"; readonly failures: number }
  | {
      readonly _tag: "FailureRate" | "SlowRate"
      readonly threshold: number
      readonly minimumCalls: number
      readonly over: OverInput
    }
  | { readonly _tag: "Failures"; readonly atLeast: number; readonly of: OverInput }
  | { readonly _tag: "Weighted"; readonly atLeast: number; readonly over: OverInput }
  | { readonly _tag: "Stuck"; readonly calls: number; readonly olderThan: Duration.Input }
  | { readonly _tag: "Any" | "All"; readonly trips: ReadonlyArray<Input> }
  | {
      readonly _tag: "Custom"
      readonly name: string
      readonly predicate?: Predicate<never>
      /** The schema of the parameters, where the trip is declared. */
      readonly schema?: unknown
      /** The parameters, where the trip is used. The schema of the declaration decodes them. */
      readonly parameters?: Readonly<Record<string, unknown>>
      readonly over?: OverInput
    }

/**
 * Trips at `failures` failures in a row.
 *
 * @category constructors
 * @since 0.1.0
 */
export const consecutive = (failures: number): Input => ({ _tag: "Consecutive", failures })

/**
 * Trips at `atLeast` failures among the calls of a window: `failures({ atLeast: 2, of: 5 })` is two of the last five,
 * `failures({ atLeast: 10, of: "1 minute" })` is ten within a minute.
 *
 * @category constructors
 * @since 0.1.0
 */
export const failures = (options: { readonly atLeast: number; readonly of: OverInput }): Input => ({
  _tag: "Failures",
  ...options
})

/**
 * Trips when the share of failed calls in a window reaches `threshold`, a number above 0 and at most 1, once the window
 * holds `minimumCalls`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const failureRate = (options: {
  readonly threshold: number
  readonly minimumCalls: number
  readonly over: OverInput
}): Input => ({ _tag: "FailureRate", ...options })

/**
 * Trips when the share of slow calls in a window reaches `threshold`. A call is slow when it takes at least the policy's
 * `slowCall`, whether it succeeds or fails.
 *
 * @category constructors
 * @since 0.1.0
 */
export const slowRate = (options: {
  readonly threshold: number
  readonly minimumCalls: number
  readonly over: OverInput
}): Input => ({ _tag: "SlowRate", ...options })

/**
 * Trips when `calls` calls have been running for at least `olderThan`: a dependency that hangs is noticed before
 * anything times out. It is also evaluated when a call arrives, as nothing else happens while everything hangs.
 *
 * @category constructors
 * @since 0.1.0
 */
export const stuck = (options: { readonly calls: number; readonly olderThan: Duration.Input }): Input => ({
  _tag: "Stuck",
  ...options
})

/**
 * Trips when the weights of the failures in a window add up to `atLeast`. `Outcome.failure({ weight })` gives a failure
 * its weight; without one it weighs 1.
 *
 * @category constructors
 * @since 0.1.0
 */
export const weighted = (options: { readonly atLeast: number; readonly over: OverInput }): Input => ({
  _tag: "Weighted",
  ...options
})

/**
 * Trips when one of them does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const any = (...trips: ReadonlyArray<Input>): Input => ({ _tag: "Any", trips })

/**
 * Trips when all of them do at the same moment.
 *
 * @category constructors
 * @since 0.1.0
 */
export const all = (...trips: ReadonlyArray<Input>): Input => ({ _tag: "All", trips })

/**
 * A rule of your own. It sees the counts of the window `over` (default: the last 100 calls).
 *
 * Give the rule to `BreakerPolicy.layer({ trips: [...] })`. Code and configuration can then name it: `Trip.custom("strict")`, or
 * `{ "_tag": "Custom", "name": "strict" }`. If the rule has parameters, its declaration has their `Schema`, which needs no services, and
 * each use has its own values:
 *
 * ```ts
 * import { Schema } from "effect"
 * import { BreakerPolicy, Trip } from "effect-fuse"
 *
 * const timeOfDay = Trip.custom(
 *   "timeOfDay",
 *   ({ streak, time }, { day, night }) => streak >= (new Date(time).getUTCHours() < 6 ? night : day),
 *   { parameters: Schema.Struct({ day: Schema.Int, night: Schema.Int }) }
 * )
 * const Policies = BreakerPolicy.layer({
 *   trips: [timeOfDay],
 *   breakers: {
 *     mail: { trip: Trip.custom("timeOfDay", { day: 5, night: 10 }) },
 *     bank: { trip: { _tag: "Custom", name: "timeOfDay", parameters: { day: 3, night: 2 } } }
 *   }
 * })
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const custom: {
  <P>(
    name: string,
    predicate: Predicate<P>,
    options: { readonly parameters: { readonly Type: P }; readonly over?: OverInput }
  ): Input
  (name: string, predicate: Predicate, options?: { readonly over?: OverInput }): Input
  (name: string, parameters?: Readonly<Record<string, unknown>>, options?: { readonly over?: OverInput }): Input
} = (
  name: string,
  given?: Predicate<never> | Readonly<Record<string, unknown>>,
  options: { readonly parameters?: unknown; readonly over?: OverInput } = {}
): Input => {
  const { parameters: schema, ...rest } = options
  if (typeof given !== "function") return { _tag: "Custom", name, ...(given && { parameters: given }), ...rest }
  const declared = schema === undefined ? {} : { schema }
  return { _tag: "Custom", name, predicate: given, ...declared, ...rest }
}

/**
 * The windows that a trip reads, each once.
 *
 * @category getters
 * @since 0.1.0
 */
export const windows = (trip: Trip): ReadonlyArray<Window.Over> => {
  const found = new Map<string, Window.Over>()
  visit(trip, (leaf) => {
    if ("over" in leaf) {
      const { over } = leaf
      found.set(over._tag === "Calls" ? `${over.calls} calls` : `${over.millis} ms`, over)
    }
  })
  return [...found.values()]
}

/**
 * Whether a trip has to know how long the calls in flight have been running.
 *
 * @category getters
 * @since 0.1.0
 */
export const watchesRunning = (trip: Trip): boolean => {
  let found = false
  visit(trip, (leaf) => {
    if (leaf._tag === "Stuck") found = true
  })
  return found
}

/**
 * The part of a trip that calls in flight may set off by themselves, when another call arrives: nothing else happens while
 * everything hangs. The other rules wait for a failure.
 *
 * @category getters
 * @since 0.1.0
 */
export const onArrival = (trip: Trip): Trip | undefined => {
  if (trip._tag === "Stuck") return trip
  if (trip._tag === "All") return watchesRunning(trip) ? trip : undefined
  if (trip._tag !== "Any") return undefined
  const trips = trip.trips.flatMap((one) => onArrival(one) ?? [])
  return trips.length === 0 ? undefined : { _tag: "Any", trips }
}

const visit = (trip: Trip, f: (leaf: Trip) => void): void => {
  if (trip._tag === "Any" || trip._tag === "All") for (const one of trip.trips) visit(one, f)
  else f(trip)
}

/**
 * The part of a trip that says "open", or nothing: of `any` the first that does, of `all` the whole.
 *
 * @category interpreters
 * @since 0.1.0
 */
export const tripped = (trip: Trip, evidence: Evidence): Trip | undefined => {
  switch (trip._tag) {
    case "Consecutive":
      return evidence.streak >= trip.failures ? trip : undefined
    case "FailureRate": {
      const { calls, failures } = evidence.counts(trip.over)
      return calls >= trip.minimumCalls && failures > 0 && failures / calls >= trip.threshold ? trip : undefined
    }
    case "SlowRate": {
      const { calls, slow } = evidence.counts(trip.over)
      return calls >= trip.minimumCalls && slow > 0 && slow / calls >= trip.threshold ? trip : undefined
    }
    case "Failures":
      return evidence.counts(trip.over).failures >= trip.atLeast ? trip : undefined
    case "Weighted":
      return evidence.counts(trip.over).weight >= trip.atLeast ? trip : undefined
    case "Stuck":
      return evidence.stuck(trip.olderThanMillis, trip.calls) >= trip.calls ? trip : undefined
    case "Any": {
      for (const one of trip.trips) {
        const found = tripped(one, evidence)
        if (found !== undefined) return found
      }
      return undefined
    }
    case "All":
      return trip.trips.every((one) => tripped(one, evidence) !== undefined) ? trip : undefined
    case "Custom":
      // The schema of the predicate has decoded the parameters.
      return (trip.predicate as Predicate<unknown>)(seen(evidence, trip.over), trip.parameters) ? trip : undefined
  }
}

const seen = (evidence: Evidence, over: Window.Over): Seen => {
  const counts = evidence.counts(over)
  return {
    ...counts,
    streak: evidence.streak,
    failureRate: counts.calls === 0 ? 0 : counts.failures / counts.calls,
    slowRate: counts.calls === 0 ? 0 : counts.slow / counts.calls,
    running: evidence.running,
    openings: evidence.openings,
    time: evidence.time
  }
}

/**
 * A trip and what it saw, in words: `5 failures in a row (limit 5)`.
 *
 * @category interpreters
 * @since 0.1.0
 */
export const describe = (trip: Trip, evidence: Evidence): string => {
  switch (trip._tag) {
    case "Consecutive":
      return `${failed(evidence.streak)} in a row (limit ${trip.failures})`
    case "FailureRate": {
      const { calls, failures } = evidence.counts(trip.over)
      return `${failures} of ${calls} calls failed ${within(trip.over)} (limit ${percent(trip.threshold)})`
    }
    case "SlowRate": {
      const { calls, slow } = evidence.counts(trip.over)
      return `${slow} of ${calls} calls were slow ${within(trip.over)} (limit ${percent(trip.threshold)})`
    }
    case "Failures":
      return `${failed(evidence.counts(trip.over).failures)} ${within(trip.over)} (limit ${trip.atLeast})`
    case "Weighted":
      return `failures weighing ${round(evidence.counts(trip.over).weight)} ${within(trip.over)} (limit ${round(trip.atLeast)})`
    case "Stuck":
      return `${trip.calls} or more calls running for ${Duration.format(Duration.millis(trip.olderThanMillis))} or longer`
    case "Any":
    case "All": {
      const words = trip.trips.map((one) => describe(one, evidence)).join(trip._tag === "Any" ? ", or " : ", and ")
      return `(${words})`
    }
    case "Custom":
      return `custom trip "${trip.name}"${trip.parameters === undefined ? "" : ` ${show(trip.parameters)}`}`
  }
}

const failed = (n: number): string => (n === 1 ? "1 failure" : `${n} failures`)

const within = (over: Window.Over): string =>
  over._tag === "Calls" ? `in the last ${over.calls} calls` : `in ${Duration.format(Duration.millis(over.millis))}`

const percent = (share: number): string => `${round(share * 100)}%`

/** As many digits as a person reads, and never so few that a figure looks to be on the other side of its limit. */
const round = (n: number): number => Number(n >= 0.01 ? n.toFixed(2) : n.toPrecision(1))
