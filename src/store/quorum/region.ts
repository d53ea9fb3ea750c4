import * as Effect from "effect/Effect"
import type { SharedStore, StoreError } from "../SharedStore.ts"

/** How long to wait for the answer of a store. */
const deadlineMillis = 100
/** How long a store that did not answer is left out. */
const restMillis = 1_000

/** Sends a command to a store. */
export type Ask<A> = (store: SharedStore) => Effect.Effect<A, StoreError>

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

  /** The store's answer; `undefined` if it fails, does not answer in time, or is left out. */
  ask<A>(send: Ask<A>): Effect.Effect<{ readonly value: A } | undefined> {
    return Effect.suspend(() => {
      if (this.now() < this.restUntil) return Effect.succeed(undefined)
      const asked = Effect.suspend(() => send(this.store))
      return Effect.matchCauseEffect(Effect.timeout(asked, deadlineMillis), {
        onFailure: () => this.rest(),
        onSuccess: (value) => {
          this.up = true
          return Effect.succeed({ value })
        }
      })
    })
  }

  /** A store that is still connecting rests until it is connected, and any other for a while. */
  private rest(): Effect.Effect<undefined> {
    this.restUntil = this.now() + restMillis
    this.up = false
    const { connected } = this.store
    if (connected === undefined) return Effect.undefined
    return Effect.map(Effect.forkDetach(connected, { startImmediately: true }), (waiting) => {
      // The store is connected and does not answer: it rests for the usual time.
      if (waiting.pollUnsafe() !== undefined) return undefined
      this.restUntil = Number.POSITIVE_INFINITY
      waiting.addObserver(() => {
        this.restUntil = Number.NEGATIVE_INFINITY
      })
      return undefined
    })
  }
}
