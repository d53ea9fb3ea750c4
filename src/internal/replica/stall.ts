import * as Effect from "effect/Effect"
import type { EventLoop } from "../engine/eventLoop.ts"

/** A timer that is set this often, */
const beatMillis = 500
/** and fires later than it was due by this, shows that the process stood still. */
const lateMillis = 500
/** What the time that it stood still has made late comes within this. */
const graceMillis = 50

/**
 * Whether this process stands still, or has just done so: its event loop was blocked, or the machine was suspended. What it sees
 * then, as calls that time out all at once, says nothing about what it calls.
 */
export class Stall {
  private readonly loop: EventLoop
  private beatAt: number
  private recovering = false

  constructor(loop: EventLoop) {
    this.loop = loop
    this.beatAt = loop.now()
  }

  /** True from the first event after the stall, whichever that is. */
  get isNow(): boolean {
    return this.recovering || this.loop.now() - this.beatAt > beatMillis + lateMillis
  }

  /** Runs until it is interrupted; `onEnd` runs after each stall. */
  watch(onEnd: () => void): Effect.Effect<never> {
    const beat = Effect.suspend(() => {
      this.recovering = this.isNow
      this.loop.noteTimer(this.beatAt + beatMillis, this.loop.now())
      this.beatAt = this.loop.now()
      if (!this.recovering) return Effect.void
      return Effect.map(Effect.sleep(graceMillis), () => {
        onEnd()
        this.beatAt = this.loop.now()
        this.recovering = false
      })
    })
    return Effect.suspend(() => {
      this.beatAt = this.loop.now()
      return Effect.forever(Effect.andThen(Effect.sleep(beatMillis), beat))
    })
  }
}
