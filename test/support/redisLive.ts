import { it } from "@effect/vitest"
import { Effect, Logger, type Scope } from "effect"

/** A test in real time, which logs nothing. */
export const live = (name: string, effect: Effect.Effect<unknown, unknown, Scope.Scope>, timeout?: number): void =>
  it.live(name, () => Effect.provide(effect, Logger.layer([])), timeout)
