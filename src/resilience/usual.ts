/*
 * A percentile of the durations of recent calls.
 *
 * The buckets of the histogram are 4 % apart. When it has a thousand calls, all counts are halved, so that the last 500 calls weigh as much as
 * all earlier ones. Recording a duration takes a logarithm and an addition. The percentile is computed once every 32 calls.
 */

const bucketsPerDoubling = 16
/** The upper bound of the first bucket is 1/16 millisecond, and that of the last one about four hours. */
const firstDoubling = -4
const buckets = (24 - firstDoubling) * bucketsPerDoubling
const fullAt = 1_000
const leastCalls = 100
const updateEvery = 32

export class Usual {
  private readonly share: number
  private readonly counts = new Float64Array(buckets)
  private total = 0
  /** The number of calls since the percentile was computed. */
  private news = 0
  private value: number | undefined = undefined

  /** `share` is the percentile as a fraction: 0.95 for p95. */
  constructor(share: number) {
    this.share = share
  }

  /** The percentile in milliseconds; `undefined` until 100 calls have ended. */
  get millis(): number | undefined {
    return this.value
  }

  record(millis: number): void {
    const doubling = Math.log2(Math.max(millis, 2 ** firstDoubling)) - firstDoubling
    const bucket = Math.min(buckets - 1, Math.ceil(doubling * bucketsPerDoubling))
    this.counts[bucket] = Number(this.counts[bucket]) + 1
    this.total++
    this.news++
    if (this.total >= fullAt) this.halve()
    if (this.total >= leastCalls && (this.value === undefined || this.news >= updateEvery)) this.update()
  }

  private halve(): void {
    this.total = 0
    for (let i = 0; i < buckets; i++) {
      this.counts[i] = Number(this.counts[i]) / 2
      this.total += Number(this.counts[i])
    }
  }

  private update(): void {
    this.news = 0
    let longer = this.total
    let bucket = 0
    while (bucket < buckets - 1) {
      longer -= Number(this.counts[bucket])
      if (longer <= (1 - this.share) * this.total) break
      bucket++
    }
    this.value = 2 ** (bucket / bucketsPerDoubling + firstDoubling)
  }
}
