/**
 * When a Closed circuit opens.
 *
 * A trip is data with one interpreter, {@link tripped}. It can be written in code, read from configuration, compared and printed, and it
 * can be evaluated on the calls of one process or of a whole fleet. It is evaluated after a call that failed or was slow. It trips if the
 * unrounded value is at least the threshold (`>=`).
 */
import * as Duration from "effect/Duration"
import { show } from "./printable.ts"
import * as Window from "./Window.ts"

/**
 * A decoded trip, as policies have it: all values are checked, durations are in milliseconds, and custom trips have their predicates.
 *
 * @category models
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
 * The rule of a {@link custom} trip: returns whether the circuit opens. It must not have side effects. If it throws, the circuit does not
 * open, and the error is logged once for each circuit.
 *
 * @category models
 */
export type Predicate<P = undefined> = (seen: Seen, parameters: P) => boolean

/**
 * What the predicate of a custom trip gets: the counts of its window, and more.
 *
 * @category models
 */
export interface Seen extends Window.Counts {
  /** Failures in a row. */
  readonly streak: number
  /** Share of the calls in the window that failed, from 0 to 1. 0 if there are no calls. */
  readonly failureRate: number
  /** Share of the calls in the window that were slow, from 0 to 1. 0 if there are no calls. */
  readonly slowRate: number
  /** Calls in flight. */
  readonly running: number
  /** Openings in a row before now. They are forgotten once the circuit has stayed Closed for as long as its last opening. */
  readonly openings: number
  /** The wall clock, in milliseconds since 1970, for rules that depend on the time of day. */
  readonly time: number
}

/**
 * What {@link tripped} reads: the evidence of one process, or of all processes of a fleet (`Fleet.pooled`).
 *
 * @category models
 */
export interface Evidence {
  readonly streak: number
  readonly running: number
  readonly openings: number
  readonly time: number
  counts(over: Window.Over): Window.Counts
  /** The number of calls in flight that started at least `millis` ago. Counting may stop at `enough`. */
  stuck(millis: number, enough: number): number
}

/**
 * A window as written: a number is a number of calls, any other value is a duration.
 *
 * @category inputs
 */
export type OverInput = number | Exclude<Duration.Input, number | bigint>

/**
 * A trip as written in code or configuration. The constructors of this module make it. It is checked when its policy is decoded.
 *
 * @category inputs
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
      /** Only in a declaration: the schema of the parameters. */
      readonly schema?: unknown
      /** Only in a use: the parameters, which the schema of the declaration decodes. */
      readonly parameters?: Readonly<Record<string, unknown>>
      readonly over?: OverInput
    }

/**
 * Trips at `failures` failures in a row.
 *
 * @category constructors
 */
export const consecutive = (failures: number): Input => ({ _tag: "Consecutive", failures })

/**
 * Trips at `atLeast` failures in a window. `failures({ atLeast: 2, of: 5 })` means two of the last five calls, and
 * `failures({ atLeast: 10, of: "1 minute" })` means ten within a minute.
 *
 * @category constructors
 */
export const failures = (options: { readonly atLeast: number; readonly of: OverInput }): Input => ({
  _tag: "Failures",
  ...options
})

/**
 * Trips if the share of failed calls in a window is at least `threshold`, a number above 0 and at most 1. It does not trip before the
 * window has `minimumCalls` calls.
 *
 * @category constructors
 */
export const failureRate = (options: {
  readonly threshold: number
  readonly minimumCalls: number
  readonly over: OverInput
}): Input => ({ _tag: "FailureRate", ...options })

/**
 * Trips if the share of slow calls in a window is at least `threshold`, a number above 0 and at most 1. A call is slow if it takes at least
 * the `slowCall` of the policy, whether it succeeds or fails. It does not trip before the window has `minimumCalls` calls.
 *
 * @category constructors
 */
export const slowRate = (options: {
  readonly threshold: number
  readonly minimumCalls: number
  readonly over: OverInput
}): Input => ({ _tag: "SlowRate", ...options })

/**
 * Trips if `calls` calls have been running for at least `olderThan`. This detects a dependency that hangs before its calls time out. The
 * trip is also evaluated when a call arrives, because no call ends while all calls hang.
 *
 * @category constructors
 */
export const stuck = (options: { readonly calls: number; readonly olderThan: Duration.Input }): Input => ({
  _tag: "Stuck",
  ...options
})

/**
 * Trips if the weights of the failures in a window add up to at least `atLeast`. `Outcome.failure({ weight })` sets the weight of a
 * failure. Default weight: 1.
 *
 * @category constructors
 */
export const weighted = (options: { readonly atLeast: number; readonly over: OverInput }): Input => ({
  _tag: "Weighted",
  ...options
})

/**
 * Trips if at least one of the trips does.
 *
 * @category constructors
 */
export const any = (...trips: ReadonlyArray<Input>): Input => ({ _tag: "Any", trips })

/**
 * Trips if all of the trips do at the same time.
 *
 * @category constructors
 */
export const all = (...trips: ReadonlyArray<Input>): Input => ({ _tag: "All", trips })

/**
 * A trip with a rule of your own, which gets the counts of the window `over`. Default: the last 100 calls.
 *
 * Declare the trip in `BreakerPolicy.layer({ trips: [...] })`. Code and configuration can then use it by its name: `Trip.custom("strict")`,
 * or `{ "_tag": "Custom", "name": "strict" }`. A trip can have parameters. The declaration has their `Schema`, which must not need
 * services, and each use has its own values:
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
 */
export const windows = (trip: Trip): ReadonlyArray<Window.Over> => {
  const found: Array<Window.Over> = []
  visit(trip, (leaf) => {
    if ("over" in leaf && !found.some((over) => Window.sameOver(over, leaf.over))) found.push(leaf.over)
  })
  return found
}

/**
 * Whether a trip reads how long the calls in flight have been running.
 *
 * @category getters
 */
export const watchesRunning = (trip: Trip): boolean => {
  let found = false
  visit(trip, (leaf) => {
    if (leaf._tag === "Stuck") found = true
  })
  return found
}

/**
 * The part of a trip that is evaluated when a call arrives: the rules about calls in flight. `undefined` if there are none. All other rules
 * are evaluated only when a call ends.
 *
 * @category getters
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
 * The part of a trip that opens the circuit, or `undefined`. For `any` it is the first part that trips, for `all` it is the whole trip.
 *
 * @category interpreters
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
 * Describes a trip and its evidence, for example `5 failures in a row (limit 5)`.
 *
 * @category interpreters
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

/** Two decimals, or one significant digit for numbers below 0.01, which would be shown as 0. */
const round = (n: number): number => Number(n >= 0.01 ? n.toFixed(2) : n.toPrecision(1))
