import { limits, type RollCall } from "../store/SharedStore.ts"

/**
 * The roll calls that this process has to answer, and how far it has answered them. Pure: no store and no clock.
 *
 * An exchange may report a roll call as `heard` only if it, or an earlier exchange, carries every ballot that this process owes up to
 * that roll call. If a voter reports a roll call as heard and has no ballot, the store counts an abstention.
 */
export class Hearing {
  /** The life of the store in which these roll calls were heard; empty until the store has answered. */
  life = ""
  /** The last roll call that this process has heard according to the store. */
  confirmed = 0
  /** All roll calls up to this number are queued or were heard. */
  latest = 0
  /** The latest known roll call that cannot be queued, because an earlier one is missing; 0 if there is none. */
  missing = 0
  /** Counts the calls of {@link forget}. The answer to a command that was sent before one of them is stale. */
  generation = 0
  private queue: Array<RollCall> = []

  get queued(): ReadonlyArray<RollCall> {
    return this.queue
  }

  get isBehind(): boolean {
    return this.missing > 0 || this.queue.length > 0
  }

  /** Queues an announced roll call, or notes that an earlier one is missing. */
  announced(rollCall: RollCall): void {
    if (!isSound(rollCall) || rollCall.seq <= this.latest) return
    if (rollCall.prev > this.latest) {
      this.missing = Math.max(this.missing, rollCall.seq)
      return
    }
    this.queue.push(rollCall)
    this.latest = rollCall.seq
  }

  /** Queues the roll calls of an answer. `before` is what {@link latest} and {@link missing} were when the exchange was sent. */
  answered(
    rollCalls: ReadonlyArray<RollCall>,
    head: number,
    before: { readonly latest: number; readonly missing: number }
  ): void {
    if (!Number.isSafeInteger(head)) return
    // The log ends before the last roll call that this process knows: the store has lost it.
    if (head < before.latest) {
      // This process has heard nothing of the present log, whatever the numbers are.
      this.queue = []
      this.latest = 0
      this.confirmed = 0
    }
    for (const rollCall of rollCalls) {
      if (!isSound(rollCall) || rollCall.seq <= this.latest) continue
      this.queue.push(rollCall)
      this.latest = rollCall.seq
    }
    // What was missing when the store was asked is in the answer, or the store has lost it.
    if (this.missing === before.missing) this.missing = 0
    if (rollCalls.length < limits.rollCalls) this.latest = Math.max(this.latest, head)
    else if (this.latest < head) this.missing = Math.max(this.missing, head)
    if (this.missing <= this.latest) this.missing = 0
  }

  /** The store may have taken this process for dead and dropped its ballots. It sends the roll calls that it still has again. */
  forget(): void {
    this.generation++
    this.queue = []
    this.latest = 0
    this.confirmed = 0
    this.missing = 0
  }

  /** The log of the store ends at `head`, and this process has not read up to it. */
  missed(head: number): void {
    if (Number.isSafeInteger(head) && head > this.latest) this.missing = Math.max(this.missing, head)
  }

  /** The store has accepted that this process has heard all roll calls up to this number. */
  confirm(heard: number): void {
    this.confirmed = heard
    this.queue = this.queue.filter(({ seq }) => seq > heard)
  }
}

/** A roll call with an invalid number could never be confirmed. */
const isSound = ({ prev, seq }: RollCall): boolean => Number.isSafeInteger(seq) && Number.isSafeInteger(prev)
