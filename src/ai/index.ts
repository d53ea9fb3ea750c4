/**
 * Circuit breakers for the language models and embedding models of Effect's `effect/ai`.
 *
 * `effect/ai` is unstable: this module is tested with Effect 4.1.0.
 */
export * as AiBreaker from "./AiBreaker.ts"
