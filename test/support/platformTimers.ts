import type { Handle, Platform } from "../../src/engine/timers.ts"

interface Armed extends Handle {
  readonly at: number
  readonly run: () => void
  keepsAlive: boolean
}

/** The timers and the time of a platform, moved by a test. Its event loop can be late. */
export class PlatformTimers implements Platform {
  time: number
  /** How late the event loop runs each timer. */
  late = 0
  /** The number of calls of `setTimeout`. */
  sets = 0
  private readonly armed = new Set<Armed>()
  private readonly stallMillis: number

  constructor(time = 0, stallMillis = 100) {
    this.time = time
    this.stallMillis = stallMillis
  }

  readonly now = () => this.time

  readonly setTimeout = (run: () => void, millis: number): Handle => {
    this.sets++
    const one: Armed = {
      // Those of Node take whole milliseconds.
      at: this.time + Math.max(1, Math.trunc(millis)),
      run,
      keepsAlive: true,
      ref: () => {
        one.keepsAlive = true
      },
      unref: () => {
        one.keepsAlive = false
      }
    }
    this.armed.add(one)
    return one
  }

  readonly clearTimeout = (handle: Handle) => void this.armed.delete(handle as Armed)

  readonly hasStalled = (late: number) => late > this.stallMillis

  get count(): number {
    return this.armed.size
  }

  get keepsAlive(): boolean {
    return [...this.armed].some((one) => one.keepsAlive)
  }

  /** Lets time pass, and runs the timers that become due. */
  pass(millis: number): void {
    const until = this.time + millis
    for (;;) {
      const next = [...this.armed].reduce<Armed | undefined>(
        (first, one) => (first === undefined || one.at < first.at ? one : first),
        undefined
      )
      if (next === undefined || next.at + this.late > until) break
      this.armed.delete(next)
      this.time = Math.max(this.time, next.at + this.late)
      next.run()
    }
    this.time = Math.max(this.time, until)
  }
}
