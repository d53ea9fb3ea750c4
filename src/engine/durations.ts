/** A histogram of the durations of calls. */
export class Durations {
  /** Upper bounds of the buckets, in milliseconds, ascending. */
  readonly bounds: ReadonlyArray<number>
  /** The number of calls by bucket. The last bucket has no upper bound. */
  readonly counts: Array<number>
  sum = 0
  min = Infinity
  max = 0

  constructor(bounds: ReadonlyArray<number>) {
    this.bounds = bounds
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0)
  }

  record(millis: number): void {
    const { bounds, counts } = this
    let index = 0
    while (index < bounds.length && millis > (bounds[index] as number)) index++
    counts[index] = (counts[index] as number) + 1
    this.sum += millis
    if (millis < this.min) this.min = millis
    if (millis > this.max) this.max = millis
  }
}
