import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import { admitAs, type Subject } from "../breaker/protect.ts"
import * as Outcome from "../core/Outcome.ts"
import type { Call } from "../engine/call.ts"
import type { Classify } from "../engine/classify.ts"

/** The state of one streamed answer under its circuit. */
class StreamedAnswer {
  private readonly permit: Call
  private readonly classify: Classify
  private hasEnded = false
  private broke: Exit.Exit<unknown, unknown> | undefined

  constructor(permit: Call, classify: Classify) {
    this.permit = permit
    this.classify = classify
  }

  /** An element arrived. Returns the effect that settles a probe at its first element, which shows that the server works. */
  arrived(): Effect.Effect<void> | undefined {
    return this.permit.isProbe ? this.permit.settleAs(Outcome.success) : undefined
  }

  left(exit: Exit.Exit<unknown, unknown>): void {
    if (exit._tag === "Success") return
    if (Pull.isDoneCause(exit.cause)) this.hasEnded = true
    else if (!Cause.hasInterruptsOnly(exit.cause)) this.broke = exit
  }

  /** Settles the call after the stream has ended or its consumer has stopped. */
  settle(consumer: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    const { broke, permit } = this
    const settled = (outcome: Outcome.Outcome) => permit.settleAs(outcome, broke) ?? Effect.void
    if (broke !== undefined) {
      const outcome = this.classify(broke)
      return Effect.isEffect(outcome) ? Effect.flatMap(outcome, settled) : settled(outcome)
    }
    const answered = this.hasEnded || consumer._tag === "Success"
    return settled(answered ? Outcome.success : Outcome.ignored)
  }
}

/** Runs a streamed answer under a circuit, from the first pull until the stream ends or its consumer stops. */
export const watched = (
  stream: Stream.Stream<unknown, unknown>,
  subject: Subject,
  classify: Classify
): Stream.Stream<unknown, unknown, BreakerStore> =>
  Stream.unwrap(
    Effect.map(
      Effect.acquireRelease(
        Effect.map(admitAs(subject, Infinity), (permit) => new StreamedAnswer(permit, classify)),
        (answer, exit) => answer.settle(exit)
      ),
      (answer) =>
        Stream.transformPull(stream, (pull) =>
          Effect.succeed(
            Effect.flatMap(
              Effect.onExit(pull, (exit) => Effect.sync(() => answer.left(exit))),
              (elements) => Effect.as(answer.arrived() ?? Effect.void, elements)
            )
          )
        )
    )
  )
