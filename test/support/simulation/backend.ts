/** The store that executes the commands of all processes in virtual time. By default it is in memory. */
import { Clock, Effect, type Exit, Stream } from "effect"
import { SharedStore } from "effect-fuse"
import { carryOut, type Request, renumbered, through } from "./contract.ts"
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
  /** Deletes everything: records, ballots, and the register of live processes. */
  readonly wipe: Effect.Effect<void>
  /** Replaces the store by an older copy, so that the latest writes are lost. `undefined` for a store without a copy. */
  readonly failover?: (() => void) | undefined
  /** Whether the store itself decides how long a command takes, and executes several at once. */
  readonly keepsTime?: boolean | undefined
  /** Releases resources outside memory. */
  readonly close: () => void
}

export type MakeBackend = (ground: Ground) => Backend

/** The eras of a store after a wipe or a failover begin above all eras that it ever gave. */
const erasPerLife = 1_000_000

type Operations = ReturnType<typeof renumbered>

/** `SharedStore.makeMemory`, with a wipe, and with eras that are never given twice. */
class Memory {
  readonly store: SharedStore.SharedStore
  private readonly ground: Ground
  /** The offsets between the eras of the store in memory and those that processes see, each from an era on. */
  private pieces: Array<{ readonly after: number; readonly add: number }> = []
  private lives = 0
  private last = 0
  private now: Operations

  constructor(ground: Ground) {
    this.ground = ground
    this.now = this.begin()
    this.store = through((request) => Effect.suspend(() => carryOut(this.all, request)) as never, Stream.never)
  }

  wipe(): void {
    this.now = this.begin()
  }

  /** From now on the copy gives eras above all that the other copy has given. */
  skip(): void {
    this.pieces.push({ after: this.last, add: ++this.lives * erasPerLife })
  }

  private get all(): SharedStore.SharedStore {
    return { ...this.now, changes: Stream.never }
  }

  private begin(): Operations {
    const { clock, publish, run } = this.ground
    const made = Effect.runSync(Effect.provideService(SharedStore.makeMemory, Clock.Clock, clock))
    const pieces = [{ after: 0, add: this.lives++ * erasPerLife }]
    this.pieces = pieces
    this.last = 0
    const outer = (era: number): number => {
      this.last = Math.max(this.last, era)
      const piece = pieces.findLast(({ after }) => era > after)
      return piece === undefined ? 0 : era + piece.add
    }
    const inner = (era: number): number => {
      if (era === 0) return 0
      const place = pieces.findLastIndex(({ add, after }) => era - add > after)
      const piece = pieces[place]
      const next = pieces[place + 1]
      if (piece === undefined || (next !== undefined && era - piece.add > next.after)) return -1
      return era - piece.add
    }
    run(Stream.runForEach(made.changes, (change) => Effect.sync(() => publish({ ...change, era: outer(change.era) }))))
    return renumbered(made, inner, outer)
  }
}

export const memory: MakeBackend = (ground) => {
  const one = new Memory(ground)
  return { store: one.store, wipe: Effect.sync(() => one.wipe()), close: () => {} }
}

/**
 * A store in memory, with a copy that is `lagMillis` behind. A failover replaces the store by the copy, once: the writes
 * within the lag are lost.
 */
export const replicated =
  (lagMillis: number): MakeBackend =>
  (ground) => {
    const { clock, timeline } = ground
    /** The time on the clock of the copy while it repeats an earlier command. */
    let replaying: number | undefined
    let promoted = false
    const copyClock: Clock.Clock = Object.create(clock, {
      currentTimeMillisUnsafe: { value: () => replaying ?? clock.currentTimeMillisUnsafe() }
    })
    const primary = new Memory(ground)
    const copy = new Memory({
      ...ground,
      clock: copyClock,
      publish: (change) => {
        if (promoted) ground.publish(change)
      }
    })
    /** The commands for the copy. It has executed those before `done`. */
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
        if (promoted) copy.wipe()
        else {
          note(() => copy.wipe())
          primary.wipe()
        }
      }),
      failover: () => {
        if (promoted) throw new Error("a simulation has one copy to fail over to")
        follow()
        promoted = true
        copy.skip()
      },
      close: () => {}
    }
  }
