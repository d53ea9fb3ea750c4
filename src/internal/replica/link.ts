import * as Effect from "effect/Effect"
import type { StoreError } from "../../SharedStore.ts"
import type { Time } from "../engine/time.ts"

/** No answer that takes longer is worth waiting for. */
const deadlineMillis = 250

/** The way to the store: every operation has a deadline, and nobody is told of a failure but by this. */
export class Link {
  /** Whether the last operation failed. */
  down = false
  /** When the store was last heard of again. */
  connectedAt = Number.NEGATIVE_INFINITY
  /** What failed last, in words. */
  trouble = ""
  private readonly time: Time
  private readonly onReturn: () => void

  constructor(time: Time, onReturn: () => void) {
    this.time = time
    this.onReturn = onReturn
  }

  /** The answer, or nothing. */
  run<A>(operation: Effect.Effect<A, StoreError>): Effect.Effect<{ readonly answer: A } | undefined> {
    return Effect.matchCause(Effect.timeout(operation, deadlineMillis), {
      onFailure: (cause) => {
        this.down = true
        const error = cause.reasons.find((reason) => reason._tag !== "Interrupt")
        this.trouble = error === undefined ? "interrupted" : String(error._tag === "Fail" ? error.error : error.defect)
        return undefined
      },
      onSuccess: (answer) => {
        if (this.down) {
          this.down = false
          this.connectedAt = this.time.now()
          this.onReturn()
        }
        return { answer }
      }
    })
  }
}
