/**
 * Circuits around the language models and embedding models of Effect's `effect/ai`. Each model of each provider has its own circuit.
 *
 * ```ts
 * import { Duration, Effect, Layer, Stream } from "effect"
 * import { AiError, LanguageModel, Model } from "effect/ai"
 * import { BreakerStore } from "effect-fuse"
 * import { AiBreaker } from "effect-fuse/ai"
 *
 * // The provider refuses calls for two hours.
 * const refused = AiError.make({
 *   module: "Provider",
 *   method: "generateText",
 *   reason: new AiError.RateLimitError({ retryAfter: Duration.hours(2) })
 * })
 * const model = Model.make("acme", "large", Layer.effect(
 *   LanguageModel.LanguageModel,
 *   LanguageModel.make({ generateText: () => Effect.fail(refused), streamText: () => Stream.fail(refused) })
 * ))
 *
 * const program = Effect.gen(function* () {
 *   yield* Effect.flip(LanguageModel.generateText({ prompt: "Hello" }))
 *   return yield* Effect.flip(LanguageModel.generateText({ prompt: "Hello" }))
 * })
 * const error = await Effect.runPromise(
 *   program.pipe(Effect.provide(AiBreaker.layer(model)), Effect.provide(BreakerStore.layerMemory))
 * )
 * AiBreaker.circuitOpen(error)?.key // => "large"
 * ```
 *
 * `effect/ai` is unstable. This module is tested with Effect 4.1.0.
 */
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LanguageModel from "effect/ai/LanguageModel"
import * as Model from "effect/ai/Model"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as RequestResolver from "effect/RequestResolver"
import * as Stream from "effect/Stream"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import { guard, inlinePolicy, type Subject, toSubject } from "../breaker/protect.ts"
import {
  type Decoded,
  decodeOptions,
  type FieldsOf,
  optional,
  orFalse,
  positiveMillis,
  refused,
  text,
  textOrEmpty
} from "../core/fields.ts"
import type * as Outcome from "../core/Outcome.ts"
import { defaultOutcome } from "../engine/classify.ts"
import { type AnyEffect, timeoutOrElse } from "../engine/timeout.ts"
import * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import type { Policy } from "../policy/policy.ts"
import * as CircuitOpen from "../shapes/CircuitOpen.ts"
import { isRejection } from "../shapes/rejections.ts"
import { rejectedBy, rejectionIn, tookTooLong } from "./errors.ts"
import { reading } from "./reading.ts"
import { type StreamLimits, watched } from "./streaming.ts"
import { Tokens } from "./tokens.ts"

/**
 * Configures the circuit and the timeouts of a model.
 *
 * @category options
 */
export interface Options {
  /** The name of the circuit. Default: the provider of the model, if the layer is a `Model` of `effect/ai`. */
  readonly name?: string | undefined
  /** The key of the circuit. Default: the name of the model, if the layer is a `Model` of `effect/ai`. */
  readonly key?: string | undefined
  /**
   * Overrides fields of the policy that `BreakerPolicy` has for this name. All models with the same name need the same policy. Default:
   * `{ probeTimeout: "2 minutes" }`.
   */
  readonly policy?: BreakerPolicy.Input | undefined
  /** The timeout of `generateText`, `generateObject` and embeddings, including the tools that run inside them. `false` disables it. Default: 5 minutes. */
  readonly timeout?: Duration.Input | false | undefined
  /** The longest time until the first token of a stream. `false` disables the limit. Default: 1 minute. */
  readonly firstToken?: Duration.Input | false | undefined
  /**
   * Limits the pause between two tokens of a stream. The pause does not include the time while tools run. `false` disables the limit.
   * Default: 1 minute.
   */
  readonly betweenTokens?: Duration.Input | false | undefined
  /**
   * Limits the cooldown after a rate limit or an exhausted quota. If the provider asks for a longer wait, the circuit still ends its
   * cooldown after this time. Default: 1 day.
   */
  readonly maxRetryAfter?: Duration.Input | undefined
}

const fields = {
  name: optional(text),
  key: optional(textOrEmpty),
  policy: inlinePolicy,
  timeout: optional(orFalse(positiveMillis)),
  firstToken: optional(orFalse(positiveMillis)),
  betweenTokens: optional(orFalse(positiveMillis)),
  maxRetryAfter: optional(positiveMillis)
} satisfies FieldsOf<Options>

/**
 * Classifies the end of a call of a model. `CircuitBreaker.protect` classifies errors of `effect/ai` in the same way by default.
 *
 * - Success: every answer. This includes refused content, an invalid prompt, and output that does not match its schema or that names an
 *   unknown tool.
 * - Failure: rate limits, with their `retryAfter` and `opens`; overload; errors of the provider; no connection; a response that cannot be
 *   decoded; defects.
 * - Failure with the scope `name`: refused credentials, an exhausted quota.
 * - Ignored: mistakes of the caller, such as an unsupported schema, and errors of tools.
 *
 * @category classifiers
 */
export const classify = (exit: Exit.Exit<unknown, unknown>): Outcome.Outcome => defaultOutcome(exit)

/**
 * Returns the `CircuitOpen` of a rejected call, or `undefined` for any other error. A rejected call fails with a retryable `AiError` with
 * the same `retryAfter`.
 *
 * @category errors
 */
export const circuitOpen = (error: unknown): CircuitOpen.CircuitOpen | undefined => rejectionIn(error)

/**
 * Returns `true` if another model may answer the failed call: the circuit rejected the call, or the error is a Failure. Use this function
 * as `while` of every step of an `ExecutionPlan` except the first. The plan then does not send a refused prompt to the next model.
 *
 * @category errors
 */
export const isUnavailable = (error: unknown): boolean =>
  isRejection(error) || defaultOutcome(Exit.fail(error))._tag === "Failure"

// ---- Models ---------------------------------------------------------------------------------------------------------

/** Models may answer slowly, so a probe gets more time. Models with the same name must share this object as their policy. */
const usual: Partial<Policy> = { probeTimeoutMillis: 120_000 }

interface Around {
  readonly subject: Subject
  readonly withTools: Subject
  readonly timeoutMillis: number
  readonly limits: StreamLimits
  readonly tokens: Tokens
  /** The store and the policies of the layer. A call uses them unless its caller provides others. */
  readonly context: Context.Context<BreakerStore>
}

const within = <A, E, R>({ context }: Around, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E> =>
  Effect.updateContext(effect, (own: Context.Context<never>) => Context.merge(context, own) as Context.Context<R>)

/** This module reads only these fields of a model's answer. */
type Answer = { readonly usage?: unknown } | undefined

/** Runs one call of a model under its circuit. */
const called = (around: Around, method: string, self: AnyEffect, runsTools: boolean): AnyEffect => {
  const subject = runsTools ? around.withTools : around.subject
  const { timeoutMillis, tokens } = around
  const counted = Effect.tap(self as Effect.Effect<Answer, unknown, unknown>, (response) => tokens.add(response?.usage))
  const timed =
    timeoutMillis === Infinity
      ? counted
      : timeoutOrElse(counted, timeoutMillis, () =>
          Effect.fail(tookTooLong(method, "no answer arrived", timeoutMillis))
        )
  return within(
    around,
    Effect.suspend(() => {
      let began = false
      const call = Effect.suspend(() => {
        began = true
        return timed
      })
      // If a tool fails with the rejection of another circuit, the error must stay a `CircuitOpen`.
      const isOwn = (error: unknown): error is CircuitOpen.CircuitOpen =>
        CircuitOpen.isCircuitOpen(error) &&
        (!began || (error.reason === "ProbeTimedOut" && error.circuit === subject.name))
      return Effect.mapError(guard(call, subject), (error) => (isOwn(error) ? rejectedBy(method, error) : error))
    })
  )
}

type AnyOptions = { readonly toolkit?: unknown; readonly disableToolCallResolution?: boolean | undefined }

const runsTools = ({ disableToolCallResolution, toolkit }: AnyOptions): boolean =>
  toolkit !== undefined && disableToolCallResolution !== true

const aroundLanguageModel = (model: LanguageModel.LanguageModel, around: Around): LanguageModel.LanguageModel => {
  type Of = (options: AnyOptions) => AnyEffect
  const generate = (method: "generateText" | "generateObject") => (options: AnyOptions) =>
    called(
      around,
      method,
      Effect.suspend(() => (model[method] as Of)(options)),
      runsTools(options)
    )
  const streamText = (options: AnyOptions) => {
    const tools = runsTools(options)
    const stream = Stream.suspend(() => (model.streamText as (options: AnyOptions) => Stream.Stream<never>)(options))
    return Stream.updateContext(
      watched(stream, tools ? around.withTools : around.subject, around.limits, around.tokens, tools),
      (own: Context.Context<never>) => Context.merge(around.context, own)
    )
  }
  // The functions have the same parameters and results as the functions of `model`. TypeScript cannot check this for generic overloads.
  return {
    ...model,
    generateText: generate("generateText"),
    generateObject: generate("generateObject"),
    streamText
  } as LanguageModel.LanguageModel
}

const aroundEmbeddingModel = (model: EmbeddingModel.EmbeddingModel, around: Around): EmbeddingModel.EmbeddingModel => {
  // Each request to the provider is one call of the circuit. A request may contain a batch of texts.
  const resolver = RequestResolver.makeWith<EmbeddingModel.EmbeddingRequest>({
    // Effect stores with this function object whether keys are compared by value. A wrapper would be another object.
    batchKey: model.resolver.batchKey,
    preCheck: model.resolver.preCheck,
    delay: model.resolver.delay,
    collectWhile: (entries) => model.resolver.collectWhile(entries),
    runAll: (entries, key) =>
      called(
        around,
        "embed",
        Effect.suspend(() => model.resolver.runAll(entries, key)),
        false
      ) as ReturnType<typeof model.resolver.runAll>
  })
  return {
    ...model,
    resolver,
    embed: (input) =>
      Effect.withSpan(Effect.request(new EmbeddingModel.EmbeddingRequest({ input }), resolver), "EmbeddingModel.embed"),
    embedMany: (input) =>
      called(
        around,
        "embedMany",
        Effect.suspend(() => model.embedMany(input)),
        false
      ) as ReturnType<typeof model.embedMany>
  }
}

// ---- The layer ------------------------------------------------------------------------------------------------------

const operation = "AiBreaker.layer"

const aroundOf = (
  context: Context.Context<never>,
  outer: Context.Context<BreakerStore>,
  given: Decoded<typeof fields>
): Around => {
  const { betweenTokens = 60_000, firstToken = 60_000, maxRetryAfter = 86_400_000, policy, timeout = 300_000 } = given
  const name = given.name ?? Context.getOrUndefined(context, Model.ProviderName)
  if (name === undefined) {
    throw refused(operation, "name", "expected the name of the provider, as the layer is not a Model, got undefined")
  }
  const key = given.key ?? (given.name === undefined ? Context.getOrUndefined(context, Model.ModelName) : undefined)
  const inline = policy === undefined ? usual : { ...usual, ...policy }
  const subject = (runsTools: boolean): Subject =>
    toSubject(operation, name, {
      key,
      policy: inline,
      classify: reading(maxRetryAfter, runsTools),
      isFailure: undefined,
      isIgnored: undefined
    })
  const millis = (limit: number | false) => (limit === false ? Infinity : limit)
  return {
    subject: subject(false),
    withTools: subject(true),
    timeoutMillis: millis(timeout),
    limits: { firstTokenMillis: millis(firstToken), betweenTokensMillis: millis(betweenTokens) },
    tokens: new Tokens(name, key),
    context: Context.make(BreakerStore, Context.get(outer, BreakerStore)).pipe(
      Context.add(BreakerPolicy.Policies, Context.get(outer, BreakerPolicy.Policies))
    )
  }
}

/** Replaces the models in a context. */
const wrapped = (context: Context.Context<never>, around: Around): Context.Context<never> => {
  const language = Context.getOrUndefined(context, LanguageModel.LanguageModel)
  const embedding = Context.getOrUndefined(context, EmbeddingModel.EmbeddingModel)
  if (language === undefined && embedding === undefined) {
    throw refused(operation, "self", "expected a layer of a LanguageModel or of an EmbeddingModel")
  }
  let result = context
  if (language !== undefined) {
    result = Context.add(result, LanguageModel.LanguageModel, aroundLanguageModel(language, around))
  }
  if (embedding !== undefined) {
    result = Context.add(result, EmbeddingModel.EmbeddingModel, aroundEmbeddingModel(embedding, around))
  }
  return result
}

/**
 * Adds a circuit to the `LanguageModel` and the `EmbeddingModel` of a layer. Code that uses the models does not change. A rejected call
 * fails with an `AiError`. {@link circuitOpen} recognizes this error.
 *
 * The metric `circuit_breaker_tokens_total` counts the tokens that the provider reports, with the labels `name`, `key` and `direction`
 * (`input` or `output`). The circuit does not use these counts.
 *
 * A stream is one call, from its first pull until it ends. If a token takes too long, the stream fails with an `AiError`, and the circuit
 * counts a Failure. The circuit also counts a Failure if a stream breaks off, or ends without its `finish` part. If the consumer stops
 * early, the circuit does not count a Failure. If the stream is a probe, its first token closes the circuit.
 *
 * Throws a `RangeError` that names the invalid option. If the layer is not a `Model` and `name` is missing, the layer fails with a defect.
 *
 * @category layers
 */
export const layer: {
  <A, E, R>(self: Layer.Layer<A, E, R>, options?: Options): Layer.Layer<A, E, R | BreakerStore>
  (options?: Options): <A, E, R>(self: Layer.Layer<A, E, R>) => Layer.Layer<A, E, R | BreakerStore>
} = dual(
  (args) => Layer.isLayer(args[0]),
  <A, E, R>(self: Layer.Layer<A, E, R>, options?: Options): Layer.Layer<A, E, R | BreakerStore> => {
    const given = decodeOptions(operation, fields, options)
    return Layer.flatMap(self, (context) =>
      Layer.effectContext(
        Effect.map(
          Effect.context<BreakerStore>(),
          (outer) =>
            wrapped(
              context as Context.Context<never>,
              aroundOf(context as Context.Context<never>, outer, given)
            ) as typeof context
        )
      )
    )
  }
)
