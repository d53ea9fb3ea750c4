/**
 * The counts of recent calls: of the last n calls, or of the calls within a time.
 *
 * A window is a small mutable object of one circuit. It reads no clock and starts no timer: the time is an argument, in milliseconds of a
 * monotonic clock.
 */

/**
 * The length of a window: a number of calls, or a time in milliseconds.
 *
 * @category models
 */
export type Over =
  | { readonly _tag: "Calls"; readonly calls: number }
  | { readonly _tag: "Time"; readonly millis: number }

/**
 * The counts of a window. A slow failure counts in both `failures` and `slow`. `weight` is the sum of the weights of the failures.
 *
 * @category models
 */
export interface Counts {
  readonly calls: number
  readonly failures: number
  readonly slow: number
  readonly weight: number
}

/**
 * A window over the recent calls of one circuit.
 *
 * @category models
 */
export interface Window {
  readonly over: Over
  /** Adds a call that ended at `now`. `weight` is 0 if the call did not fail. */
  record(now: number, failed: boolean, slow: boolean, weight: number): void
  /** The counts at `now`. Calls that are too old are removed first. */
  counts(now: number): Counts
  clear(): void
}

/**
 * Whether two windows have the same length.
 *
 * @category guards
 */
export const sameOver = (a: Over, b: Over): boolean =>
  a._tag === "Calls" ? b._tag === "Calls" && a.calls === b.calls : b._tag === "Time" && a.millis === b.millis

/** The number of buckets of a time window. Old calls are removed one bucket at a time. */
const buckets = 10

const failedBit = 1
const slowBit = 2

/** The last n calls: a ring buffer with one small integer per call. Recording a call takes constant time. */
class CallWindow implements Window {
  readonly over: Over & { readonly _tag: "Calls" }
  private ring: Array<number> = []
  /** The weights by index in the ring. Allocated with the first weight other than 1. */
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
    // Subtracting fractions leaves rounding errors. Without failures the weight is exactly 0.
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

  /** Records its calls in another window, oldest first. */
  replay(into: Window): void {
    const length = this.ring.length
    for (let i = 0; i < length; i++) {
      // While the ring is not full, `next` is its length, so that the index begins at 0.
      const at = (this.next + i) % length
      const bits = this.ring[at] ?? 0
      const failed = (bits & failedBit) !== 0
      into.record(0, failed, (bits & slowBit) !== 0, failed ? (this.weights?.[at] ?? 1) : 0)
    }
  }
}

/** Failures and slow calls by bucket. A healthy circuit never allocates this. */
class TroubleCounts {
  readonly failures: Array<number> = zeros()
  readonly slow: Array<number> = zeros()
  readonly weight: Array<number> = zeros()
  readonly total = { failures: 0, slow: 0, weight: 0 }
}

const none = { failures: 0, slow: 0, weight: 0 }

const zeros = (): Array<number> => new Array<number>(buckets).fill(0)

/**
 * Counts recent calls in ten buckets. The number of a bucket depends only on the clock, and not on earlier calls.
 */
class TimeWindow implements Window {
  readonly over: Over & { readonly _tag: "Time" }
  /** The number of the newest bucket. */
  private newest = 0
  private perBucket: Array<number> | undefined = undefined
  private trouble: TroubleCounts | undefined = undefined
  private calls = 0

  constructor(over: Over & { readonly _tag: "Time" }) {
    this.over = over
  }

  record(now: number, failed: boolean, slow: boolean, weight: number): void {
    // If the clock steps back, the call must not go into a bucket that has been reused.
    const bucket = Math.max(bucketOf(now, this.over), this.newest)
    const { perBucket } = this
    if (bucket === this.newest && perBucket !== undefined && !failed && !slow) {
      // The fast path: nearly all calls of a healthy circuit.
      const at = indexOf(bucket)
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

  /** Adds the buckets of another window, except those that are too old for this one. */
  absorb(from: TimeWindow, now: number): void {
    this.forget(bucketOf(now, this.over))
    from.forget(bucketOf(now, from.over))
    for (let bucket = Math.max(0, from.newest - buckets + 1); bucket <= from.newest; bucket++) {
      const at = indexOf(bucket)
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
    const at = indexOf(bucket)
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

  /** Makes `bucket` the newest one, and removes the buckets that are now too old. */
  private forget(bucket: number): void {
    const steps = bucket - this.newest
    if (steps <= 0) return
    const { perBucket, trouble } = this
    if (steps >= buckets) this.clear()
    else if (perBucket !== undefined) {
      for (let i = this.newest + 1; i <= bucket; i++) {
        const at = indexOf(i)
        this.calls -= perBucket[at] ?? 0
        perBucket[at] = 0
        if (trouble === undefined) continue
        trouble.total.failures -= trouble.failures[at] ?? 0
        trouble.total.slow -= trouble.slow[at] ?? 0
        trouble.total.weight -= trouble.weight[at] ?? 0
        trouble.failures[at] = trouble.slow[at] = trouble.weight[at] = 0
      }
      // Subtracting fractions leaves rounding errors. Without failures the weight is exactly 0.
      if (trouble?.total.failures === 0) trouble.total.weight = 0
    }
    this.newest = bucket
  }
}

const bucketOf = (now: number, over: { readonly millis: number }): number => Math.floor((now * buckets) / over.millis)

/** The index of a bucket in the arrays. Bucket numbers are never negative. */
const indexOf = (bucket: number): number => bucket % buckets

/**
 * Makes an empty window.
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
 */
export const make = (over: Over): Window => (over._tag === "Calls" ? new CallWindow(over) : new TimeWindow(over))

/**
 * Makes a window of another length that keeps the newest calls of this one, as far as they fit. A change between a number of calls and a
 * time starts with an empty window.
 *
 * @category combinators
 */
export const resize = (window: Window, over: Over, now: number): Window => {
  if (sameOver(window.over, over)) return window
  const next = make(over)
  if (window instanceof CallWindow && next instanceof CallWindow) window.replay(next)
  if (window instanceof TimeWindow && next instanceof TimeWindow) next.absorb(window, now)
  return next
}
