/** Two language models. The first is rate limited for two hours, so its circuit opens, and only the second model gets calls. */
import { DateTime, Duration, Effect, ExecutionPlan, Layer, Logger, Stream } from "effect"
import { AiError, LanguageModel, Model, type Response } from "effect/ai"
import { BreakerStore, CircuitBreaker } from "effect-fuse"
import { AiBreaker } from "effect-fuse/ai"

const finish: Response.FinishPartEncoded = {
  type: "finish",
  reason: "stop",
  usage: { inputTokens: { total: 4 }, outputTokens: { total: 2 } },
  response: undefined
}

/** A model in memory. With a real provider: `AnthropicLanguageModel.model("claude-...")`, which is a `Model` as well. */
const model = (provider: string, name: string, say: () => Effect.Effect<string, AiError.AiError>) =>
  Model.make(
    provider,
    name,
    Layer.effect(
      LanguageModel.LanguageModel,
      LanguageModel.make({
        generateText: () => Effect.map(say(), (text) => [{ type: "text", text }, finish]),
        streamText: () =>
          Stream.unwrap(
            Effect.map(say(), (delta) => Stream.make({ type: "text-delta" as const, id: "1", delta }, finish))
          )
      })
    )
  )

let asked = 0
const large = model("acme", "large", () => {
  asked++
  const reason = new AiError.QuotaExhaustedError({ resetAt: DateTime.makeUnsafe(Date.now() + 7_200_000) })
  return Effect.fail(AiError.make({ module: "Acme", method: "generateText", reason }))
})
const small = model("globex", "small", () => Effect.succeed("hello"))

// `AiBreaker.layer` puts a circuit around each model. With `while`, the plan does not send a refused prompt to the second model.
const models = ExecutionPlan.make(
  { provide: AiBreaker.layer(large) },
  { provide: AiBreaker.layer(small), while: AiBreaker.isUnavailable }
)

const greet = Effect.map(LanguageModel.generateText({ prompt: "Say hello" }), ({ text }) => text)

const program = Effect.gen(function* () {
  for (let i = 0; i < 3; i++) console.log(yield* Effect.withExecutionPlan(greet, models))
  console.log(`the first model was asked ${asked} time`)
  const { retryAfter, state } = yield* CircuitBreaker.inspect("acme")
  console.log(`${state}, all models of acme, for ${Math.round(Duration.toHours(retryAfter))} hours`)
})

await Effect.runPromise(program.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(Logger.layer([]))))
