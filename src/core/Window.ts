/**
 * What a circuit remembers of its recent calls: the last n of them, or those of the last stretch of time.
 *
 * Windows are small mutable objects owned by one circuit. Time is always an argument, in milliseconds of a monotonic
 * clock; a window reads no clock and starts no timer.
 *
 * @since 0.1.0
 */

/**
 * How far a window looks back: over a number of calls, or over a stretch of time in milliseconds.
 *
 * @category models
 * @since 0.1.0
 */
export type Over =
  | { readonly _tag: "Calls"; readonly calls: number }
  | { readonly _tag: "Time"; readonly millis: number }

/**
 * What a window holds. `failures` and `slow` overlap: a slow failure counts in both. `weight` is the sum of the weights
 * of the failures.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  readonly calls: number
  readonly failures: number
  readonly slow: number
  readonly weight: number
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Window {
  readonly over: Over
  /** Adds one call that ended at `now`. `weight` is 0 unless it failed. */
  record(now: number, failed: boolean, slow: boolean, weight: number): void
  /** What the window holds at `now`, after what is too old has been forgotten. */
  counts(now: number): Counts
  /** Forgets everything. */
  clear(): void
}

/**
 * @category guards
 * @since 0.1.0
 */
export const sameOver = (a: Over, b: Over): boolean =>
  a._tag === "Calls" ? b._tag === "Calls" && a.calls === b.calls : b._tag === "Time" && a.millis === b.millis

/** A time window is cut into this many buckets and forgets one whole bucket at a time. */
const buckets = 10

const failedBit = 1
const slowBit = 2

/** The last n calls, as a ring of one small number a call; a call that falls out is subtracted. O(1) a call. */
class CallWindow implements Window {
  readonly over: Over & { readonly _tag: "Calls" }
  private ring: Array<number> = []
  /** Weights by place in the ring, made only when a weight other than 1 is seen. */
  private weights: Array<number> | undefined = undefined
  private next = 0
  private failures = 0
  private slow = 0
  private weight = 0

  constructor(over: Over & { readonly _tag: "Calls" }) {
    this.over = over
  }

  record(_now: number, failed: boolean, slow: boolean, weight: number): void {
    const at = this.next
    const old = this.ring[at] ?? 0
    if ((old & failedBit) !== 0) {
      this.failures--
      this.weight -= this.weights?.[at] ?? 1
    }
    if ((old & slowBit) !== 0) this.slow--
    this.ring[at] = (failed ? failedBit : 0) | (slow ? slowBit : 0)
    if (failed) {
      this.failures++
      this.weight += weight
      if (weight !== 1 && this.weights === undefined) this.weights = new Array<number>(this.over.calls).fill(1)
    }
    if (slow) this.slow++
    if (this.weights !== undefined) this.weights[at] = failed ? weight : 1
    // Subtracting fractions leaves crumbs; a window without failures weighs exactly nothing.
    if (this.failures === 0) this.weight = 0
    this.next = at + 1 === this.over.calls ? 0 : at + 1
  }

  counts(_now: number): Counts {
    return { calls: this.ring.length, failures: this.failures, slow: this.slow, weight: this.weight }
  }

  clear(): void {
    this.ring = []
    this.weights = undefined
    this.next = 0
    this.failures = 0
    this.slow = 0
    this.weight = 0
  }

  /** Plays the calls it holds into another window, oldest first. */
  replay(into: Window): void {
    const length = this.ring.length
    for (let i = 0; i < length; i++) {
      // While the ring is not full, the next place is its length, and so the first again.
      const at = (this.next + i) % length
      const bits = this.ring[at] ?? 0
      const failed = (bits & failedBit) !== 0
      into.record(0, failed, (bits & slowBit) !== 0, failed ? (this.weights?.[at] ?? 1) : 0)
    }
  }
}

/** What went wrong in each bucket; a healthy circuit never has one of these. */
class TroubleCounts {
  readonly failures: Array<number> = zeros()
  readonly slow: Array<number> = zeros()
  readonly weight: Array<number> = zeros()
  /** The sums of these. */
  readonly total = { failures: 0, slow: 0, weight: 0 }
}

const none = { failures: 0, slow: 0, weight: 0 }

const zeros = (): Array<number> => new Array<number>(buckets).fill(0)

/**
 * The last stretch of time, as buckets of a tenth of it. The bucket of a call is the whole number of bucket widths since
 * the clock's origin, so that what is forgotten depends on the time now alone and never on how often calls come.
 */
class TimeWindow implements Window {
  readonly over: Over & { readonly _tag: "Time" }
  /** The newest bucket that exists, as a whole number of widths since the clock's origin. */
  private newest = 0
  private perBucket: Array<number> | undefined = undefined
  private trouble: TroubleCounts | undefined = undefined
  private calls = 0

  constructor(over: Over & { readonly _tag: "Time" }) {
    this.over = over
  }

  record(now: number, failed: boolean, slow: boolean, weight: number): void {
    // A clock that steps back must not write into a bucket that has come round again.
    const bucket = Math.max(bucketOf(now, this.over), this.newest)
    const { perBucket } = this
    if (bucket === this.newest && perBucket !== undefined && !failed && !slow) {
      // Nearly all calls of a healthy circuit.
      const at = place(bucket)
      perBucket[at] = (perBucket[at] as number) + 1
      this.calls++
      return
    }
    this.forget(bucket)
    this.add(bucket, 1, failed ? 1 : 0, slow ? 1 : 0, weight)
  }

  counts(now: number): Counts {
    this.forget(bucketOf(now, this.over))
    const { failures, slow, weight } = this.trouble?.total ?? none
    return { calls: this.calls, failures, slow, weight }
  }

  clear(): void {
    this.perBucket = undefined
    this.trouble = undefined
    this.calls = 0
  }

  /** Adds the buckets of another window, each at its own time, as far as they are not too old for this one. */
  absorb(from: TimeWindow, now: number): void {
    this.forget(bucketOf(now, this.over))
    from.forget(bucketOf(now, from.over))
    for (let bucket = Math.max(0, from.newest - buckets + 1); bucket <= from.newest; bucket++) {
      const at = place(bucket)
      const target = Math.floor((bucket * from.over.millis) / this.over.millis)
      if (target <= this.newest - buckets) continue
      const { perBucket, trouble } = from
      this.add(
        target,
        perBucket?.[at] ?? 0,
        trouble?.failures[at] ?? 0,
        trouble?.slow[at] ?? 0,
        trouble?.weight[at] ?? 0
      )
    }
  }

  private add(bucket: number, calls: number, failures: number, slow: number, weight: number): void {
    this.perBucket ??= zeros()
    const at = place(bucket)
    this.perBucket[at] = (this.perBucket[at] ?? 0) + calls
    this.calls += calls
    if (failures === 0 && slow === 0) return
    this.trouble ??= new TroubleCounts()
    const { trouble } = this
    trouble.failures[at] = (trouble.failures[at] ?? 0) + failures
    trouble.slow[at] = (trouble.slow[at] ?? 0) + slow
    trouble.weight[at] = (trouble.weight[at] ?? 0) + weight
    trouble.total.failures += failures
    trouble.total.slow += slow
    trouble.total.weight += weight
  }

  /** Moves on to `bucket` and subtracts the buckets that are now out of sight. */
  private forget(bucket: number): void {
    const steps = bucket - this.newest
    if (steps <= 0) return
    const { perBucket, trouble } = this
    if (steps >= buckets) this.clear()
    else if (perBucket !== undefined) {
      for (let i = this.newest + 1; i <= bucket; i++) {
        const at = place(i)
        this.calls -= perBucket[at] ?? 0
        perBucket[at] = 0
        if (trouble === undefined) continue
        trouble.total.failures -= trouble.failures[at] ?? 0
        trouble.total.slow -= trouble.slow[at] ?? 0
        trouble.total.weight -= trouble.weight[at] ?? 0
        trouble.failures[at] = trouble.slow[at] = trouble.weight[at] = 0
      }
      // Subtracting fractions leaves crumbs; a window without failures weighs exactly nothing.
      if (trouble?.total.failures === 0) trouble.total.weight = 0
    }
    this.newest = bucket
  }
}

const bucketOf = (now: number, over: { readonly millis: number }): number => Math.floor((now * buckets) / over.millis)

/** No bucket is below 0: a window begins at the clock's origin and only moves on. */
const place = (bucket: number): number => bucket % buckets

/**
 * An empty window.
 *
 * ```ts
 * import { Window } from "effect-fuse/core"
 *
 * const window = Window.make({ _tag: "Time", millis: 10_000 })
 * window.record(0, true, false, 1)
 * window.counts(9_999).failures // => 1
 * window.counts(10_000).failures // => 0
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (over: Over): Window => (over._tag === "Calls" ? new CallWindow(over) : new TimeWindow(over))

/**
 * A window over another stretch that keeps what it can of this one: the newest calls that fit, or the buckets that are
 * not too old. Calls cannot become times nor times calls, so a change between the two starts empty.
 *
 * @category combinators
 * @since 0.1.0
 */
export const resize = (window: Window, over: Over, now: number): Window => {
  if (sameOver(window.over, over)) return window
  const next = make(over)
  if (window instanceof CallWindow && next instanceof CallWindow) window.replay(next)
  if (window instanceof TimeWindow && next instanceof TimeWindow) next.absorb(window, now)
  return next
}
