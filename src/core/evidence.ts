import type * as Trip from "./Trip.ts"
import * as Window from "./Window.ts"

/** A circuit that nobody called for this long remembers nothing of its streak and its windows over calls. */
export const forgetAfterMillis = 3_600_000

/** The window that is kept for the failure rate if the trip reads no window. It is as long as the window of the default trip. */
const forReading: Window.Over = { _tag: "Time", millis: 10_000 }

const windowsFor = (overs: ReadonlyArray<Window.Over>): ReadonlyArray<Window.Over> =>
  overs.length === 0 ? [forReading] : overs

/** Calls in flight, oldest first, with the time each started. */
export type CallsInFlight = ReadonlyMap<unknown, number>

/**
 * What one circuit saw of its calls in the current epoch: the streak of failures and the windows that its trip reads.
 * Mutable, owned by one circuit; time is an argument.
 */
export class LiveEvidence {
  streak = 0
  /** When the dependency's latest `retryAfter` ends; 0 when there is none. */
  hintUntil = 0
  /** The trip's windows, or the window for the failure rate: there is always at least one. */
  private windows: ReadonlyArray<Window.Window>
  /** When the latest call that counts ended. */
  lastAt = Number.NEGATIVE_INFINITY

  constructor(overs: ReadonlyArray<Window.Over>) {
    this.windows = windowsFor(overs).map(Window.make)
  }

  /** The windows that the trip reads. */
  private get deciding(): ReadonlyArray<Window.Window> {
    return this.windows[0]?.over === forReading ? noWindows : this.windows
  }

  recordSuccess(now: number, slow: boolean): void {
    this.age(now)
    this.lastAt = now
    this.streak = 0
    this.hintUntil = 0
    for (let i = 0; i < this.windows.length; i++) this.windows[i]?.record(now, false, slow, 0)
  }

  recordFailure(now: number, slow: boolean, weight: number, retryAfterMillis: number): void {
    this.age(now)
    this.lastAt = now
    this.streak++
    if (retryAfterMillis > 0) this.hintUntil = Math.max(this.hintUntil, now + retryAfterMillis)
    for (let i = 0; i < this.windows.length; i++) this.windows[i]?.record(now, true, slow, weight)
  }

  /** A failed probe asked to be left alone until then. Its failure is not part of the streak or the windows. */
  heed(now: number, until: number): void {
    this.age(now)
    this.lastAt = now
    this.hintUntil = Math.max(this.hintUntil, until)
  }

  clear(): void {
    this.lastAt = Number.NEGATIVE_INFINITY
    this.streak = 0
    this.hintUntil = 0
    for (const window of this.windows) window.clear()
  }

  /**
   * Takes on the windows of another trip, keeping what they can hold. The calls in the window for the failure rate are not passed
   * on, because that window counts for no trip.
   */
  resize(overs: ReadonlyArray<Window.Over>, now: number): void {
    const old = this.deciding
    if (overs.length === 0 && old.length === 0) return
    this.windows = windowsFor(overs).map((over) => {
      const from = over === forReading ? undefined : bestSource(old, over)
      return from === undefined ? Window.make(over) : Window.resize(from, over, now)
    })
  }

  /** Whether there is anything in it that would be missed: a failure or a slow call that still counts. */
  isQuiet(now: number): boolean {
    this.age(now)
    if (this.streak > 0) return false
    for (const window of this.deciding) {
      const { failures, slow } = window.counts(now)
      if (failures > 0 || slow > 0) return false
    }
    return true
  }

  streakAt(now: number): number {
    this.age(now)
    return this.streak
  }

  /** A copy of what each window of the trip holds at `now`. */
  counts(now: number): ReadonlyArray<{ readonly over: Window.Over; readonly counts: Window.Counts }> {
    this.age(now)
    return this.deciding.map((window) => ({ over: window.over, counts: window.counts(now) }))
  }

  /** The counts of the recent calls: those of the window that holds the most calls at `now`. */
  recent(now: number): Window.Counts {
    this.age(now)
    return this.windows
      .map((window) => window.counts(now))
      .reduce((most, one) => (one.calls > most.calls ? one : most), nothing)
  }

  /** The view that a trip is evaluated on. */
  at(
    now: number,
    more: {
      readonly running: number
      readonly runningSince: CallsInFlight | undefined
      /** For how long this process stalled since a time. Nothing else is running then, so it does not count. */
      readonly stalledSince?: ((since: number) => number) | undefined
      readonly openings: number
      readonly time: number
    }
  ): Trip.Evidence {
    this.age(now)
    return {
      streak: this.streak,
      running: more.running,
      openings: more.openings,
      time: more.time,
      counts: (over) => {
        for (const window of this.windows) if (Window.sameOver(window.over, over)) return window.counts(now)
        return nothing
      },
      stuck: (millis, enough) => {
        let found = 0
        if (more.runningSince === undefined) return found
        for (const start of more.runningSince.values()) {
          // Oldest first: the first call that is young enough ends the count.
          if (now - start < millis || found >= enough) break
          if (more.stalledSince !== undefined && now - start - more.stalledSince(start) < millis) break
          found++
        }
        return found
      }
    }
  }

  /** Windows over time forget by themselves; what only calls push out would otherwise last for ever. */
  private age(now: number): void {
    if (now - this.lastAt < forgetAfterMillis) return
    this.streak = 0
    this.hintUntil = 0
    for (const window of this.windows) if (window.over._tag === "Calls") window.clear()
  }
}

const reach = (over: Window.Over): number => (over._tag === "Calls" ? over.calls : over.millis)

/** Of the windows of a kind the narrowest that holds all that is wanted, which is the same if there is one; or the widest. */
const bestSource = (windows: ReadonlyArray<Window.Window>, over: Window.Over): Window.Window | undefined => {
  const alike = windows.filter((window) => window.over._tag === over._tag).sort((a, b) => reach(a.over) - reach(b.over))
  return alike.find((window) => reach(window.over) >= reach(over)) ?? alike.at(-1)
}

const noWindows: ReadonlyArray<Window.Window> = []

const nothing: Window.Counts = { calls: 0, failures: 0, slow: 0, weight: 0 }
