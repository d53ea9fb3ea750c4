import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import { admitAs, type Subject, settleUnanswered } from "../breaker/protect.ts"
import * as Outcome from "../core/Outcome.ts"
import type { Call } from "../engine/call.ts"
import type { Restore } from "../engine/classify.ts"

class StreamedAnswer {
  private readonly permit: Call
  private hasElement = false

  constructor(permit: Call) {
    this.permit = permit
  }

  /**
   * Settles the call after a pull, if the stream has ended, or if the call is a probe: an element shows that the server works. The scope of
   * the stream may stay open for much longer.
   */
  pulled(exit: Exit.Exit<unknown, unknown>, restore: Restore): Effect.Effect<void> | undefined {
    const { permit } = this
    if (exit._tag === "Success") {
      this.hasElement = true
      return permit.isProbe ? permit.settleAs(Outcome.success) : undefined
    }
    if (Pull.isDoneCause(exit.cause)) return permit.settleAs(Outcome.success)
    return Cause.hasInterruptsOnly(exit.cause) ? undefined : permit.settle(exit, restore)
  }

  /** Settles the call if the consumer stops before the end of the stream. */
  abandoned(consumer: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    if (consumer._tag === "Success") return this.permit.settleAs(Outcome.success) ?? Effect.void
    return this.hasElement
      ? (this.permit.settleAs(Outcome.ignored) ?? Effect.void)
      : settleUnanswered(this.permit, consumer)
  }
}

/** Runs a streamed answer under a circuit, from the first pull until the stream ends or its consumer stops. */
export const watched = (
  stream: Stream.Stream<unknown, unknown>,
  subject: Subject
): Stream.Stream<unknown, unknown, BreakerStore> =>
  Stream.unwrap(
    Effect.map(
      Effect.acquireRelease(
        Effect.map(admitAs(subject, Infinity), (permit) => new StreamedAnswer(permit)),
        (answer, consumer) => answer.abandoned(consumer)
      ),
      (answer) =>
        Stream.transformPull(stream, (pull) =>
          Effect.succeed(
            Effect.uninterruptibleMask((restore) =>
              Effect.onExitPrimitive(restore(pull), (exit) => answer.pulled(exit, restore))
            )
          )
        )
    )
  )
