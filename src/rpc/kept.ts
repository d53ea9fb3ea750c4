import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import * as BreakerPolicy from "../policy/BreakerPolicy.ts"

/** Adds the store and the policies to the context of a call, unless the call has its own. */
export type Within = (own: Context.Context<never>) => Context.Context<never>

/** Keeps the store and the policies of the current context for later calls. */
export const keeping: Effect.Effect<Within, never, BreakerStore> = Effect.map(
  Effect.all([BreakerStore, BreakerPolicy.Policies]),
  ([store, policies]): Within => {
    const kept = Context.add(Context.make(BreakerStore, store), BreakerPolicy.Policies, policies)
    // All calls of a fiber have the same context, so the latest result is cached.
    let latest: Context.Context<never> | undefined
    let merged: Context.Context<never> = kept
    return (own) => {
      if (own !== latest) {
        merged = Context.merge(kept, own)
        latest = own
      }
      return merged
    }
  }
)
