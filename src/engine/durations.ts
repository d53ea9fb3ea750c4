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

/**
 * An estimate of the duration that a share of the calls did not exceed, in milliseconds. It interpolates within a bucket. `undefined` if
 * there are no calls. In the last bucket, which has no upper bound, it is the lower bound.
 */
export const quantile = (
  bounds: ReadonlyArray<number>,
  counts: ReadonlyArray<number>,
  share: number
): number | undefined => {
  const rank = share * counts.reduce((sum, count) => sum + count, 0)
  if (rank <= 0) return undefined
  let below = 0
  for (const [index, count] of counts.entries()) {
    const lower = index === 0 ? 0 : (bounds[index - 1] ?? 0)
    if (below + count >= rank && count > 0) {
      return lower + ((bounds[index] ?? lower) - lower) * ((rank - below) / count)
    }
    below += count
  }
  return undefined
}
