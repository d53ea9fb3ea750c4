const kept = 32
const least = 8

/** The durations of the latest successes of one circuit. */
export class RecentDurations {
  private readonly latest: Array<number> = []
  private next = 0

  record(millis: number): void {
    this.latest[this.next] = millis
    this.next = (this.next + 1) % kept
  }

  /** `undefined` until a few calls have ended. Computed on each reading, which is rare. */
  get median(): number | undefined {
    const { latest } = this
    return latest.length < least ? undefined : [...latest].sort((a, b) => a - b)[latest.length >> 1]
  }
}
