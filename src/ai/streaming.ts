import type * as AiError from "effect/ai/AiError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Stream from "effect/Stream"
import type { BreakerStore } from "../breaker/BreakerStore.ts"
import { admitAs, type Subject, settleUnanswered } from "../breaker/protect.ts"
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
  private readonly runsTools: boolean
  private readonly tokens: Tokens
  /** The running tools. While tools run, the stream is silent, and the provider is not the cause. */
  private readonly running = new Set<unknown>()
  private hasToken = false
  private hasFinished = false
  private refused: Outcome.Outcome | undefined
  waitedMillis = 0

  constructor(permit: Call, runsTools: boolean, tokens: Tokens) {
    this.permit = permit
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

  /** Reads parts. Returns an effect that counts tokens and settles a probe. The first token of a probe shows that the provider works. */
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

  /** Settles the call when the stream ends. The scope of the stream may stay open for much longer. */
  left(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> | undefined {
    if (exit._tag === "Success") return undefined
    if (Pull.isDoneCause(exit.cause)) return this.permit.settleAs(this.outcome(unfinished))
    return Cause.hasInterruptsOnly(exit.cause) ? undefined : this.permit.settle(exit)
  }

  /** Settles the call if the consumer stops before the end of the stream. */
  abandoned(consumer: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    if (!this.hasToken && this.refused === undefined && !this.hasFinished)
      return settleUnanswered(this.permit, consumer)
    const otherwise = consumer._tag === "Success" ? Outcome.success : Outcome.ignored
    return this.permit.settleAs(this.outcome(otherwise)) ?? Effect.void
  }

  private outcome(otherwise: Outcome.Outcome): Outcome.Outcome {
    return this.refused ?? (this.hasFinished ? Outcome.success : otherwise)
  }
}

const unfinished = Outcome.failure({ detail: "the stream ended without its finish part" })

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
          (permit) => new Streamed(permit, runsTools, tokens)
        ),
        (streamed, exit) => streamed.abandoned(exit)
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
              const noted = Effect.onExitPrimitive(timed, (exit) => streamed.left(exit))
              return Effect.flatMap(noted, (parts) => {
                streamed.waitedMillis += loop.now() - began
                const counted = streamed.arrived(parts)
                return counted === undefined ? Effect.succeed(parts) : Effect.as(Effect.uninterruptible(counted), parts)
              })
            })
          )
        )
    )
  )
