import * as Effect from "effect/Effect"
import type { EventLoop } from "../engine/eventLoop.ts"

/** How often the timer fires that detects a stall. */
const beatMillis = 500
/** If the timer fires later than it was due by more than this, the process was stalled. */
const lateMillis = 500
/** How long after a stall the late events of the process may still arrive. */
const graceMillis = 50

/**
 * Whether this process is stalled, or was a moment ago: its event loop was blocked, or the machine was suspended. What it sees then,
 * such as many timeouts at once, says nothing about the dependencies.
 */
export class StallDetector {
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
