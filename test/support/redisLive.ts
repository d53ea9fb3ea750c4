import { it } from "@effect/vitest"
import { Effect, Logger, type Scope } from "effect"
import type { TestOptions } from "vitest"

/** A test in real time, which logs nothing. */
export const live = (
  name: string,
  effect: Effect.Effect<unknown, unknown, Scope.Scope>,
  options?: number | TestOptions
): void => it.live(name, () => Effect.provide(effect, Logger.layer([])), options)
