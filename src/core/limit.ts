/**
 * Limits how many calls of one circuit may be in flight at once while its dependency is overloaded.
 *
 * A limit is infinite until there is evidence of overload: timeouts, status 429, 503 or 529, or lateness if an objective is set. Bad
 * outcomes lower it and good outcomes raise it. It is infinite again after ten seconds without a rejection or a bad outcome. A plain
 * failure does not change it, because a fast error is no sign of overload.
 *
 * Time is an argument, in milliseconds of a monotonic clock.
 */

/**
 * The part of a policy that a limit reads; durations in milliseconds.
 */
export interface LimitRules {
  /** A success that takes longer counts as late. 0: the limit learns the usual duration, and lateness alone does not begin a limit. */
  readonly objectiveMillis: number
  /** At most this many calls in flight at any time; `Infinity` for no fixed bound. */
  readonly max: number
}

/**
 * Tells a limit how a call ended.
 *
 * - `Success`: the dependency answered.
 * - `TimedOut`: the caller stopped waiting.
 * - `Refused`: the dependency reported overload, for example with status 429, 503 or 529.
 * - `Neutral`: any other failure. It changes no limit.
 */
export type Ending = "Success" | "TimedOut" | "Refused" | "Neutral"

/** Whether an HTTP status means that the server is overloaded. 529 is not a standard status, but some APIs report overload with it. */
export const isOverloadStatus = (status: unknown): boolean => status === 429 || status === 503 || status === 529

/** A good outcome raises the limit by `up + add / limit`. */
const up = 1 / 4
const add = 1 / 2
/** A bad outcome lowers the limit by at most this share. */
const down = 1 / 2
/** A limit begins after more bad outcomes than this and a quarter of the calls in flight. */
const slack = 4
/** A success is late if it takes {@link times} the usual duration, or {@link cap} of the time after which callers stop waiting. */
const times = 5
const cap = 1 / 2
/** A success is not late if it takes less than this many times the usual duration while no other call is in flight. */
const alone = 3 / 2
/** The limit ends after this time without a rejection or a bad outcome. */
const calmMillis = 10_000
/** At limit 1 a rest lasts this long at most. */
const longestRestMillis = 5_000
/** After this many overload outcomes in a row, the limit rests for as long as the dependency asks clients to wait. */
const refusalsToHeed = 5
/** The usual duration is learned from one success per this time. */
const learnEveryMillis = 100
/** Overload does not open the circuit for this long after a success. */
export const patienceMillis = 10_000
/** A streak of failures must have lasted this long to open the circuit. */
const streakMillis = 1_000
/** If no call begins or ends for this long while calls are rejected, the calls in flight hang. */
const hangMillis = 10_000
/** How soon a rejected call may try again: `soonMillis`, and up to twice as much longer. */
const soonMillis = 50

/**
 * The limit of one circuit in one process. Mutable, owned by one circuit.
 */
export class AdaptiveLimit {
  private rules: LimitRules
  private readonly random: () => number
  /** How many calls may be in flight; `Infinity` while there is no evidence of overload. */
  private limit = Infinity
  /** Bad outcomes that good ones have not made up for, while the limit is infinite. */
  private debt = 0
  /** No call is admitted before then. */
  private restUntil = 0
  /** The time of the last rejection or bad outcome. */
  private calmSince = 0
  /** The time of the last success. The start of the first call counts as a success, because the dependency needs time to answer. */
  private lastSuccess = Number.NEGATIVE_INFINITY
  /** When a call last began or ended. Exact only while the limit is finite. */
  private movedAt = Number.NEGATIVE_INFINITY
  /** Calls in flight that do not count: they began before the circuit closed, or they hang. They began at `lostAt` or earlier. */
  private lost = 0
  private lostAt = 0
  /** Overload outcomes in a row. */
  private row = 0
  /** The usual duration of a success; 0 until there was one. It is learned only while the limit is infinite. */
  private base = 0
  private learnAt = Number.NEGATIVE_INFINITY
  /** The usual duration of a success when no other call is in flight; 0 if not known. */
  private solo = 0
  /** After how long callers stop waiting; `Infinity` if no call has timed out. */
  private gaveUp = Infinity

  /** `random` returns numbers from 0 to below 1. */
  constructor(rules: LimitRules, random: () => number) {
    this.rules = rules
    this.random = random
  }

  /** Applies the rules of a reloaded policy. The limit itself stays. */
  change(rules: LimitRules): void {
    this.rules = rules
  }

  /** How many calls may be in flight: at least 1, `Infinity` while nothing limits them. */
  get value(): number {
    return Math.min(this.limit, this.rules.max)
  }

  /** Whether there is evidence of overload, so that the limit is finite. */
  get holds(): boolean {
    return this.limit !== Infinity
  }

  /** A success that takes longer than this is late. */
  get target(): number {
    const { objectiveMillis } = this.rules
    // A process that starts during an outage has not learned the usual duration, so no success is late.
    const usual = objectiveMillis > 0 ? objectiveMillis : this.base > 0 ? times * this.base : Infinity
    return Math.max(alone * this.solo, Math.min(usual, cap * this.gaveUp))
  }

  /** Whether a call may begin now, in addition to `inFlight` others. It changes nothing. */
  admits(inFlight: number, now: number): boolean {
    if (inFlight >= this.rules.max) return false
    return this.limit === Infinity || (inFlight - this.lost < Math.floor(this.limit) && now >= this.restUntil)
  }

  /** How many more calls may begin now. */
  room(inFlight: number, now: number): number {
    if (this.restMillis(now) > 0) return 0
    return Math.max(0, Math.min(Math.floor(this.limit) + this.lost, this.rules.max) - inFlight)
  }

  /** A call has begun. */
  began(now: number): void {
    if (this.limit !== Infinity) this.movedAt = now
    else if (this.lastSuccess === Number.NEGATIVE_INFINITY) this.lastSuccess = now
  }

  /** A call was rejected because {@link admits} returned `false`. `inFlight` calls are in flight. */
  rejected(inFlight: number, now: number): void {
    if (this.limit === Infinity) return
    this.calmSince = now
    const movedAt = Math.max(this.movedAt, this.lastSuccess)
    if (now >= this.restUntil && now - movedAt >= hangMillis) this.lose(inFlight, now)
  }

  /** A call that began at `start` has left, with or without an outcome. */
  left(start: number): void {
    if (this.lost > 0 && start <= this.lostAt) this.lost--
  }

  /** Returns how many milliseconds the limit still rests. If it does not rest, returns 0: another call must end first. */
  restMillis(now: number): number {
    return this.limit === Infinity ? 0 : Math.max(0, this.restUntil - now)
  }

  /** When a rejected call should try again, in whole milliseconds. It is random, so that callers do not all try at the same time. */
  retryAfter(now: number): number {
    return Math.ceil(this.restMillis(now) + soonMillis * (1 + 2 * this.random()))
  }

  /** Whether a new limit would admit the same calls. The circuit can then drop this limit. A new limit learns the durations again. */
  isIdle(now: number): boolean {
    return this.limit === Infinity || (now >= this.restUntil && now - this.calmSince > calmMillis)
  }

  /**
   * {@link ended} for the usual end of a call: a success while the limit is infinite and no objective is set. Otherwise, changes nothing
   * and returns `false`.
   */
  succeededAsUsual(took: number, now: number): boolean {
    if (this.limit !== Infinity || this.rules.objectiveMillis > 0) return false
    if (this.debt > 0) this.debt--
    if (now >= this.learnAt) this.learn(took, now)
    this.solo = 0
    this.lastSuccess = now
    this.row = 0
    return true
  }

  /**
   * A call of the current epoch ended. `took` is its duration in milliseconds, `inFlight` the number of calls in flight before it
   * ended, and `retryAfter` how many milliseconds the dependency asks clients to wait, or 0.
   *
   * Returns whether the trip counts the outcome: it does not count overload within ten seconds after a success.
   */
  ended(ending: Ending, took: number, inFlight: number, retryAfter: number, now: number): boolean {
    const isOverload = ending === "TimedOut" || ending === "Refused"
    this.movedAt = now
    if (ending === "TimedOut") this.stoppedWaiting(took)
    if (ending === "Neutral") return true
    const was = Math.max(0, inFlight - this.lost)
    const isLate = ending === "Success" && took > this.target
    const isBad = isOverload || (isLate && (this.rules.objectiveMillis > 0 || this.limit !== Infinity))
    if (ending === "Success" && this.limit < 2) {
      this.solo = this.solo === 0 || took < this.solo ? took : this.solo + (took - this.solo) / 8
    }
    if (this.limit === Infinity) this.weigh(isBad, took, was, now)
    else if (isBad) this.lower(isOverload, took, was, now)
    else this.raise(was, now)
    if (ending === "Success") {
      this.lastSuccess = now
      this.row = 0
      return true
    }
    this.row++
    if (this.row >= refusalsToHeed && retryAfter > 0) this.rest(retryAfter, now)
    return now - this.lastSuccess >= patienceMillis
  }

  /** A caller stopped waiting after `took` milliseconds. The limit learns from this how long callers wait, whatever the epoch of the call. */
  stoppedWaiting(took: number): void {
    this.gaveUp = this.gaveUp === Infinity ? took : this.gaveUp + (took - this.gaveUp) / 16
  }

  /** Whether a streak of failures has lasted long enough to open the circuit. */
  streakCounts(now: number): boolean {
    return now - this.lastSuccess >= streakMillis
  }

  /**
   * The circuit has closed: the limit begins with the number of probes, and grows with successes. The `inFlight` calls that are still in
   * flight began before, and do not count.
   */
  closed(probes: number, inFlight: number, now: number): void {
    this.limit = probes
    this.restUntil = 0
    this.calmSince = now
    this.lastSuccess = now
    this.debt = 0
    this.row = 0
    this.lose(inFlight, now)
  }

  /** Returns the limit to its initial state. The `inFlight` calls that are still in flight do not count. */
  reset(inFlight: number, now: number): void {
    this.closed(Infinity, inFlight, now)
    this.base = 0
    this.learnAt = Number.NEGATIVE_INFINITY
    this.solo = 0
    this.gaveUp = Infinity
  }

  private lose(inFlight: number, now: number): void {
    this.lost = inFlight
    this.lostAt = now
    this.movedAt = now
  }

  /** Counts an outcome while the limit is infinite. The limit begins if there are too many bad outcomes. */
  private weigh(isBad: boolean, took: number, inFlight: number, now: number): void {
    if (isBad) this.debt++
    else {
      const { objectiveMillis } = this.rules
      this.debt = Math.max(0, this.debt - 1)
      if (objectiveMillis === 0 || took <= objectiveMillis) this.solo = 0
      if (now >= this.learnAt) this.learn(took, now)
    }
    if (this.debt <= slack + inFlight / 4) return
    this.limit = Math.max(1, inFlight / 2)
    // The dependency may have asked for a rest before a call succeeded again.
    this.restUntil = Math.min(this.restUntil, now + Math.max(0, now - this.lastSuccess))
    this.calmSince = now
    this.movedAt = now
    this.debt = 0
  }

  private learn(took: number, now: number): void {
    this.learnAt = now + learnEveryMillis
    this.base = this.base === 0 ? took : this.base * (took > this.base ? 33 / 32 : 31 / 32)
  }

  private lower(isOverload: boolean, took: number, inFlight: number, now: number): void {
    // A call that was refused at once has cost the dependency little, so it counts less.
    const weight = isOverload && this.base > 0 ? Math.min(1, took / this.base) : 1
    this.limit = Math.max(1, this.limit * (1 - (down * weight) / Math.max(this.limit, inFlight)))
    this.calmSince = now
    if (isOverload && this.limit === 1) this.rest(longestRestMillis, now)
  }

  private raise(inFlight: number, now: number): void {
    if (inFlight >= this.limit / 2) this.limit += up + add / this.limit
    if (now - this.calmSince <= calmMillis) return
    this.limit = Infinity
    this.debt = 0
  }

  /** Rests for a random share of the time since the last success, so that the rests of several processes do not end together. */
  private rest(most: number, now: number): void {
    const share = 1 / 4 + (3 / 4) * this.random()
    this.restUntil = Math.max(this.restUntil, now + Math.min(most, Math.max(0, now - this.lastSuccess) * share))
  }
}
