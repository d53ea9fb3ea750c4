/**
 * How processes agree on one circuit: what each process has seen (its ballot), the sum of the ballots (the tally), and when the circuit
 * opens for all processes.
 *
 * These functions are pure: they use no clock and no store. A store only keeps records and adds up numbers. This module gives the
 * numbers their meaning, for every store.
 */
import * as Circuit from "./Circuit.ts"
import * as Trip from "./Trip.ts"
import * as Window from "./Window.ts"

/**
 * When processes ask each other about a circuit, and how many must agree. Durations are in milliseconds.
 *
 * @category models
 */
export interface VotingRules {
  /** After this many failures in a row, a process asks the other processes. */
  readonly suspectAfter: number
  /** The convictions must add up to more than this share of the processes that might object. */
  readonly quorum: number
  /** The time between two ballots of one circuit, and the time after which an inquiry may be lost. Silence is never consent. */
  readonly holdMillis: number
  /** Only processes that completed a call within this time have a ballot. */
  readonly observationMillis: number
}

/**
 * The rules of a policy that sets no others.
 *
 * @category models
 */
export const defaults: VotingRules = { suspectAfter: 2, quorum: 0.5, holdMillis: 75, observationMillis: 30_000 }

/**
 * What one process last saw of a circuit. A ballot replaces the one before, so sending it twice, late or out of order does no harm.
 *
 * @category models
 */
export interface Ballot {
  /**
   * How sure the process is that the dependency is down, from 0 (its last call succeeded) to 1 (its streak is long enough, or it has
   * opened the circuit by itself). See {@link conviction}.
   */
  readonly conviction: number
  /** Whether the process has opened its own circuit. */
  readonly open: boolean
  /** Failures in a row. */
  readonly streak: number
  /** The counts of the windows of the policy, in the order of `Trip.windows`. */
  readonly counts: ReadonlyArray<Window.Counts>
}

/** The assumed failure rate while few calls are counted: it weighs as much as 50 calls of which 2 % failed. */
const prior = { calls: 50, share: 0.02 }

/**
 * How sure a process is that the dependency is down after `streak` failures in a row, from 0 to 1. If failures are rare, it is sure at
 * `suspectAfter` failures. If its windows show that failures are common, it needs a longer streak, one that is equally unlikely by
 * chance.
 *
 * @category ballots
 */
export const conviction = (streak: number, counts: ReadonlyArray<Window.Counts>, rules: VotingRules): number => {
  if (streak === 0) return 0
  let widest = { calls: 0, failures: 0 }
  for (const one of counts) if (one.calls > widest.calls) widest = one
  // The usual failure rate is that of the calls before the streak.
  const calls = Math.max(0, widest.calls - streak) + prior.calls
  const failures = Math.max(0, widest.failures - streak) + prior.calls * prior.share
  const usual = Math.min(0.5, Math.max(prior.share, failures / calls))
  return Math.min(1, (streak / rules.suspectAfter) * (Math.log(usual) / Math.log(prior.share)))
}

/** Convictions and weights are sent as whole thousandths, so that sums are exact. */
const whole = 1000

const head = 4
const perWindow = 4

/**
 * A ballot as whole numbers. A store adds up the ballots of all processes, number by number.
 *
 * @category ballots
 */
export const toNumbers = (ballot: Ballot): ReadonlyArray<number> => [
  Math.round(ballot.conviction * whole),
  ballot.conviction > 0 ? 1 : 0,
  ballot.open ? 1 : 0,
  ballot.streak,
  ...ballot.counts.flatMap(({ calls, failures, slow, weight }) => [calls, failures, slow, Math.round(weight * whole)])
]

/**
 * The sum of the ballots of one circuit and epoch.
 *
 * @category models
 */
export interface Tally {
  /** The number of processes that have a ballot. */
  readonly voters: number
  /** The number of live processes, with or without a ballot. */
  readonly live: number
  /** The number of live processes that have read the latest roll call and have no ballot. It may be too low. */
  readonly abstained: number
  /** Milliseconds since the latest inquiry; `undefined` if there was none. */
  readonly asked: number | undefined
  /** The sum of the convictions. */
  readonly convictions: number
  /** The number of processes whose conviction is above 0. */
  readonly failing: number
  /** The number of processes that have opened their own circuit. */
  readonly open: number
  /** The sum of the streaks. */
  readonly streak: number
  readonly counts: ReadonlyArray<Window.Counts>
}

/**
 * Makes a tally from the sums of {@link toNumbers} that a store has added up.
 *
 * @category ballots
 */
export const fromSums = (
  sums: ReadonlyArray<number>,
  rest: Pick<Tally, "voters" | "live" | "abstained" | "asked">
): Tally => {
  // A malformed ballot must not prevent the others from being counted.
  const at = (index: number): number => {
    const sum = sums[index] ?? 0
    return sum > 0 && sum < Infinity ? sum : 0
  }
  const counts: Array<Window.Counts> = []
  for (let i = head; i + perWindow <= sums.length; i += perWindow) {
    counts.push({ calls: at(i), failures: at(i + 1), slow: at(i + 2), weight: at(i + 3) / whole })
  }
  return { ...rest, convictions: at(0) / whole, failing: at(1), open: at(2), streak: at(3), counts }
}

/**
 * How many processes might object to an opening: all live processes except those that abstained, but at least those that have a
 * ballot. A silent process counts, because it may not have read the question yet.
 *
 * @category judging
 */
export const voting = ({ abstained, live, voters }: Pick<Tally, "voters" | "live" | "abstained">): number =>
  Math.max(voters, live - abstained)

/**
 * The evidence of all processes together, for the trip of the policy. Streaks and counts are added up. Each process whose last call
 * succeeded shortens the sum of the streaks by one. A window over the last n calls becomes n calls with the rates of all processes.
 *
 * @category judging
 */
export const pooled = (
  tally: Tally,
  trip: Trip.Trip,
  more: { readonly openings: number; readonly time: number }
): Trip.Evidence => {
  const overs = Trip.windows(trip)
  return {
    streak: Math.max(0, tally.streak - (tally.voters - tally.failing)),
    running: 0,
    openings: more.openings,
    time: more.time,
    counts: (over) => {
      const found = tally.counts[overs.findIndex((one) => Window.sameOver(one, over))]
      if (found === undefined) return { calls: 0, failures: 0, slow: 0, weight: 0 }
      if (over._tag === "Time" || found.calls <= over.calls) return found
      const share = over.calls / found.calls
      return {
        calls: over.calls,
        failures: found.failures * share,
        slow: found.slow * share,
        weight: found.weight * share
      }
    },
    // Each process decides about its own stuck calls. If it opens, its ballot says so.
    stuck: () => 0
  }
}

/**
 * The result of {@link judge}.
 *
 * @category models
 */
export type Judgement =
  /** The circuit opens for all processes. `detail` says why, and ends with the number of processes that agreed. */
  | { readonly _tag: "Open"; readonly detail: string; readonly agreed: Circuit.Agreement }
  /** The circuit would open if the silent processes abstained: a roll call has to ask them. */
  | { readonly _tag: "RollCall" }
  /** The circuit would open, but the store is too new to know all live processes: judge again later. */
  | { readonly _tag: "Young" }
  /** Not yet. `agreed`: most processes with a ballot are convinced, and more failures can open the circuit. */
  | { readonly _tag: "Wait"; readonly agreed: boolean }
  /** Most of the processes that answered the inquiry see no failure. */
  | { readonly _tag: "Lost" }

const wait: Judgement = { _tag: "Wait", agreed: false }
const agreed: Judgement = { _tag: "Wait", agreed: true }
const lost: Judgement = { _tag: "Lost" }
const rollCall: Judgement = { _tag: "RollCall" }
const youngStore: Judgement = { _tag: "Young" }

/**
 * Decides whether a circuit opens for all processes. It opens if three conditions are true:
 *
 * - The convictions add up to more than the quorum of the processes that might object (see {@link voting}).
 * - At least two processes see failures, or only one process is live.
 * - The trip of the policy trips on the evidence of all processes, or more than the quorum have opened their own circuits.
 *
 * If only silent processes prevent this, the result is `RollCall`. Silence is never consent.
 *
 * @category judging
 */
export const judge = (
  tally: Tally,
  trip: Trip.Trip,
  rules: VotingRules,
  more: { readonly openings: number; readonly time: number; readonly young?: boolean }
): Judgement => {
  const { asked, convictions, failing, live, open, voters } = tally
  if (convictions <= rules.quorum * voters) {
    const answered = asked !== undefined && asked >= rules.holdMillis
    return answered && convictions < (rules.quorum * voters) / 2 ? lost : wait
  }
  if (failing < Math.min(2, Math.max(1, live))) return wait
  const evidence = pooled(tally, trip, more)
  const tripped = Trip.tripped(trip, evidence)
  const all = voting(tally)
  const most = convictions > rules.quorum * all
  const opens = (of: number): boolean => tripped !== undefined || open > rules.quorum * of
  if (most && opens(all)) {
    if (more.young === true) return youngStore
    const agreed = { processes: tripped === undefined ? open : failing, of: all }
    const detail = tripped === undefined ? opened(agreed) : `${Trip.describe(tripped, evidence)}${together(agreed)}`
    return { _tag: "Open", detail, agreed }
  }
  return opens(voters) ? rollCall : agreed
}

const opened = ({ of, processes }: Circuit.Agreement): string => `${processes} of ${of} processes opened`

const together = ({ of, processes }: Circuit.Agreement): string =>
  of === 1 ? " in the only process" : ` in ${processes} of ${of} processes together`

/**
 * The `detail` of an opening without the number of processes that agreed, for output that shows this number separately.
 *
 * @category judging
 */
export const withoutAgreement = (detail: string, agreed: Circuit.Agreement): string => {
  const end = together(agreed)
  if (detail.endsWith(end)) return detail.slice(0, -end.length)
  return detail === opened(agreed) ? "" : detail
}

/**
 * Whether a store has been used for too short a time to know all live processes. Each process sends a heartbeat at least once in
 * `syncMillis`.
 *
 * @category judging
 */
export const isYoung = (liveForMillis: number, syncMillis: number): boolean => liveForMillis < 1.2 * syncMillis

/**
 * How many milliseconds after its latest heartbeat a process counts as live.
 *
 * @category judging
 */
export const livesFor = (syncMillis: number): number => 1.5 * syncMillis + 1_000

/**
 * The minimum time between two roll calls about the same circuit and epoch, in milliseconds. An earlier one would cancel the roll call
 * in progress, because every process would have to read the new one first.
 *
 * @category judging
 */
export const rollCallEvery = (syncMillis: number): number => Math.max(30_000, 3 * syncMillis)

/**
 * Adds `by` milliseconds to all times of a state, to convert them to another clock or to times relative to now.
 *
 * @category records
 */
export const shift = <C extends Circuit.Circuit>(circuit: C, by: number): C => shifted(circuit, by) as C

const shiftOutage = (outage: Circuit.Outage, by: number): Circuit.Outage => ({ ...outage, since: outage.since + by })

const shifted = (circuit: Circuit.Circuit, by: number): Circuit.Circuit => {
  const since = circuit.since + by
  switch (circuit._tag) {
    case "Closed":
      return { ...circuit, since, rampUntil: circuit.rampUntil === 0 ? 0 : circuit.rampUntil + by }
    case "Open":
      return { ...circuit, since, until: circuit.until + by, outage: shiftOutage(circuit.outage, by) }
    case "HalfOpen":
      return {
        ...circuit,
        since,
        outage: shiftOutage(circuit.outage, by),
        leases: circuit.leases.map(({ id, until }) => ({ id, until: until + by }))
      }
    default:
      return {
        ...circuit,
        since,
        until: circuit.until + by,
        others: circuit.others.map((one) => ({ ...one, since: one.since + by, until: one.until + by })),
        under: shift(circuit.under, by)
      }
  }
}

/**
 * Takes a lease for a probe, as `Circuit.probe` does, with `token` as its id. The token must be unique in the fleet.
 *
 * @category records
 */
export const lease = (
  circuit: Circuit.Open | Circuit.HalfOpen,
  token: number,
  now: number,
  rules: Circuit.Rules
): Circuit.HalfOpen => {
  const taken = Circuit.probe(circuit, now, rules)
  return { ...taken, leases: taken.leases.map((one) => (one.id === taken.nextLease - 1 ? { ...one, id: token } : one)) }
}

/** A store keeps a record for this much longer than necessary, for processes that had no connection for a while. */
const marginMillis = 60_000
/** A record after the end of an override is kept for one day, so that a process without a connection does not set the override again. */
const liftedMillis = 86_400_000

/**
 * How many milliseconds from now a store has to keep a record; `undefined` for as long as the store exists. `lifted`: an override of the
 * circuit has ended.
 *
 * An opening is kept for twice its length, so that it is probed and not forgotten. A Closed circuit is kept until its openings no
 * longer count.
 *
 * @category records
 */
export const keptFor = (circuit: Circuit.Circuit, now: number, lifted = false): number | undefined => {
  const millis = kept(circuit, now, lifted ? liftedMillis : 0)
  return millis > longestMillis ? undefined : millis
}

/** A thousand years. Stores cannot represent longer times, so such a record is kept for ever. */
const longestMillis = 365_000 * 86_400_000

const kept = (circuit: Circuit.Circuit, now: number, atLeast: number): number => {
  const rest = (until: number): number => Math.max(0, until - now)
  switch (circuit._tag) {
    case "Closed":
      return Math.max(circuit.openFor, rest(circuit.rampUntil), atLeast) + marginMillis
    case "Open":
      return rest(circuit.until) + (circuit.until - circuit.since) + Math.max(marginMillis, atLeast)
    case "HalfOpen":
      return rest(Math.max(now, ...circuit.leases.map(({ until }) => until))) + circuit.openFor + marginMillis
    default:
      return rest(Math.max(...Circuit.overrides(circuit).map(({ until }) => until))) + kept(circuit.under, now, atLeast)
  }
}

/**
 * Whether a process that starts has to read this record: the circuit is not Closed, or its ramp is not over.
 *
 * @category records
 */
export const isListed = (circuit: Circuit.Circuit, now: number): boolean =>
  circuit._tag !== "Closed" || now < circuit.rampUntil
