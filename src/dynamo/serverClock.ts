/** A `Date` header has whole seconds, and a server may have made the text a moment ago: the true time is within these bounds. */
const slackMillis = 1_000
const headerMillis = 1_000 + slackMillis

/** Bounds that are older than this no longer count: the clock of a process drifts, and may be set. */
const keptMillis = 300_000

/** A time in the store that is further ahead than this was not written by a process of the fleet. */
export const farMillis = 10_000

/**
 * The time of the servers of DynamoDB, as a process knows it.
 *
 * DynamoDB has no clock that a condition could read, and its responses have the time in whole seconds. So the clock of the process
 * decides, which on AWS is exact to milliseconds, within the bounds that the responses set. A wrong clock is corrected to within two
 * seconds.
 */
export class ServerClock {
  readonly local: () => number
  /** The servers are at least and at most this many milliseconds ahead of the local clock. */
  private atLeast = Number.NEGATIVE_INFINITY
  private atMost = Number.POSITIVE_INFINITY
  private since = 0

  /** `local` is the wall clock of this process: it goes on while the process is frozen. */
  constructor(local: () => number) {
    this.local = local
  }

  /** Takes the `Date` of a response, NaN if it had none, whose request was sent at `sentAt` of the local clock. */
  note(date: number, sentAt: number): void {
    if (!Number.isFinite(date)) return
    const now = this.local()
    const [least, most] = [date - slackMillis - now, date + headerMillis - sentAt]
    const merged = [Math.max(this.atLeast, least), Math.min(this.atMost, most)] as const
    const isOld = now - this.since > keptMillis || now < this.since
    // If the bounds contradict each other, the local clock was set.
    if (isOld || merged[0] > merged[1]) {
      this.since = now
      this.atLeast = least
      this.atMost = most
    } else {
      this.atLeast = merged[0]
      this.atMost = merged[1]
    }
  }

  now(): number {
    return Math.floor(this.local() + Math.min(Math.max(0, this.atLeast), this.atMost))
  }
}
