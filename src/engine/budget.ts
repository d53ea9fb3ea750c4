import * as Window from "../core/Window.ts"

/** The limit of a retry budget: `share` of the recent successes, but at least `floor` retries. */
export interface Allowance {
  readonly share: number
  readonly floor: number
}

/** The recent successes and retries of a circuit, and all retries that its budget has refused. */
export interface BudgetView {
  readonly successes: number
  readonly retries: number
  readonly refused: number
}

/**
 * Limits the retries of one circuit over all callers, because many callers with few retries each multiply the load of an outage, too.
 * Successes earn retries: a budget that is a share of all calls would grow with the load of an outage. It has counts of its own: a call that
 * is retried may not go through the circuit.
 */
export class RetryBudget {
  refused = 0
  /** Successes and retries. A retry is recorded as a failure. */
  private readonly window: Window.Window

  constructor(overMillis: number) {
    // A window removes a tenth of its length at a time. It is longer, so that it keeps every success of the last `overMillis`.
    this.window = Window.make({ _tag: "Time", millis: (overMillis * 10) / 9 })
  }

  success(now: number): void {
    this.window.record(now, false, false, 0)
  }

  /** Whether the budget allows a retry, which is then counted. */
  retry(now: number, { floor, share }: Allowance): boolean {
    const { retries, successes } = this.view(now)
    if (retries >= Math.max(floor, share * successes)) {
      this.refused++
      return false
    }
    this.window.record(now, true, false, 0)
    return true
  }

  view(now: number): BudgetView {
    const { calls, failures } = this.window.counts(now)
    return { successes: calls - failures, retries: failures, refused: this.refused }
  }
}
