import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { failureText } from "../engine/classify.ts"
import type { Time } from "../engine/time.ts"
import { timeout } from "../engine/timeout.ts"
import type { ExchangeAnswer, SharedStore, StoreError } from "../store/SharedStore.ts"

/** How long an operation may take if the store sets no deadline. */
const deadlineMillis = 250

/** The store is down after this many failures in a row, and at least this long after the first failed operation began. */
const failuresDown = 2
const downAfterMillis = 500

/** The store's clock has stepped if it is this much ahead of what was expected, or behind it. */
const stepMillis = 1_000

/** If this process reads an answer this much later than its deadline, the answer is old: it waited while this process did not run. */
const overdueMillis = 1_000

/** Sends commands to the store with a deadline, and tracks whether it is down and what time it has. */
export class StoreClient {
  /** How long an operation may take. A command that the store receives later than this changes nothing. */
  readonly deadlineMillis: number
  /** Whether exchanges fail, so that this process decides alone. Reads may still work. */
  down = false
  misses = 0
  /** Whether the store has answered since this process started. */
  answered = false
  /** When the store last went down, and when it last answered again after that. */
  downAt = Number.NEGATIVE_INFINITY
  connectedAt = Number.NEGATIVE_INFINITY
  /** When this process noticed that the store's clock leapt forward. The store may then count every process as dead. */
  leaptAt = Number.NEGATIVE_INFINITY
  /** The text of the last failure. */
  trouble = ""
  /** Called when the store goes down, and when it answers again. */
  onDown: () => void = () => {}
  onReturn: () => void = () => {}
  /**
   * Called with the milliseconds by which the store's clock has stepped, forward if they are positive: the store may have counted this
   * process as dead. After a suspension, in which this process's clock stood still, the store's clock also seems to step forward.
   */
  onStep: (millis: number) => void = () => {}
  /** Whether this process is stalled: a failure during a stall does not count against the store. */
  isStalled: () => boolean = () => false
  private readonly store: SharedStore
  private readonly time: Time
  /** When the first operation began that failed after the last success. */
  private failingSince = Number.POSITIVE_INFINITY
  private storeTime: { readonly time: number; readonly at: number } | undefined = undefined

  constructor(store: SharedStore, time: Time) {
    this.store = store
    this.time = time
    this.deadlineMillis = store.deadline ?? deadlineMillis
  }

  /** Takes the store's time from an answer. */
  noteTime(time: number): void {
    if (!Number.isFinite(time)) return
    const at = this.time.now()
    const known = this.storeTime
    const step = known === undefined ? 0 : time - known.time - (at - known.at)
    this.storeTime = { time, at }
    if (step > stepMillis) this.leaptAt = at
    if (Math.abs(step) > stepMillis) this.onStep(step)
  }

  /** The store's present time, as this process estimates it. It may be a little late. */
  get storeNow(): number | undefined {
    return this.storeTime === undefined ? undefined : this.storeTime.time + (this.time.now() - this.storeTime.at)
  }

  /** The deadline of a command by the clock of the store. `decidedAt` is by the clock of this process. */
  private notAfter(decidedAt: number): number | undefined {
    const now = this.storeNow
    return now === undefined ? undefined : now - (this.time.now() - decidedAt) + this.deadlineMillis
  }

  /** Reads the store's time, unless this process knows it. */
  get learnTime(): Effect.Effect<void> {
    return Effect.suspend(() =>
      this.storeTime === undefined ? Effect.asVoid(this.write(() => this.store.load([]))) : Effect.void
    )
  }

  /**
   * Sends an exchange with a deadline. Returns `undefined` if the exchange failed, if the store received it after the deadline, or if the
   * store's time is not known.
   *
   * The deadline counts from `decidedAt`, when the content was decided, because the process may be frozen before it sends the content. A late
   * command is not sent again, because its content may be old: the clock of this process stands still while the machine is suspended.
   */
  exchange(
    decidedAt: number,
    send: (notAfter: number | undefined) => Effect.Effect<ExchangeAnswer, StoreError>
  ): Effect.Effect<ExchangeAnswer | undefined> {
    const timed = Effect.map(
      this.write(() => send(this.notAfter(decidedAt))),
      (answer) => {
        if (answer?._tag === "Late") this.trouble = "commands reach it too late"
        return answer
      }
    )
    return Effect.suspend(() => (this.storeTime === undefined ? Effect.succeed(undefined) : timed))
  }

  /** Sends a read. Returns `undefined` if the read failed, or if the answer is old because this process was frozen. */
  read<A extends { readonly time: number }>(
    operation: (store: SharedStore) => Effect.Effect<A, StoreError>
  ): Effect.Effect<A | undefined> {
    return Effect.suspend(() => {
      const began = this.time.now()
      const answer = this.run(
        began,
        () => operation(this.store),
        () => {},
        () => {}
      )
      return Effect.map(answer, (one) => (this.isOverdue(began) ? undefined : one))
    })
  }

  /** Whether the answer to a command that was sent at `began` is old if it arrives now. */
  private isOverdue(began: number): boolean {
    return this.time.now() - began > this.deadlineMillis + overdueMillis
  }

  /**
   * Whether conclusions from an answer are old. This process sent the command at `began`, and has since waited for long or was frozen.
   */
  isOld(began: number): boolean {
    return began <= this.leaptAt || this.time.now() - began > 2 * this.deadlineMillis + overdueMillis
  }

  private write<A extends { readonly time: number }>(
    operation: () => Effect.Effect<A, StoreError>
  ): Effect.Effect<A | undefined> {
    return Effect.suspend(() => {
      const began = this.time.now()
      return this.run(
        began,
        operation,
        () => this.succeeded(),
        () => this.failed(began)
      )
    })
  }

  private run<A extends { readonly time: number }>(
    began: number,
    operation: () => Effect.Effect<A, StoreError>,
    succeeded: () => void,
    failed: () => void
  ): Effect.Effect<A | undefined> {
    // A custom store may throw instead of returning an effect.
    return Effect.matchCause(timeout(Effect.suspend(operation), this.deadlineMillis), {
      onFailure: (cause) => {
        this.trouble = Cause.hasInterruptsOnly(cause) ? "interrupted" : failureText(undefined, Exit.failCause(cause))
        failed()
        return undefined
      },
      onSuccess: (answer) => {
        this.answered = true
        succeeded()
        if (!this.isOverdue(began)) this.noteTime(answer.time)
        return answer
      }
    })
  }

  private failed(began: number): void {
    if (this.isStalled()) return
    this.misses++
    this.failingSince = Math.min(this.failingSince, began)
    if (this.down || this.misses < failuresDown || this.time.now() - this.failingSince < downAfterMillis) return
    this.down = true
    this.downAt = this.failingSince
    this.onDown()
  }

  private succeeded(): void {
    this.misses = 0
    this.failingSince = Number.POSITIVE_INFINITY
    if (!this.down) return
    this.down = false
    this.connectedAt = this.time.now()
    this.onReturn()
  }
}
