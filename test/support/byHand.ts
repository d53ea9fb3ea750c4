import type { Effect } from "effect"
import { type BreakerStore, CircuitBreaker } from "effect-fuse"

/** An operator action by its name. Its answer is not read. */
export const byHand = (
  act: "open" | "close" | "reset" | "isolate" | "disable" | "release",
  name: string,
  options?: CircuitBreaker.ByHandFor
): Effect.Effect<unknown, never, BreakerStore.BreakerStore> => CircuitBreaker[act](name, options)
