import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { isRecord } from "../core/fields.ts"

/** The provider reports these counts for one call. For embeddings, `inputTokens` is a number. */
interface Usage {
  readonly inputTokens?: unknown
  readonly outputTokens?: unknown
}

const totalOf = (tokens: unknown): number => {
  const total = isRecord(tokens) ? tokens["total"] : tokens
  return typeof total === "number" && total > 0 && total < Infinity ? total : 0
}

const counter = Metric.counter("circuit_breaker_tokens_total", {
  description: "Tokens of a language model or embedding model, as its provider reports them.",
  incremental: true
})

/** Counts the tokens of one model in a metric. */
export class Tokens {
  private readonly input: typeof counter
  private readonly output: typeof counter

  constructor(name: string, key: string | undefined) {
    const of = (direction: "input" | "output") =>
      Metric.withAttributes(counter, key === undefined ? { name, direction } : { name, key, direction })
    this.input = of("input")
    this.output = of("output")
  }

  /** Adds the token counts of one call. A provider may report no counts. */
  add(usage: unknown): Effect.Effect<void> {
    const { inputTokens, outputTokens }: Usage = isRecord(usage) ? usage : {}
    const [input, output] = [totalOf(inputTokens), totalOf(outputTokens)]
    if (input === 0 && output === 0) return Effect.void
    return Effect.contextWith((context: Context.Context<never>) =>
      Effect.sync(() => {
        if (input > 0) this.input.updateUnsafe(input, context)
        if (output > 0) this.output.updateUnsafe(output, context)
      })
    )
  }
}
