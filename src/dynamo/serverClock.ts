/** The true time may be earlier or later than the `Date` header by these values. The header has whole seconds, and may be a moment old. */
const slackMillis = 1_000
const headerMillis = 1_000 + slackMillis

/** The bounds expire after this time, because a process's clock drifts, and an administrator may set it. */
const keptMillis = 300_000

/** No process of the fleet writes a time further ahead than this. */
export const farMillis = 10_000

/**
 * Estimates the time of the DynamoDB servers.
 *
 * A condition in DynamoDB cannot read a clock, and the `Date` headers of its responses have whole seconds. So this class uses the clock of
 * the process. On AWS, this clock is accurate to milliseconds. If the clock contradicts the headers, this class corrects the time. The
 * corrected time is wrong by at most two seconds.
 */
export class ServerClock {
  readonly local: () => number
  /** The servers' clock is ahead of the local clock by at least `atLeast` and at most `atMost` milliseconds. */
  private atLeast = Number.NEGATIVE_INFINITY
  private atMost = Number.POSITIVE_INFINITY
  private since = 0

  /** `local` is the wall clock of this process. This clock runs even while the process is frozen. */
  constructor(local: () => number) {
    this.local = local
  }

  /** Updates the bounds with the `Date` header of a response; NaN without a header. The process sent the request at `sentAt` of the local clock. */
  note(date: number, sentAt: number): void {
    if (!Number.isFinite(date)) return
    const now = this.local()
    const [least, most] = [date - slackMillis - now, date + headerMillis - sentAt]
    const merged = [Math.max(this.atLeast, least), Math.min(this.atMost, most)] as const
    const isOld = now - this.since > keptMillis || now < this.since
    // The bounds contradict each other only after a change of the local clock.
    if (isOld || merged[0] > merged[1]) {
      this.since = now
      this.atLeast = least
      this.atMost = most
    } else {
      this.atLeast = merged[0]
      this.atMost = merged[1]
    }
  }

  /** The bounds are in milliseconds. Before the first response, the bounds are infinite. */
  get lead(): { readonly atLeast: number; readonly atMost: number } {
    return { atLeast: this.atLeast, atMost: this.atMost }
  }

  now(): number {
    return Math.floor(this.local() + Math.min(Math.max(0, this.atLeast), this.atMost))
  }
}
