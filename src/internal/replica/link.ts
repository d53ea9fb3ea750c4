import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { StoreError } from "../../SharedStore.ts"
import { failureText } from "../engine/reading.ts"
import type { Time } from "../engine/time.ts"

/** No answer that takes longer is worth waiting for. */
const deadlineMillis = 250

/** The way to the store: every operation has a deadline, and nobody is told of a failure but by this. */
export class Link {
  /** Operations that failed in a row. */
  misses = 0
  /** Whether the store has answered since this process started. */
  answered = false
  /** When the store was last heard of again, after it had been down. */
  connectedAt = Number.NEGATIVE_INFINITY
  /** What failed last, in words. */
  trouble = ""
  private readonly time: Time
  private readonly onReturn: () => void

  constructor(time: Time, onReturn: () => void) {
    this.time = time
    this.onReturn = onReturn
  }

  /** Whether to do without the store. One command that got lost is no reason. */
  get down(): boolean {
    return this.misses > 1
  }

  /** The answer, or nothing. */
  run<A>(operation: () => Effect.Effect<A, StoreError>): Effect.Effect<{ readonly answer: A } | undefined> {
    // A store of somebody's own may throw before there is an effect.
    return Effect.matchCause(Effect.timeout(Effect.suspend(operation), deadlineMillis), {
      onFailure: (cause) => {
        this.misses++
        this.trouble = Cause.hasInterruptsOnly(cause) ? "interrupted" : failureText(undefined, Exit.failCause(cause))
        return undefined
      },
      onSuccess: (answer) => {
        const { down } = this
        this.misses = 0
        this.answered = true
        if (down) {
          this.connectedAt = this.time.now()
          this.onReturn()
        }
        return { answer }
      }
    })
  }
}
