/** What carries out the commands of all processes, in virtual time: a store in memory, unless a simulation names another. */
import { Clock, Effect, type Exit, Stream } from "effect"
import { MemoryStore, type SharedStore } from "effect-fuse"
import { carryOut, type Request, through } from "./contract.ts"
import type { Timeline } from "./timeline.ts"

/** Where a store lives. */
export interface Ground {
  readonly seed: number
  readonly timeline: Timeline
  /** The store's own clock. */
  readonly clock: Clock.Clock
  /** Announces a change to the processes. */
  readonly publish: (change: SharedStore.Change) => void
  /** Runs an effect in virtual time. An effect that waits for nothing has ended when this returns. */
  readonly run: <A, E>(effect: Effect.Effect<A, E>, then?: (exit: Exit.Exit<A, E>) => void) => void
}

export interface Backend {
  /** Its changes are those that it publishes. Loading one record answers at once: every step looks at it. */
  readonly store: SharedStore.SharedStore
  /** Forgets everything: records, ballots, the register of live processes. */
  readonly wipe: Effect.Effect<void>
  /** Makes an older copy the store: the latest writes are lost. `undefined` for a store without a copy. */
  readonly failover?: (() => void) | undefined
  /** Whether it takes its own time for each command, and works at several at once. */
  readonly keepsTime?: boolean | undefined
  /** Releases what it holds outside memory. */
  readonly close: () => void
}

export type MakeBackend = (ground: Ground) => Backend

/** A store in memory on a clock, whose announcements `publish` hears. */
const make = ({ clock, publish, run }: Pick<Ground, "clock" | "publish" | "run">): MemoryStore.Controlled => {
  const made = Effect.runSync(Effect.provideService(MemoryStore.makeControlled, Clock.Clock, clock))
  run(Stream.runForEach(made.store.changes, (change) => Effect.sync(() => publish(change))))
  return made
}

export const memory: MakeBackend = (ground) => {
  const { store, wipe } = make(ground)
  return { store, wipe, close: () => {} }
}

/**
 * A store in memory with a copy that lags behind by so many milliseconds. A failover makes the copy the store, once: what was
 * written within the lag is lost.
 */
export const replicated =
  (lagMillis: number): MakeBackend =>
  (ground) => {
    const { clock, timeline } = ground
    /** What the clock of the copy shows while it repeats an earlier command. */
    let replaying: number | undefined
    let promoted = false
    const copyClock: Clock.Clock = Object.create(clock, {
      currentTimeMillisUnsafe: { value: () => replaying ?? clock.currentTimeMillisUnsafe() }
    })
    const primary = make(ground)
    const copy = make({
      ...ground,
      clock: copyClock,
      publish: (change) => {
        if (promoted) ground.publish(change)
      }
    })
    /** Commands that the copy has not carried out yet, from `done` on. */
    const log: Array<{ readonly at: number; readonly shows: number; readonly run: () => void }> = []
    let done = 0
    const note = (run: () => void): void => {
      log.push({ at: timeline.now, shows: clock.currentTimeMillisUnsafe(), run })
      follow()
    }
    const follow = (): void => {
      for (let next = log[done]; next !== undefined && next.at <= timeline.now - lagMillis; next = log[++done]) {
        replaying = next.shows
        next.run()
        replaying = undefined
      }
      if (done > 1_000) {
        log.splice(0, done)
        done = 0
      }
    }
    const send = (request: Request): Effect.Effect<unknown, SharedStore.StoreError> =>
      Effect.suspend(() => {
        if (promoted) return carryOut(copy.store, request)
        note(() => void Effect.runSync(Effect.exit(carryOut(copy.store, request))))
        return carryOut(primary.store, request)
      })
    return {
      store: through(send as Parameters<typeof through>[0], Stream.never),
      wipe: Effect.sync(() => {
        if (promoted) Effect.runSync(copy.wipe)
        else {
          note(() => Effect.runSync(copy.wipe))
          Effect.runSync(primary.wipe)
        }
      }),
      failover: () => {
        if (promoted) throw new Error("a simulation has one copy to fail over to")
        follow()
        promoted = true
      },
      close: () => {}
    }
  }
