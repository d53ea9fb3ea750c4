import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { SharedStore, StoreError } from "../SharedStore.ts"

/** How long to wait for the answer of a store. Regions on opposite sides of the earth are about 300 milliseconds apart. */
export const deadlineMillis = 500
/** How long a store that failed or missed its deadline is left out. */
const restMillis = 1_000
/** If the deadline fires later than this, the process was stalled, and the store may have answered in time. */
const lateMillis = 100

export type Ask<A> = (store: SharedStore) => Effect.Effect<A, StoreError>

/** One of the stores, and whether it can be reached. */
export class Region {
  readonly store: SharedStore
  private readonly now: () => number
  private readonly deadlineMillis: number
  private restUntil = Number.NEGATIVE_INFINITY
  /** Whether it missed its deadline. No operation waits for it until it has answered again. */
  private silent = false
  private trying = false
  private up = true

  constructor(store: SharedStore, now: () => number) {
    this.store = store
    this.now = now
    this.deadlineMillis = Math.max(deadlineMillis, store.deadline ?? 0)
  }

  /** Whether its last answer arrived. */
  get reachable(): boolean {
    return this.up
  }

  /** The store's answer; `undefined` if it fails, does not answer in time, or is left out. */
  ask<A>(send: Ask<A>): Effect.Effect<{ readonly value: A } | undefined> {
    return Effect.suspend(() => {
      if (this.now() < this.restUntil) return Effect.undefined
      return this.silent ? this.tryAgain : this.send(send)
    })
  }

  private send<A>(send: Ask<A>): Effect.Effect<{ readonly value: A } | undefined> {
    const askedAt = this.now()
    const asked = Effect.suspend(() => send(this.store))
    return Effect.matchCauseEffect(Effect.timeout(asked, this.deadlineMillis), {
      onFailure: (cause) => {
        const isMissed = Cause.isTimeoutError(Cause.squash(cause))
        if (isMissed && this.now() - askedAt > this.deadlineMillis + lateMillis) return Effect.undefined
        this.silent = isMissed
        return this.rest()
      },
      onSuccess: (value) => {
        this.up = true
        this.silent = false
        return Effect.succeed({ value })
      }
    })
  }

  /** Asks a store that missed its deadline whether it answers now. No operation waits for that. */
  private get tryAgain(): Effect.Effect<undefined> {
    return Effect.suspend(() => {
      if (this.trying) return Effect.undefined
      this.trying = true
      const tried = Effect.ensuring(
        this.send((store) => store.load([])),
        Effect.sync(() => {
          this.trying = false
        })
      )
      return Effect.as(Effect.forkDetach(tried, { startImmediately: true }), undefined)
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
        this.silent = false
      })
      return undefined
    })
  }
}
