import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { printable } from "../core/printable.ts"
import { quietly } from "./logEvent.ts"
import type { Runtime } from "./runtime.ts"

/** The minimum time between two lines. */
const betweenMillis = 60_000

/** How long a line waits for all failures that a stall causes. They end at most 700 milliseconds after the stall. */
const collectMillis = 1_000

const maxNames = 3

/** Logs that failures of calls were ignored because the process had stalled. Failures between two lines are counted in the next line. */
export class StallReport {
  private readonly runtime: Runtime
  private loggedAt = Number.NEGATIVE_INFINITY
  private collecting = false
  private failures = 0
  private longest = 0
  private readonly names = new Set<string>()
  private hasMore = false

  constructor(runtime: Runtime) {
    this.runtime = runtime
  }

  ignored(name: string): void {
    this.failures++
    this.longest = Math.max(this.longest, this.runtime.loop.lastStallMillis)
    if (this.names.size < maxNames) this.names.add(name)
    else if (!this.names.has(name)) this.hasMore = true
    if (this.collecting || this.runtime.time.now() - this.loggedAt < betweenMillis) return
    this.collecting = true
    this.runtime.background(
      Effect.andThen(
        Effect.sleep(collectMillis),
        Effect.suspend(() => this.log())
      )
    )
  }

  private log(): Effect.Effect<void> {
    const line = this.line
    this.loggedAt = this.runtime.time.now()
    this.collecting = false
    this.failures = 0
    this.longest = 0
    this.names.clear()
    this.hasMore = false
    return quietly(Effect.logWarning(line))
  }

  private get line(): string {
    const length = Duration.format(Duration.millis(Math.round(this.longest / 100) * 100))
    const names = [...this.names].map((name) => `"${printable(name)}"`).join(", ")
    const circuits = `${names}${this.hasMore ? " and others" : ""}`
    const failures = this.failures === 1 ? "The failure of 1 call" : `The failures of ${this.failures} calls`
    return (
      `The event loop of this process was blocked for about ${length}. ${failures} (${circuits}) may be a consequence of that. ` +
      "Such failures are ignored, because they say nothing about the dependency. Look for code that blocks, long garbage collections, or a paused container."
    )
  }
}
