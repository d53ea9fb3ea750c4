/** What carries out the commands of all processes, in virtual time: a store in memory, unless a simulation is given another. */
import { Clock, Effect, type Exit, Stream } from "effect"
import { SharedStore } from "effect-fuse"
import type { Timeline, VirtualClock } from "./timeline.ts"

/** Where a store lives. */
export interface Ground {
  readonly seed: number
  readonly timeline: Timeline
  /** The store's own. */
  readonly clock: VirtualClock
  /** Tells the processes. */
  readonly publish: (change: SharedStore.Change) => void
  /** Runs an effect in virtual time: what waits for nothing has ended when this returns. */
  readonly run: <A, E>(effect: Effect.Effect<A, E>, then?: (exit: Exit.Exit<A, E>) => void) => void
}

export interface Backend {
  /** Its changes are those that it publishes. `load` answers at once: every step looks at it. */
  readonly store: SharedStore.SharedStore
  /** Forgets everything: records, ballots, who lives. */
  readonly wipe: Effect.Effect<void>
  /** Gives back what is not memory. */
  readonly close: () => void
}

export type MakeBackend = (ground: Ground) => Backend

/** Eras of a store that was wiped begin above all that it ever gave. */
const erasPerLife = 1_000_000

/** `SharedStore.makeMemory`, which has no wipe: there is another one then. */
export const memory: MakeBackend = ({ clock, publish, run }) => {
  let wipes = 0
  const make = (): SharedStore.SharedStore => {
    const made = Effect.runSync(Effect.provideService(SharedStore.makeMemory, Clock.Clock, clock))
    const base = wipes * erasPerLife
    run(
      Stream.runForEach(made.changes, (change) =>
        Effect.sync(() => publish({ ...change, era: change.era === 0 ? 0 : change.era + base }))
      )
    )
    const inner = (era: number): number => (era === 0 ? 0 : era > base ? era - base : -1)
    const outer = <A extends { readonly era: number }>(one: A): A => ({ ...one, era: one.era + base })
    const found = (record: SharedStore.Stored | undefined) => (record === undefined ? undefined : outer(record))
    return {
      cast: (cast) =>
        Effect.map(made.cast({ ...cast, era: inner(cast.era) }), (answer) => ({
          ...answer,
          record: found(answer.record)
        })),
      swap: (swap) =>
        Effect.map(made.swap({ ...swap, expectedEra: inner(swap.expectedEra) }), (answer) => ({
          ...answer,
          record: found(answer.record)
        })),
      load: (circuit) => Effect.map(made.load(circuit), found),
      list: (voice, ttl) =>
        Effect.map(made.list(voice, ttl), (answer) => ({ ...answer, records: answer.records.map(outer) })),
      changes: Stream.never
    }
  }
  let now = make()
  return {
    store: {
      cast: (cast) => now.cast(cast),
      swap: (swap) => now.swap(swap),
      load: (circuit) => now.load(circuit),
      list: (voice, ttl) => now.list(voice, ttl),
      changes: Stream.never
    },
    wipe: Effect.sync(() => {
      wipes++
      now = make()
    }),
    close: () => {}
  }
}
