import * as Window from "../core/Window.ts"

/** How many retries a budget allows. */
export interface Allowance {
  /** At most this share of the calls made lately. */
  readonly share: number
  /** So many are allowed in any case. */
  readonly floor: number
}

/** What a budget has counted lately, and what it has refused since it was made. */
export interface BudgetView {
  readonly calls: number
  readonly retries: number
  readonly refused: number
}

/**
 * Bounds how often the calls of one circuit are made again, over all that make them: many callers with few retries each
 * multiply an outage as well as one with many. It counts for itself: a call may pass no circuit at all before it fails.
 */
export class RetryBudget {
  refused = 0
  /** Calls, of which those that are made again are written as failures. */
  private readonly window: Window.Window

  constructor(overMillis: number) {
    // A window forgets a tenth of itself at a time, and here must not forget what is younger than this.
    this.window = Window.make({ _tag: "Time", millis: (overMillis * 10) / 9 })
  }

  /** Somebody calls for the first time. */
  call(now: number): void {
    this.window.record(now, false, false, 0)
  }

  /** Somebody asks to call again. */
  retry(now: number, { floor, share }: Allowance): boolean {
    const { calls, retries } = this.view(now)
    if (retries >= Math.max(floor, share * calls)) {
      this.refused++
      return false
    }
    this.window.record(now, true, false, 0)
    return true
  }

  view(now: number): BudgetView {
    const { calls, failures } = this.window.counts(now)
    return { calls: calls - failures, retries: failures, refused: this.refused }
  }
}
