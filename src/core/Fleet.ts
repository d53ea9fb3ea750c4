/**
 * How many processes agree on one circuit: what each says (its ballot), what that adds up to (the tally), and when the
 * circuit opens for all of them.
 *
 * Pure, as `Circuit` is: no clock, no store. A store only keeps records and adds up numbers; what they mean is
 * said here, once, for every store.
 *
 * @since 0.1.0
 */
import * as Circuit from "./Circuit.ts"
import * as Trip from "./Trip.ts"
import * as Window from "./Window.ts"

/**
 * When the fleet takes a suspicion seriously; durations in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface VotingRules {
  /** So many failures in a row make a process ask the others. */
  readonly suspectAfter: number
  /** The convictions must add up to more than this share of those who are asked. */
  readonly quorum: number
  /** Paces the ballots of one circuit, and after an inquiry decides when it is lost. It never makes silence count. */
  readonly holdMillis: number
  /** Only who completed a call within this time has a say. */
  readonly observationMillis: number
}

/**
 * @category models
 * @since 0.1.0
 */
export const defaults: VotingRules = { suspectAfter: 2, quorum: 0.5, holdMillis: 75, observationMillis: 30_000 }

/**
 * What one process last saw of a circuit. It is cumulative: said twice, late or out of turn, it does no harm.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ballot {
  /** From 0, its last call succeeded, to 1, so many failed in a row that it is sure, or it has opened by itself. */
  readonly conviction: number
  /** Whether its own circuit is open. */
  readonly open: boolean
  /** Its failures in a row. */
  readonly streak: number
  /** What the windows of its policy hold, in the order of `Trip.windows`. */
  readonly counts: ReadonlyArray<Window.Counts>
}

/** What counts as usual where little is known: so many calls, of which this share fails. */
const prior = { calls: 50, share: 0.02 }

/**
 * How sure a process is that has seen this many failures in a row: 1 at `suspectAfter` of them, where failures are rare.
 * Where they are usual, by what its windows held before, it takes as many as are as unlikely.
 *
 * @category ballots
 * @since 0.1.0
 */
export const conviction = (streak: number, counts: ReadonlyArray<Window.Counts>, rules: VotingRules): number => {
  if (streak === 0) return 0
  let widest = { calls: 0, failures: 0 }
  for (const one of counts) if (one.calls > widest.calls) widest = one
  // The streak itself is what is to be judged: usual is what was before it.
  const calls = Math.max(0, widest.calls - streak) + prior.calls
  const failures = Math.max(0, widest.failures - streak) + prior.calls * prior.share
  const usual = Math.min(0.5, Math.max(prior.share, failures / calls))
  return Math.min(1, (streak / rules.suspectAfter) * (Math.log(usual) / Math.log(prior.share)))
}

/** Shares and weights are kept as whole thousandths: stores add them up without crumbs. */
const whole = 1000

const head = 4
const perWindow = 4

/**
 * A ballot as a store keeps it: whole numbers, added up place by place.
 *
 * @category ballots
 * @since 0.1.0
 */
export const toNumbers = (ballot: Ballot): ReadonlyArray<number> => [
  Math.round(ballot.conviction * whole),
  ballot.conviction > 0 ? 1 : 0,
  ballot.open ? 1 : 0,
  ballot.streak,
  ...ballot.counts.flatMap(({ calls, failures, slow, weight }) => [calls, failures, slow, Math.round(weight * whole)])
]

/**
 * The sum of the ballots in a box.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tally {
  /** How many processes have a ballot in the box. */
  readonly voters: number
  /** How many processes live, with or without a ballot. */
  readonly live: number
  /** At least this many live processes heard the latest roll call and have no ballot. */
  readonly abstained: number
  /** Milliseconds since the latest inquiry; `undefined` if there was none. */
  readonly asked: number | undefined
  readonly convictions: number
  /** How many are convinced at all. */
  readonly failing: number
  /** How many have opened by themselves. */
  readonly open: number
  readonly streak: number
  readonly counts: ReadonlyArray<Window.Counts>
}

/**
 * Reads what a store has added up.
 *
 * @category ballots
 * @since 0.1.0
 */
export const fromSums = (
  sums: ReadonlyArray<number>,
  said: Pick<Tally, "voters" | "live" | "abstained" | "asked">
): Tally => {
  // A malformed ballot must not keep the others from being counted.
  const at = (index: number): number => {
    const sum = sums[index] ?? 0
    return sum > 0 && sum < Infinity ? sum : 0
  }
  const counts: Array<Window.Counts> = []
  for (let i = head; i + perWindow <= sums.length; i += perWindow) {
    counts.push({ calls: at(i), failures: at(i + 1), slow: at(i + 2), weight: at(i + 3) / whole })
  }
  return { ...said, convictions: at(0) / whole, failing: at(1), open: at(2), streak: at(3), counts }
}

/**
 * How many processes might object to an opening: all live processes except those that abstained, and at least those that have a
 * ballot. A silent process counts, because it may not have heard the question.
 *
 * @category judging
 * @since 0.1.0
 */
export const voting = ({ abstained, live, voters }: Pick<Tally, "voters" | "live" | "abstained">): number =>
  Math.max(voters, live - abstained)

/**
 * What a trip is evaluated on when a fleet asks: streaks and counts added up. A process that is not convinced interrupts the
 * streaks of the others, by one. A window over the last n calls of each process becomes n calls with the shares that all of
 * them saw together.
 *
 * @category judging
 * @since 0.1.0
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
    // Calls that hang are each process's own matter: one that opens over them is heard as open.
    stuck: () => 0
  }
}

/**
 * What a tally comes to.
 *
 * @category models
 * @since 0.1.0
 */
export type Judgement =
  /** The circuit opens for all. `detail` says why, and ends with the number of processes that agreed. */
  | { readonly _tag: "Open"; readonly detail: string; readonly agreed: Circuit.Agreement }
  /** It would open if those that are silent abstained: they are asked by a roll call. */
  | { readonly _tag: "RollCall" }
  /** It would open, but the store is too young to know all that live: it is asked again later. */
  | { readonly _tag: "Young" }
  /** It may open yet. `agreed`: most that have a ballot are convinced, and more failures may do. */
  | { readonly _tag: "Wait"; readonly agreed: boolean }
  /** Most that answered an inquiry see no failure. */
  | { readonly _tag: "Lost" }

const wait: Judgement = { _tag: "Wait", agreed: false }
const agreed: Judgement = { _tag: "Wait", agreed: true }
const lost: Judgement = { _tag: "Lost" }
const rollCall: Judgement = { _tag: "RollCall" }
const youngStore: Judgement = { _tag: "Young" }

/**
 * Opens for all when three things hold. The convictions are more than the quorum of all that might object ({@link voting}). At
 * least two processes fail, unless only one lives. And the policy says so: its trip does on the pooled evidence, or as many
 * processes have opened by themselves.
 *
 * If only silence prevents that, the roll has to be called. Silence is never consent.
 *
 * @category judging
 * @since 0.1.0
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
  const seen = pooled(tally, trip, more)
  const tripped = Trip.tripped(trip, seen)
  const all = voting(tally)
  const most = convictions > rules.quorum * all
  const opens = (of: number): boolean => tripped !== undefined || open > rules.quorum * of
  if (most && opens(all)) {
    if (more.young === true) return youngStore
    const agreed = { processes: tripped === undefined ? open : failing, of: all }
    const detail = tripped === undefined ? opened(agreed) : `${Trip.describe(tripped, seen)}${together(agreed)}`
    return { _tag: "Open", detail, agreed }
  }
  return opens(voters) ? rollCall : agreed
}

const opened = ({ of, processes }: Circuit.Agreement): string => `${processes} of ${of} processes opened`

const together = ({ of, processes }: Circuit.Agreement): string =>
  of === 1 ? " in the only process" : ` in ${processes} of ${of} processes together`

/**
 * The `detail` of an opening without the number of processes that agreed, for a page that shows that number by itself.
 *
 * @category judging
 * @since 0.1.0
 */
export const withoutAgreement = (detail: string, agreed: Circuit.Agreement): string => {
  const end = together(agreed)
  if (detail.endsWith(end)) return detail.slice(0, -end.length)
  return detail === opened(agreed) ? "" : detail
}

/**
 * Whether a store has not been used for long enough to know all processes that live. They exchange at least once in each
 * interval.
 *
 * @category judging
 * @since 0.1.0
 */
export const isYoung = (liveForMillis: number, syncMillis: number): boolean => liveForMillis < 1.2 * syncMillis

/**
 * For how long a process lives after each exchange.
 *
 * @category judging
 * @since 0.1.0
 */
export const livesFor = (syncMillis: number): number => 1.5 * syncMillis + 1_000

/**
 * The age from which the roll is called again for the same box. An earlier call would fail, because every process would have to hear
 * it again.
 *
 * @category judging
 * @since 0.1.0
 */
export const rollCallEvery = (syncMillis: number): number => Math.max(30_000, 3 * syncMillis)

/**
 * Moves all times of a state: from one clock to another, or to "so many milliseconds from now".
 *
 * @category records
 * @since 0.1.0
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
 * A place for a probe under a token that no other place has, in any process.
 *
 * @category records
 * @since 0.1.0
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

/** What a store keeps longer than it must: a process may have been away for a while. */
const marginMillis = 60_000
/** That an override was lifted is remembered this long, so that nobody who was away brings it back. */
const liftedMillis = 86_400_000

/**
 * How long a store has to keep a record from now on; `undefined` for as long as it lives.
 *
 * An opening is kept beyond its end by as long as it lasted, so that it is probed and not forgotten, and a Closed circuit
 * until its openings no longer count.
 *
 * @category records
 * @since 0.1.0
 */
export const keptFor = (circuit: Circuit.Circuit, now: number, lifted = false): number | undefined => {
  const millis = kept(circuit, now, lifted ? liftedMillis : 0)
  return millis > longestMillis ? undefined : millis
}

/** A thousand years: what is kept for longer is kept for ever, as no store can count so far. */
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
 * Whether it is worth knowing for a process that has just come: anything but Closed, and a ramp while it lasts.
 *
 * @category records
 * @since 0.1.0
 */
export const isListed = (circuit: Circuit.Circuit, now: number): boolean =>
  circuit._tag !== "Closed" || now < circuit.rampUntil
