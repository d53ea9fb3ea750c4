import * as Effect from "effect/Effect"
import type { SharedStore, StoreError } from "../../SharedStore.ts"

/** A store that does not answer within this is left out, */
const deadlineMillis = 100
/** and is not asked again for so long. */
const restMillis = 1_000

/** One of the stores, and whether it can be reached. */
export class Region {
  readonly store: SharedStore
  private readonly now: () => number
  private restUntil = Number.NEGATIVE_INFINITY
  private up = true

  constructor(store: SharedStore, now: () => number) {
    this.store = store
    this.now = now
  }

  /** Whether it answered when it was last asked. */
  get reachable(): boolean {
    return this.up
  }

  /** Its answer, or nothing. */
  ask<A>(f: (store: SharedStore) => Effect.Effect<A, StoreError>): Effect.Effect<{ readonly value: A } | undefined> {
    return Effect.suspend(() => {
      if (this.now() < this.restUntil) return Effect.succeed(undefined)
      const asked = Effect.suspend(() => f(this.store))
      return Effect.matchCause(Effect.timeout(asked, deadlineMillis), {
        onFailure: () => {
          this.restUntil = this.now() + restMillis
          this.up = false
          return undefined
        },
        onSuccess: (value) => {
          this.up = true
          return { value }
        }
      })
    })
  }
}
