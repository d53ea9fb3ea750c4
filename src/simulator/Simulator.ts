/**
 * Compares policies on the same calls, to choose thresholds.
 *
 * Provide calls that were recorded (a trace of times, outcomes and durations) or calls that are generated (a load with outages), and
 * several policies by name. The simulator runs the calls against the real engine in virtual time. For each policy, it reports how many
 * calls failed, how many were rejected and how many of those would have succeeded, how soon the circuit opened and closed, and how often it
 * opened without an outage.
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
 * A run of {@link run} has one process and one circuit, and its callers do not retry. {@link play} has several processes that call a
 * server with workers and a queue, time out and try again: overload builds up as in production. {@link scenario} returns one of ten such cases.
 *
 * ```ts
 * import { Effect } from "effect"
 * import * as Simulator from "effect-fuse/Simulator"
 *
 * const { callers, server, window } = Simulator.scenario("retry-storm")
 * const one = { callers, server, window, for: "2 minutes" } as const
 * const played = Effect.all([Simulator.play(one), Simulator.play({ ...one, policy: {} })])
 *
 * const [without, breaker] = await Effect.runPromise(played)
 * without.share // => 0
 * breaker.share > 0.5 // => true
 * ```
 */
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { PreventSchedulerYield } from "effect/Scheduler"
import {
  anyMillis,
  decodeArgument,
  decodeOptions,
  field,
  isRecord,
  listOf,
  optional,
  positiveMillis,
  shareOrZero,
  struct,
  word
} from "../core/fields.ts"
import * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import { callRate, checkCallCount, seedField } from "./fields.ts"
import * as figures from "./figures.ts"
import * as picture from "./picture.ts"
import { play as playTrace } from "./play.ts"
import * as playOptions from "./playOptions.ts"
import { circuitName, playServer } from "./playServer.ts"
import * as internal from "./report.ts"
import { type ScenarioName, scenarioNames } from "./scenarioNames.ts"
import * as scenarios from "./scenarios.ts"
import * as serverPicture from "./serverPicture.ts"
import { generate, outagesOf, parse, type TracedCall, type TracedOutage } from "./trace.ts"

export type { PlayReport } from "./figures.ts"
export type {
  /**
   * How a call ended.
   *
   * @category models
   */
  Fate,
  /**
   * A transition of the circuit. Times are milliseconds from the start.
   *
   * @category models
   */
  PlayedMove as Move
} from "./play.ts"
export type { Callers, Fault, PlayOptions, Protection, SimulatedServer as Server } from "./playOptions.ts"
export type { CircuitMove, PlayedSecond } from "./playServer.ts"
export type {
  /**
   * How the circuit reacted to one outage. Times are milliseconds; `undefined` if the circuit did not open or close.
   *
   * @category models
   */
  OutageView,
  /**
   * The result for one policy. Times are milliseconds.
   *
   * @category models
   */
  Report
} from "./report.ts"
export { type ScenarioName, scenarioNames } from "./scenarioNames.ts"
export type { Scenario } from "./scenarios.ts"
export type {
  /**
   * A call that a caller wants to make, and how it ends if it reaches the dependency.
   *
   * @category models
   */
  TracedCall as Call,
  /**
   * A period in which the dependency is down.
   *
   * @category models
   */
  TracedOutage as Outage
} from "./trace.ts"

/**
 * The calls of a simulation, in order of time, and the outages.
 *
 * @category models
 */
export interface Trace {
  readonly calls: ReadonlyArray<TracedCall>
  readonly outages: ReadonlyArray<TracedOutage>
  /** The duration in milliseconds. */
  readonly millis: number
}

/**
 * The options of {@link load}.
 *
 * @category options
 */
export interface LoadOptions {
  /** The mean number of calls per second, at random times: above 0 and at most 100,000. At most 10 million calls in total. */
  readonly rate: number
  readonly for: Duration.Input
  /** The mean duration of a call. Default: 50 milliseconds. */
  readonly duration?: Duration.Input | undefined
  /** The fraction of calls that fail outside of outages. Default: 0. */
  readonly errors?: number | undefined
  readonly outages?:
    | ReadonlyArray<{
        /** The start of the outage. */
        readonly at: Duration.Input
        readonly for: Duration.Input
        /** The fraction of calls that fail. Default: 1. */
        readonly errors?: number | undefined
        /** The mean duration of a call in the outage. Default: the load's `duration`. */
        readonly duration?: Duration.Input | undefined
      }>
    | undefined
  /** The seed of the random numbers: the same seed gives the same load. Default: 1. */
  readonly seed?: number | undefined
}

const outageFields = struct({
  at: anyMillis,
  for: positiveMillis,
  errors: optional(shareOrZero),
  duration: optional(anyMillis)
})
const loadFields = {
  rate: callRate,
  for: positiveMillis,
  duration: optional(anyMillis),
  errors: optional(shareOrZero),
  outages: optional(listOf(outageFields)),
  seed: optional(seedField)
}

/**
 * Generates calls. Throws a `RangeError` that names the invalid option.
 *
 * @category traces
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
  checkCallCount("Simulator.load", "rate", rate, millis)
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
 * The text is not a valid trace. The message says where, and what was expected.
 *
 * @category errors
 */
export class TraceError extends Data.TaggedError("TraceError")<{ readonly message: string }> {}

/**
 * Reads recorded calls, as CSV or as a JSON list of objects. Both need the columns or fields `time`, `outcome` and `duration`, in any
 * order. Others are ignored.
 *
 * - `time`: milliseconds, or ISO 8601.
 * - `outcome`: `success`, `failure`, or an HTTP status, of which 5xx, 408 and 429 are failures.
 * - `duration`: milliseconds, or `hang`.
 *
 * The outages are the seconds in which most calls failed.
 *
 * @category traces
 */
export const parseTrace = (text: string): Result.Result<Trace, TraceError> =>
  Result.mapBoth(parse(text), {
    onFailure: (message) => new TraceError({ message }),
    onSuccess: (calls) => ({ calls, outages: outagesOf(calls), millis: (calls.at(-1)?.at ?? 0) + 1 })
  })

/**
 * The options of {@link run}.
 *
 * @category options
 */
export interface RunOptions {
  /** The time after which a caller gives up a call, which then counts as failed. Default: never. */
  readonly timeout?: Duration.Input | undefined
  /** The seed of the engine's random numbers: the same seed gives the same result. Default: 1. */
  readonly seed?: number | undefined
}

const runFields = { timeout: optional(positiveMillis), seed: optional(seedField) }

type PolicyInputs = Readonly<Record<string, BreakerPolicy.Input>>

const policiesField = field<PolicyInputs>("an object with one policy or more", (input) =>
  isRecord(input) && Object.keys(input).length > 0 ? (input as PolicyInputs) : undefined
)

/** Each policy, followed by the policies of its keys. */
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
 * Runs the calls against each policy. The reports have the order of the policies.
 *
 * A policy's `probe` is not run, as it would call the real dependency, and dependencies between circuits have no effect. Each entry in
 * `keys` of a policy is a separate policy, named `name/key`. Fails with a `PolicyError` that names the invalid field of a policy. Throws a
 * `RangeError` that names the invalid option.
 *
 * @category running
 */
export const run = (
  { calls, millis, outages }: Trace,
  policies: Readonly<Record<string, BreakerPolicy.Input>>,
  options: RunOptions = {}
): Effect.Effect<ReadonlyArray<internal.Report>, BreakerPolicy.PolicyError> => {
  const { seed = 1, timeout = Infinity } = decodeOptions("Simulator.run", runFields, options)
  const keyed = withKeys(decodeArgument("Simulator.run", "policies", policiesField, policies))
  const names = Object.keys(keyed)
  return playTrace(calls, names, { timeout, seed }).pipe(
    Effect.map((all) => all.map((played) => internal.report(played, calls, outages, millis))),
    Effect.provide(BreakerPolicy.layer({ breakers: keyed })),
    // Errors name the policies as the caller did.
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

// ---- Servers --------------------------------------------------------------------------------------------------------

/**
 * Plays callers against a server, with the real engine in virtual time. The processes share no store, so each has circuits of its own.
 *
 * Fails with a `PolicyError` that names the invalid field of the policy. Throws a `RangeError` that names the invalid option.
 *
 * @category servers
 */
export const play = (options: playOptions.PlayOptions): Effect.Effect<figures.PlayReport, BreakerPolicy.PolicyError> =>
  playAs("Simulator.play", "protection", options)

const playAs = (
  operation: string,
  name: string,
  options: playOptions.PlayOptions
): Effect.Effect<figures.PlayReport, BreakerPolicy.PolicyError> => {
  const { model, policy, window } = playOptions.decodePlay(operation, options)
  return Effect.scoped(playServer(model)).pipe(
    // A run is synchronous, however many processes it starts.
    Effect.provideService(PreventSchedulerYield, true),
    Effect.map((played) => figures.reportOf(name, played, window, model)),
    Effect.provide(BreakerPolicy.layer({ breakers: policy === undefined ? {} : { [circuitName]: policy } })),
    Effect.mapError(
      ({ problems }) =>
        new BreakerPolicy.PolicyError({
          problems: problems.map(({ message, path }) => ({
            message,
            path: path.replace(`breakers.${circuitName}`, "policy")
          }))
        })
    )
  )
}

/**
 * A scenario by its name: a server with a fault, its callers, and the protections to compare. Change it, and give it to {@link compare} or
 * {@link play}. Throws a `RangeError` if there is no such scenario.
 *
 * @category servers
 */
export const scenario = (name: ScenarioName): scenarios.Scenario =>
  scenarios.scenario(decodeArgument("Simulator.scenario", "name", word(...scenarioNames), name))

/**
 * Plays a scenario with each of its protections. The reports have the order of the protections.
 *
 * @category servers
 */
export const compare = (
  { callers, for: lasts, protections, server, window }: scenarios.Scenario,
  options: { readonly seed?: number | undefined } = {}
): Effect.Effect<ReadonlyArray<figures.PlayReport>, BreakerPolicy.PolicyError> => {
  const { seed = 1 } = decodeOptions("Simulator.compare", { seed: optional(seedField) }, options)
  return Effect.forEach(Object.entries(protections), ([name, protection]) =>
    playAs("Simulator.compare", name, { ...protection, server, callers, for: lasts, window, seed })
  )
}

// ---- Output ---------------------------------------------------------------------------------------------------------

/**
 * The columns of {@link toRows}.
 *
 * @category output
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
  millis === undefined || millis === Infinity ? "never" : `${(millis / 1_000).toFixed(1)}s`

/**
 * The reports as text, with one row per policy. If there are several outages, the times are those of the first.
 *
 * @category output
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
 * An SVG with one row per policy: the outcomes of the calls over time, and the circuit's states below.
 *
 * @category output
 */
export const toSvg = (reports: ReadonlyArray<internal.Report>): string => picture.svg(reports)

/**
 * An HTML page with {@link toSvg} and {@link toRows}.
 *
 * @category output
 */
export const toHtml = (reports: ReadonlyArray<internal.Report>): string =>
  picture.html("What each policy would have done", picture.svg(reports), columns, toRows(reports))

/**
 * The columns of {@link toPlayRows}.
 *
 * @category output
 */
export const playColumns: ReadonlyArray<string> = [
  "protection",
  "answered/s",
  "of possible",
  "after",
  "sent",
  "needless rejections",
  "wasted work",
  "p99",
  "recovered after"
]

const percent = (share: number): string => `${(share * 100).toFixed(share > 0 && share < 0.01 ? 1 : 0)}%`

/**
 * The reports of {@link compare} as text, with one row per protection.
 *
 * @category output
 */
export const toPlayRows = (reports: ReadonlyArray<figures.PlayReport>): ReadonlyArray<ReadonlyArray<string>> =>
  reports.map((one) => [
    one.policy,
    one.goodput.toFixed(1),
    percent(one.share),
    one.shareAfter === undefined ? "-" : percent(one.shareAfter),
    `${one.sent.toFixed(2)}x`,
    percent(one.falseRejections),
    percent(one.wasted),
    one.p99 === undefined ? "-" : `${one.p99.toFixed(0)}ms`,
    one.recovery === undefined ? "-" : seconds(one.recovery)
  ])

/**
 * An SVG with one chart per protection: the calls over time, what the server could have answered, and the circuits' states below.
 *
 * @category output
 */
export const toPlaySvg = (scenario: scenarios.Scenario, reports: ReadonlyArray<figures.PlayReport>): string =>
  serverPicture.svg(scenario, reports)

/**
 * An HTML page with {@link toPlaySvg} and {@link toPlayRows}.
 *
 * @category output
 */
export const toPlayHtml = (scenario: scenarios.Scenario, reports: ReadonlyArray<figures.PlayReport>): string =>
  picture.html(scenario.title, serverPicture.svg(scenario, reports), playColumns, toPlayRows(reports))
