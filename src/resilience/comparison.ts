/*
 * How a pool with `choose: "fastest"` compares its members.
 *
 * Score: the pool draws two random members, and calls the member with the lower score, latency x (calls in flight + 1) / weight. The latency
 * is an exponentially weighted moving average. It rises faster than it falls (0.3 and 0.1 for each call): a member that becomes slow
 * soon receives fewer calls. A failed call counts as the wait that the dependency asked for, or as ten times the median latency of the pool.
 * Otherwise, fast failures would attract calls. An interrupted call only gives a minimum duration, so it never lowers the latency.
 *
 * Fading: a member without calls would keep its last latency forever. Therefore its score fades with the time (10 seconds) or with the
 * calls of the pool (200), whichever is slower. So the pool sometimes tries a slow member again. At most about 1 of 200 calls is such a
 * try.
 *
 * Leaving out: with the score alone, a member that is n times slower would receive about 1 of 2 n^2 calls (5 % for n = 3). Therefore the
 * pool leaves out a member that is much slower than the others. This applies to a member if its latency and more than half of its recent
 * calls are at least 3 times the median of the pool, and at least 50 milliseconds above the median. Seven late calls in a row leave a
 * member out; single late calls do not. After 10 seconds and 200 calls of the pool, one call tries the member. If that call is on time, the
 * member is back, but the next late call leaves it out again. If the call is late or fails, the pool leaves the member out again. At most
 * half of the members are left out.
 */

const riseShare = 0.3
const fallShare = 0.1
const forgetMillis = 10_000
const forgetCalls = 200
/** Differences between latencies below this do not count. */
const leastMillis = 1

const slowTimes = 3
const slowByMillis = 50
const lateShare = 0.1
const leftOutAt = 0.5
/** The `late` share of a member that is back: the next late call leaves it out again. */
const backAt = 0.45
const leastCalls = 20
const leastMembers = 3
const leftOutMillis = 10_000
const leftOutCalls = 200

const penaltyTimes = 10
/** The penalty while the pool has no latency yet. */
const firstPenaltyMillis = 1_000
const longestHintMillis = 60_000

/** The factor by which a score fades. The linear approximation spares most calls the exponential function. */
const fading = (idle: number): number => (idle < 0.05 ? 1 - idle : Math.exp(-idle))

/** The measurements of one member. */
export class Rating {
  weight: number
  busy = 0
  /** The smoothed duration of calls in milliseconds. `undefined` before the first call has ended. */
  latency: number | undefined = undefined
  /** The time of the last update of the latency. `atCall` is the number of calls of the pool at that time. */
  at = 0
  atCall = 0
  /** The smoothed share of calls that were much slower than the median of the pool, from 0 to 1. */
  late = 0
  /** The time and the number of calls of the pool before which no call tries the member; `undefined` if it is not left out. */
  leftOut: { readonly until: number; readonly untilCall: number } | undefined = undefined
  /** Whether a call is in flight that tries whether the member is fast again. */
  onTrial = false

  constructor(weight: number) {
    this.weight = weight
  }
}

/** The end of a call. `retryAfter` is the wait that the dependency asked for in milliseconds, or 0. */
export type CallEnd =
  | { readonly _tag: "Success" | "Interrupted" | "Ignored" }
  | { readonly _tag: "Failure"; readonly retryAfter: number }

export class Comparison {
  /** The number of ended calls of the pool. */
  calls = 0
  /** The median of the members' latencies; `undefined` before a call has ended. With an even number, the lower of the two middle values. */
  typical: number | undefined = undefined

  /** A lower score is better. */
  score(one: Rating, now: number): number {
    const latency = (one.latency ?? this.typical ?? 0) * fading(this.idle(one, now))
    return ((latency > leastMillis ? latency : leastMillis) * (one.busy + 1)) / one.weight
  }

  private idle({ at, atCall }: Rating, now: number): number {
    return Math.min((now - at) / forgetMillis, (this.calls - atCall) / forgetCalls)
  }

  /** Counts the start of a call. Returns whether the call tries a member that is left out. */
  began(one: Rating, now: number): boolean {
    one.busy++
    if (one.leftOut === undefined || !this.isDue(one, now)) return false
    one.onTrial = true
    return true
  }

  /** Counts the end of a call of the member `one` that took `took` milliseconds. */
  ended(one: Rating, all: ReadonlyArray<Rating>, took: number, end: CallEnd, now: number, trial: boolean): void {
    if (trial) one.onTrial = false
    if (end._tag === "Ignored") return
    if (end._tag === "Interrupted" && took <= (one.latency ?? 0)) return
    const late = this.isSlow(took)
    this.calls++
    this.observe(one, end._tag === "Failure" ? this.penalty(took, end.retryAfter) : took, now)
    if (trial && one.leftOut !== undefined) {
      if (late || end._tag === "Failure") this.leaveOut(one, now)
      else if (end._tag === "Success") this.takeBack(one, took)
      return
    }
    one.late += lateShare * ((late ? 1 : 0) - one.late)
    if (one.late >= leftOutAt && this.isOutlier(one, all)) this.leaveOut(one, now)
  }

  /** Recomputes the median. This sorts the members, so it does not happen for each call. */
  update(all: ReadonlyArray<Rating>): void {
    const latencies = all.map(({ latency }) => latency).filter((latency) => latency !== undefined)
    latencies.sort((a, b) => a - b)
    this.typical = latencies[(latencies.length - 1) >> 1]
  }

  /** Whether the next call may try a member that is left out. */
  isDue({ leftOut, onTrial }: Rating, now: number): boolean {
    return leftOut !== undefined && !onTrial && now >= leftOut.until && this.calls >= leftOut.untilCall
  }

  private observe(one: Rating, sample: number, now: number): void {
    const { latency } = one
    if (latency === undefined) one.latency = sample
    else {
      const kept = (1 - (sample > latency ? riseShare : fallShare)) * fading(this.idle(one, now))
      one.latency = kept * latency + (1 - kept) * sample
    }
    one.at = now
    one.atCall = this.calls
  }

  private penalty(took: number, retryAfter: number): number {
    const usual = this.typical === undefined ? firstPenaltyMillis : penaltyTimes * Math.max(this.typical, leastMillis)
    return Math.max(took, retryAfter > 0 ? Math.min(retryAfter, longestHintMillis) : usual)
  }

  private isSlow(millis: number): boolean {
    const { typical } = this
    return typical !== undefined && millis >= slowTimes * typical && millis - typical >= slowByMillis
  }

  private isOutlier(one: Rating, all: ReadonlyArray<Rating>): boolean {
    if (all.length < leastMembers || this.calls < leastCalls || one.leftOut !== undefined) return false
    this.update(all)
    const others = all.filter(({ leftOut }) => leftOut !== undefined).length
    return this.isSlow(one.latency ?? 0) && others + 1 <= all.length / 2
  }

  private leaveOut(one: Rating, now: number): void {
    one.leftOut = { until: now + leftOutMillis, untilCall: this.calls + leftOutCalls }
  }

  private takeBack(one: Rating, took: number): void {
    one.leftOut = undefined
    one.late = backAt
    one.latency = Math.max(took, this.typical ?? 0)
  }
}
