import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"

/** What a provider says about the tokens of one call. Embeddings have a plain number of input tokens and no output. */
interface Usage {
  readonly inputTokens?: unknown
  readonly outputTokens?: unknown
}

const totalOf = (tokens: unknown): number => {
  const total = typeof tokens === "object" && tokens !== null ? (tokens as { readonly total?: unknown }).total : tokens
  return typeof total === "number" && total > 0 && total < Infinity ? total : 0
}

const counter = Metric.counter("circuit_breaker_tokens_total", {
  description: "Tokens of a language model or embedding model, as its provider reports them.",
  incremental: true
})

/** Counts the tokens of one model. The circuit does not depend on them. */
export class Tokens {
  private readonly input: typeof counter
  private readonly output: typeof counter

  constructor(name: string, key: string | undefined) {
    const of = (direction: "input" | "output") =>
      Metric.withAttributes(counter, key === undefined ? { name, direction } : { name, key, direction })
    this.input = of("input")
    this.output = of("output")
  }

  /** Adds what the provider reported at the end of a call. A provider may report nothing. */
  add(usage: unknown): Effect.Effect<void> {
    const { inputTokens, outputTokens } = (typeof usage === "object" && usage !== null ? usage : {}) as Usage
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
