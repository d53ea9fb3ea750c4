import * as Effect from "effect/Effect"
import { field } from "../core/fields.ts"
import { type Any, makePipeline } from "./pipeline.ts"

type AnyFallback = Effect.Effect<unknown, unknown> | ((error: unknown) => Effect.Effect<unknown, unknown>)

export const fallbackField = field<AnyFallback>("an effect, or a function of the error", (input) =>
  Effect.isEffect(input) || typeof input === "function" ? (input as AnyFallback) : undefined
)

export const fallingBack = <P extends Any>(orElse: AnyFallback): P => {
  const other = Effect.isEffect(orElse) ? () => orElse : orElse
  return makePipeline(["fallback"], (self) => Effect.catch(self, other))
}
