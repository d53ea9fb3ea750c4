/** How long calls took: how many at most so long, for each of some bounds. */
export class Durations {
  /** Milliseconds, each more than the one before. */
  readonly bounds: ReadonlyArray<number>
  /** Calls that took longer than the bound before and at most this one; the last are those that took longer than all. */
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
