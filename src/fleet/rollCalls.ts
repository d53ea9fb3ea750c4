import { limits, type RollCall } from "../store/SharedStore.ts"

/**
 * The roll calls that this process has to answer, and how far it has answered them. Pure: no store and no clock.
 *
 * `heard` may move to a roll call only in the exchange that carries the last ballot that this process owes up to it, or in a
 * later one. The store takes a roll call that was heard, and not answered by a ballot, for an abstention.
 */
export class Hearing {
  /** The life of the store in which all of this was heard; empty until the store has answered. */
  life = ""
  /** The number of the last roll call that, as the store knows, this process has heard. */
  confirmed = 0
  /** The number of the latest roll call that is queued or was heard: all up to it are. */
  latest = 0
  /** The number of the latest roll call that is known of and cannot be queued, because one before it is missing; or 0. */
  missing = 0
  /** How often all of this was forgotten. An answer to a command from before that says nothing. */
  generation = 0
  private queue: Array<RollCall> = []

  /** The roll calls to answer, in their order. */
  get queued(): ReadonlyArray<RollCall> {
    return this.queue
  }

  /** Whether there is something to tell the store, or to ask it. */
  get isBehind(): boolean {
    return this.missing > 0 || this.queue.length > 0
  }

  /** An announcement. If one before it is missing the store has to be asked. */
  announced(rollCall: RollCall): void {
    if (!isSound(rollCall) || rollCall.seq <= this.latest) return
    if (rollCall.prev > this.latest) {
      this.missing = Math.max(this.missing, rollCall.seq)
      return
    }
    this.queue.push(rollCall)
    this.latest = rollCall.seq
  }

  /** What an exchange has answered. `before` is what {@link latest} and {@link missing} were when it was sent. */
  answered(
    rollCalls: ReadonlyArray<RollCall>,
    head: number,
    before: { readonly latest: number; readonly missing: number }
  ): void {
    if (!Number.isSafeInteger(head)) return
    // The log ends before what this process knows of it: the store lost it.
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

  /**
   * The store may have taken this process for dead, and have dropped its ballots: nothing was heard and answered. The roll calls
   * that the store still has come again.
   */
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
