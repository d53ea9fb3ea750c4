import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric, Stream } from "effect"
import { EmbeddingModel, LanguageModel, Model } from "effect/ai"
import { BreakerStore } from "effect-fuse"
import { AiBreaker } from "effect-fuse/ai"
import { embeddings, messagesApi, messagesModel, refusal, streamed } from "./support/messagesApi.ts"

const prompt = "Hello"

/** Reads the values of the metric. Their labels are the keys. */
const tokens = Effect.map(Metric.snapshot, (all) =>
  Object.fromEntries(
    all
      .filter(({ id }) => id === "circuit_breaker_tokens_total")
      .map(({ attributes, state }) => [
        Object.values(attributes ?? {})
          .sort()
          .join(" "),
        (state as { readonly count: number }).count
      ])
  )
)

const metered = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  self.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provideService(Metric.MetricRegistry, new Map()))

const usages: ReadonlyArray<readonly [what: string, usage: unknown, counted: object]> = [
  ["both directions", { inputTokens: { total: 7 }, outputTokens: { total: 2 } }, { "acme input": 7, "acme output": 2 }],
  ["only input", { inputTokens: { total: 7 }, outputTokens: {} }, { "acme input": 7 }],
  ["nothing", { inputTokens: {}, outputTokens: {} }, {}],
  ["a negative number", { inputTokens: { total: -7 }, outputTokens: { total: 0 } }, {}]
]

describe("The tokens of a model", () => {
  it.effect("count for its provider and its name: two calls and a stream count, a failed call does not", () =>
    Effect.gen(function* () {
      const api = yield* messagesApi
      const calls = Effect.gen(function* () {
        yield* LanguageModel.generateText({ prompt })
        yield* LanguageModel.generateText({ prompt })
        api.replies.splice(0, Infinity, streamed(["hello"]))
        yield* Stream.runDrain(LanguageModel.streamText({ prompt }))
        api.replies.splice(0, Infinity, refusal(500, "api_error"))
        yield* Effect.flip(LanguageModel.generateText({ prompt }))
      })
      yield* Effect.provide(calls, AiBreaker.layer(messagesModel(api.origin, "large")))
      assert.deepStrictEqual(yield* tokens, { "input large messages": 9, "large messages output": 15 })
    }).pipe(Effect.scoped, metered)
  )

  it.effect.each(usages)("of a provider that reports %s", ([, usage, counted]) =>
    Effect.gen(function* () {
      const finish = { type: "finish", reason: "stop", usage, response: undefined } as never
      const model = Layer.effect(
        LanguageModel.LanguageModel,
        LanguageModel.make({ generateText: () => Effect.succeed([finish]), streamText: () => Stream.make(finish) })
      )
      const around = AiBreaker.layer(model, { name: "acme" })
      yield* Effect.ignore(Effect.provide(LanguageModel.generateText({ prompt }), around))
      assert.deepStrictEqual(yield* tokens, counted)
    }).pipe(metered)
  )

  it.effect("of embeddings are those of embedMany", () =>
    Effect.gen(function* () {
      const around = AiBreaker.layer(
        Model.make(
          "acme",
          "small",
          embeddings((inputs) => Effect.succeed(inputs.map(() => [1])), 6)
        )
      )
      const many = Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => model.embedMany(["a", "b"]))
      yield* Effect.provide(many, around)
      assert.deepStrictEqual(yield* tokens, { "acme input small": 6 })
    }).pipe(metered)
  )
})
