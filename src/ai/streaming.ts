import type * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import { admitAs, type Subject } from "../breaker/protect.ts"
import * as Outcome from "../core/Outcome.ts"
import type { Call } from "../engine/call.ts"
import { eventLoopOf } from "../engine/eventLoop.ts"
import { timeoutOrElse } from "../engine/timeout.ts"
import { rejectedBy, tookTooLong } from "./errors.ts"
import { ofErrorPart } from "./reading.ts"
import type { Tokens } from "./tokens.ts"

const method = "streamText"

export interface StreamLimits {
  readonly firstTokenMillis: number
  readonly betweenTokensMillis: number
}

/** The fields of a stream part that this module reads. */
interface StreamedPart {
  readonly type: string
  readonly id?: unknown
  readonly toolCallId?: unknown
  readonly providerExecuted?: unknown
  readonly preliminary?: unknown
  readonly error?: unknown
  readonly usage?: unknown
}

/** Parts that announce content. A provider may send them long before the content, so they are not tokens. */
const announcing: ReadonlySet<string> = new Set([
  "response-metadata",
  "text-start",
  "reasoning-start",
  "tool-params-start"
])

/** The state of one stream under its circuit. */
class Streamed {
  private readonly permit: Call
  private readonly classify: NonNullable<Subject["classify"]>
  private readonly runsTools: boolean
  private readonly tokens: Tokens
  /** The running tools. While tools run, the stream is silent, and the provider is not the cause. */
  private readonly running = new Set<unknown>()
  private hasToken = false
  private hasFinished = false
  private refused: Outcome.Outcome | undefined
  private broke: Exit.Exit<unknown, unknown> | undefined
  private ended = false
  waitedMillis = 0

  constructor(permit: Call, classify: NonNullable<Subject["classify"]>, runsTools: boolean, tokens: Tokens) {
    this.permit = permit
    this.classify = classify
    this.runsTools = runsTools
    this.tokens = tokens
  }

  /** How many milliseconds the next pull may take. */
  patience({ betweenTokensMillis, firstTokenMillis }: StreamLimits): number {
    if (!this.hasToken) return Math.max(1, firstTokenMillis - this.waitedMillis)
    return this.running.size > 0 ? Infinity : betweenTokensMillis
  }

  /** The error of a pull that took longer than `patience`. */
  late({ betweenTokensMillis, firstTokenMillis }: StreamLimits): AiError.AiError {
    return this.hasToken
      ? tookTooLong(method, "no further token arrived", betweenTokensMillis)
      : tookTooLong(method, "no token arrived", firstTokenMillis)
  }

  /** Reads parts. Returns an effect that counts tokens, and settles a probe at the first token, which shows that the provider works. */
  arrived(parts: ReadonlyArray<StreamedPart>): Effect.Effect<void> | undefined {
    let counted: Effect.Effect<void> | undefined
    for (const part of parts) {
      if (!announcing.has(part.type) && part.type !== "error") this.hasToken = true
      switch (part.type) {
        case "tool-call":
          if (part.providerExecuted === true || this.runsTools) this.running.add(part.id)
          break
        case "tool-result":
          if (part.preliminary !== true) this.running.delete(part.id)
          break
        case "tool-approval-request":
          this.running.delete(part.toolCallId)
          break
        case "finish":
          this.hasFinished = true
          counted = this.tokens.add(part.usage)
          break
        case "error":
          this.refused = ofErrorPart(part.error)
          break
      }
    }
    const settled =
      this.hasToken && this.refused === undefined && this.permit.isProbe
        ? this.permit.settleAs(Outcome.success)
        : undefined
    return counted === undefined || settled === undefined ? (counted ?? settled) : Effect.andThen(counted, settled)
  }

  left(exit: Exit.Exit<unknown, unknown>): void {
    if (exit._tag === "Success") return
    if (Pull.isDoneCause(exit.cause)) this.ended = true
    else if (!Cause.hasInterruptsOnly(exit.cause)) this.broke = exit
  }

  /** Settles the call after the stream has ended or its consumer has stopped. */
  settle(consumer: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    const { broke, permit } = this
    if (broke !== undefined) {
      const outcome = this.classify(broke)
      const settled = (one: Outcome.Outcome) => permit.settleAs(one, broke) ?? Effect.void
      return Effect.isEffect(outcome) ? Effect.flatMap(outcome, settled) : settled(outcome)
    }
    return permit.settleAs(this.outcome(consumer)) ?? Effect.void
  }

  private outcome(consumer: Exit.Exit<unknown, unknown>): Outcome.Outcome {
    if (this.refused !== undefined) return this.refused
    if (this.hasFinished) return Outcome.success
    if (this.ended) return Outcome.failure({ detail: "the stream ended without its finish part" })
    return this.hasToken && consumer._tag === "Success" ? Outcome.success : Outcome.ignored
  }
}

/** Runs a stream of a model under a circuit, from the first pull until the stream ends or its consumer stops. */
export const watched = <Part extends StreamedPart>(
  stream: Stream.Stream<Part, unknown>,
  subject: Subject,
  limits: StreamLimits,
  tokens: Tokens,
  runsTools: boolean
): Stream.Stream<Part, unknown, BreakerStore> =>
  Stream.unwrap(
    Effect.map(
      Effect.acquireRelease(
        Effect.map(
          Effect.mapError(admitAs(subject, Infinity), (open) => rejectedBy(method, open)),
          (permit) => new Streamed(permit, subject.classify as NonNullable<Subject["classify"]>, runsTools, tokens)
        ),
        (streamed, exit) => streamed.settle(exit)
      ),
      (streamed) =>
        Stream.transformPull(stream, (pull) =>
          Effect.succeed(
            Effect.clockWith((clock) => {
              const loop = eventLoopOf(clock)
              const began = loop.now()
              const millis = streamed.patience(limits)
              const late = () => Effect.fail(streamed.late(limits))
              const timed = millis === Infinity ? pull : timeoutOrElse(pull, millis, late)
              const noted = Effect.onExit(timed, (exit) => Effect.sync(() => streamed.left(exit)))
              return Effect.flatMap(noted, (parts) => {
                streamed.waitedMillis += loop.now() - began
                return Effect.as(streamed.arrived(parts) ?? Effect.void, parts)
              })
            })
          )
        )
    )
  )
