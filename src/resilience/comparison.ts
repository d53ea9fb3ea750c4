/*
 * How a pool with `choose: "fastest"` compares its members.
 *
 * Score. Of two random members, a call goes to the one with the lower score: latency x (calls in flight + 1) / weight. The latency is an
 * exponentially weighted moving average that rises faster than it falls (0.3 and 0.1 for each call), so that a member that becomes slow
 * loses its calls soon. A failed call counts as the wait that the dependency asked for, or as ten times what is usual, so that a member
 * that fails fast attracts no calls. An interrupted call only shows that the member takes at least this long: it never lowers the latency.
 *
 * Forgetting. A member that receives no calls would keep its last latency for ever. So its score fades, with the time (10 seconds) or
 * with the calls of the pool (200), whichever is slower. A slow member is tried again from time to time, but never by more than about one
 * of 200 calls, whatever the rate.
 *
 * Leaving out. The score alone sends a member that is n times slower about 1 of 2 n^2 calls: 5 % for n = 3. So a member is left out if it
 * is much slower than the others: its latency, and more than half of its recent calls, are at least 3 times and 50 milliseconds above the
 * median of the pool. It takes seven late calls in a row to be sure; single late calls are no evidence that a member differs. After 10
 * seconds and 200 calls of the pool, one call tries the member. If that call is on time, the member is back, until the next late call.
 * Otherwise it is left out again. At most half of the members are left out.
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
/** Where a member begins that is back: the next late call leaves it out again. */
const backAt = 0.45
const leastCalls = 20
const leastMembers = 3
const leftOutMillis = 10_000
const leftOutCalls = 200

const penaltyTimes = 10
/** The penalty while nothing is known about the pool. */
const firstPenaltyMillis = 1_000
const longestHintMillis = 60_000

/** How much is left of what was known. Most calls need no exponential function. */
const fading = (idle: number): number => (idle < 0.05 ? 1 - idle : Math.exp(-idle))

/** What a pool knows of one member. */
export class Rating {
  weight: number
  busy = 0
  /** The smoothed duration of calls in milliseconds. `undefined` before the first call has ended. */
  latency: number | undefined = undefined
  /** When the latency was last updated: the time, and the number of calls of the pool. */
  at = 0
  atCall = 0
  /** The smoothed share of calls that were much slower than usual in the pool, from 0 to 1. */
  late = 0
  /** The time and the number of calls of the pool before which no call tries the member; `undefined` if it is not left out. */
  leftOut: { readonly until: number; readonly untilCall: number } | undefined = undefined
  /** Whether a call is trying whether the member is fast again. */
  onTrial = false

  constructor(weight: number) {
    this.weight = weight
  }
}

/** The end of a call, as the comparison needs it. `retryAfter` is how long the dependency asked clients to wait, or 0. */
export type CallEnd =
  | { readonly _tag: "Success" | "Interrupted" | "Ignored" }
  | { readonly _tag: "Failure"; readonly retryAfter: number }

export class Comparison {
  /** How many calls of the pool have ended. */
  calls = 0
  /** The median of the members' latencies; `undefined` before a call has ended. Of two middle values, it is the lower one. */
  typical: number | undefined = undefined

  /** The lower, the better. */
  score(one: Rating, now: number): number {
    const latency = (one.latency ?? this.typical ?? 0) * fading(this.idle(one, now))
    return ((latency > leastMillis ? latency : leastMillis) * (one.busy + 1)) / one.weight
  }

  private idle({ at, atCall }: Rating, now: number): number {
    return Math.min((now - at) / forgetMillis, (this.calls - atCall) / forgetCalls)
  }

  /** Counts the beginning of a call. Returns whether the call tries a member that is left out. */
  began(one: Rating, now: number): boolean {
    one.busy++
    if (one.leftOut === undefined || !this.isDue(one, now)) return false
    one.onTrial = true
    return true
  }

  /** Counts the end of a call of `one` that took `took` milliseconds. */
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

  /** Computes the median anew. It costs n log n for n members, so it is not done for each call. */
  update(all: ReadonlyArray<Rating>): void {
    const latencies = all.map(({ latency }) => latency).filter((latency) => latency !== undefined)
    latencies.sort((a, b) => a - b)
    this.typical = latencies[(latencies.length - 1) >> 1]
  }

  /** Whether a member that is left out may be tried. */
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
