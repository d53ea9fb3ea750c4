import * as Effect from "effect/Effect"

/** Two effects in sequence. Either of them may be absent. */
export const inTurn = (
  first: Effect.Effect<void> | undefined,
  second: Effect.Effect<unknown> | undefined
): Effect.Effect<void> | undefined => {
  if (second === undefined) return first
  return Effect.asVoid(first === undefined ? second : Effect.andThen(first, second))
}
