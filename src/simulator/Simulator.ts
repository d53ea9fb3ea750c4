/**
 * What policies would have made of the same calls: to choose thresholds by looking.
 *
 * Give it calls as they were (a trace of times, outcomes and durations) or as they might be (a described load with outages), and
 * policies by name. It plays them against the real engine in virtual time, and says of each policy how many calls failed, were
 * rejected, or were rejected for nothing; how soon it opened and closed; and how often it opened without need.
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Trip } from "effect-fuse"
 * import * as Simulator from "effect-fuse/Simulator"
 *
 * const calls = Simulator.load({
 *   rate: 20,
 *   for: "2 minutes",
 *   errors: 0.02,
 *   outages: [{ at: "30 seconds", for: "20 seconds" }]
 * })
 * const compared = Simulator.run(calls, {
 *   usual: {},
 *   hasty: { trip: Trip.consecutive(1), cooldown: "5 seconds" }
 * })
 *
 * const [usual, hasty] = await Effect.runPromise(compared)
 * usual?.flaps // => 0
 * (hasty?.flaps ?? 0) > 10 // => true
 * ```
 *
 * It is about one process and one circuit. Callers of a simulation do not retry, and do not come back.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import {
  anyMillis,
  decodeArgument,
  decodeOptions,
  field,
  isRecord,
  listOf,
  numberWhere,
  optional,
  positiveMillis,
  refused,
  shareOrZero,
  struct
} from "../core/fields.ts"
import * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import * as picture from "./picture.ts"
import { play } from "./play.ts"
import * as internal from "./report.ts"
import { generate, outagesOf, parse, type TracedCall, type TracedOutage } from "./trace.ts"

export type {
  /**
   * What became of a call.
   *
   * @category models
   * @since 0.1.0
   */
  Fate,
  /**
   * One move of the circuit, in milliseconds from the beginning.
   *
   * @category models
   * @since 0.1.0
   */
  PlayedMove as Move
} from "./play.ts"
export type {
  /**
   * How one outage went, in milliseconds; `undefined` for what did not come to pass.
   *
   * @category models
   * @since 0.1.0
   */
  OutageView,
  /**
   * What one policy would have done. Times are milliseconds.
   *
   * @category models
   * @since 0.1.0
   */
  Report
} from "./report.ts"
export type {
  /**
   * A call that somebody wants to make, and what the dependency makes of it if it gets there.
   *
   * @category models
   * @since 0.1.0
   */
  TracedCall as Call,
  /**
   * A time in which the dependency is down.
   *
   * @category models
   * @since 0.1.0
   */
  TracedOutage as Outage
} from "./trace.ts"

/**
 * The calls of a simulation, in order of time, and when the dependency was down.
 *
 * @category models
 * @since 0.1.0
 */
export interface Trace {
  readonly calls: ReadonlyArray<TracedCall>
  readonly outages: ReadonlyArray<TracedOutage>
  /** How long it is, in milliseconds. */
  readonly millis: number
}

/**
 * @category options
 * @since 0.1.0
 */
export interface LoadOptions {
  /** How many calls a second, on average: they come by chance. No more than ten million in all. */
  readonly rate: number
  readonly for: Duration.Input
  /** How long a call takes, on average. Default 50 milliseconds. */
  readonly duration?: Duration.Input | undefined
  /** The share of calls that fail though nothing is down. Default 0. */
  readonly errors?: number | undefined
  readonly outages?:
    | ReadonlyArray<{
        /** When it begins. */
        readonly at: Duration.Input
        readonly for: Duration.Input
        /** The share of calls that fail. Default 1. */
        readonly errors?: number | undefined
        /** How long a call takes meanwhile. Default as always. */
        readonly duration?: Duration.Input | undefined
      }>
    | undefined
  /** What is left to chance is the same for the same one. Default 1. */
  readonly seed?: number | undefined
}

const rate = field(
  "a number above 0 and at most 100,000",
  numberWhere((n) => n > 0 && n <= 100_000)
)
/** More do not fit into memory. */
const mostCalls = 10_000_000
const whole = field("a whole number", numberWhere(Number.isSafeInteger))
const outageFields = struct({
  at: anyMillis,
  for: positiveMillis,
  errors: optional(shareOrZero),
  duration: optional(anyMillis)
})
const loadFields = {
  rate,
  for: positiveMillis,
  duration: optional(anyMillis),
  errors: optional(shareOrZero),
  outages: optional(listOf(outageFields)),
  seed: optional(whole)
}

/**
 * Calls as they might be. Throws a `RangeError` that names the option that is wrong.
 *
 * @category traces
 * @since 0.1.0
 */
export const load = (options: LoadOptions): Trace => {
  const {
    duration = 50,
    errors = 0,
    for: millis,
    outages = [],
    rate,
    seed = 1
  } = decodeOptions("Simulator.load", loadFields, options)
  if ((rate * millis) / 1_000 > mostCalls) {
    throw refused(
      "Simulator.load",
      "rate",
      `expected at most ${mostCalls} calls in all, got ${rate} a second for ${millis} ms`
    )
  }
  const down = outages.map((one) => ({
    from: one.at,
    until: one.at + one.for,
    errors: one.errors ?? 1,
    duration: one.duration ?? duration
  }))
  return {
    calls: generate({ rate, millis, duration, errors, outages: down, seed }),
    outages: down.map(({ from, until }) => ({ from, until })),
    millis
  }
}

/**
 * A text that is no trace: where, and what was expected.
 *
 * @category errors
 * @since 0.1.0
 */
export class TraceError extends Data.TaggedError("TraceError")<{ readonly message: string }> {}

/**
 * Calls as they were: CSV with the columns `time`, `outcome` and `duration`, in any order among others, or JSON, a list of objects
 * with these. `time` is in milliseconds or as ISO 8601, `outcome` is `success`, `failure` or a status of HTTP, `duration` is in
 * milliseconds, or `hang`. When the dependency was down is found in it: seconds in which most calls failed.
 *
 * @category traces
 * @since 0.1.0
 */
export const parseTrace = (text: string): Result.Result<Trace, TraceError> =>
  Result.mapBoth(parse(text), {
    onFailure: (message) => new TraceError({ message }),
    onSuccess: (calls) => ({ calls, outages: outagesOf(calls), millis: (calls.at(-1)?.at ?? 0) + 1 })
  })

/**
 * @category options
 * @since 0.1.0
 */
export interface RunOptions {
  /** When callers give up: such a call has failed. Default never. */
  readonly timeout?: Duration.Input | undefined
  /** What the engine leaves to chance is the same for the same one. Default 1. */
  readonly seed?: number | undefined
}

const runFields = { timeout: optional(positiveMillis), seed: optional(whole) }

type PolicyInputs = Readonly<Record<string, BreakerPolicy.Input>>

const policiesField = field<PolicyInputs>("an object with one policy or more", (input) =>
  isRecord(input) && Object.keys(input).length > 0 ? (input as PolicyInputs) : undefined
)

/** The policies, and after each one those of its keys. */
const withKeys = (policies: PolicyInputs): PolicyInputs =>
  Object.fromEntries(
    Object.entries(policies).flatMap(([name, policy]) => {
      const { keys, ...rest } = isRecord(policy) ? policy : {}
      const ofKeys = isRecord(keys) ? Object.entries(keys as PolicyInputs) : []
      const made = ofKeys.map(([key, one]) => [`${name}/${key}`, { ...rest, ...one }] as const)
      return [[name, policy] as const, ...made.filter(([name]) => !Object.hasOwn(policies, name))]
    })
  )

/**
 * Plays the calls against each policy, by name, and answers in that order. A health check (`probe`) is not run, as it would ask
 * the real dependency, and there is no other circuit to depend on. A key in `keys` of a policy is played as a policy of its own, which is
 * called `name/key`. Fails with a `PolicyError` that names the field of a policy that is wrong; throws a `RangeError` for an option that is.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (
  { calls, millis, outages }: Trace,
  policies: Readonly<Record<string, BreakerPolicy.Input>>,
  options: RunOptions = {}
): Effect.Effect<ReadonlyArray<internal.Report>, BreakerPolicy.PolicyError> => {
  const { seed = 1, timeout = Infinity } = decodeOptions("Simulator.run", runFields, options)
  const keyed = withKeys(decodeArgument("Simulator.run", "policies", policiesField, policies))
  const names = Object.keys(keyed)
  return play(calls, names, { timeout, seed }).pipe(
    Effect.map((all) => all.map((played) => internal.report(played, calls, outages, millis))),
    Effect.provide(BreakerPolicy.layer({ breakers: keyed })),
    // By the names that they were given here.
    Effect.mapError(
      ({ problems }) =>
        new BreakerPolicy.PolicyError({
          problems: problems.flatMap(({ message, path }) => {
            // The policy of the name has the same problem.
            const isOfKey = names.some((name) => !Object.hasOwn(policies, name) && path.startsWith(`breakers.${name}.`))
            return isOfKey ? [] : [{ message, path: path.replace(/^breakers\./, "") }]
          })
        })
    )
  )
}

// ---- Showing --------------------------------------------------------------------------------------------------------

/**
 * The columns of {@link toRows}.
 *
 * @category showing
 * @since 0.1.0
 */
export const columns: ReadonlyArray<string> = [
  "policy",
  "calls",
  "failed",
  "leaked",
  "rejected",
  "lost",
  "openings",
  "flaps",
  "time to open",
  "time to recover",
  "time not closed"
]

const seconds = (millis: number | undefined): string =>
  millis === undefined ? "never" : `${(millis / 1_000).toFixed(1)}s`

/**
 * The figures as texts, a row for each policy: of several outages the times of the first.
 *
 * @category showing
 * @since 0.1.0
 */
export const toRows = (reports: ReadonlyArray<internal.Report>): ReadonlyArray<ReadonlyArray<string>> =>
  reports.map((one) => {
    const [outage] = one.outages
    const { Closed: _, ...others } = one.timeIn
    return [
      one.policy,
      ...[one.calls, one.failed, one.leaked, one.rejected, one.lost, one.openings, one.flaps].map(String),
      outage === undefined ? "-" : seconds(outage.timeToOpen),
      outage === undefined ? "-" : seconds(outage.timeToRecover),
      seconds(Object.values(others).reduce((sum, millis) => sum + millis, 0))
    ]
  })

/**
 * A picture: what became of the calls over time and the states beneath, a row for each policy.
 *
 * @category showing
 * @since 0.1.0
 */
export const toSvg = (reports: ReadonlyArray<internal.Report>): string => picture.svg(reports)

/**
 * A page with {@link toSvg} and the figures.
 *
 * @category showing
 * @since 0.1.0
 */
export const toHtml = (reports: ReadonlyArray<internal.Report>): string =>
  picture.html(reports, columns, toRows(reports))
