import type * as Trip from "./Trip.ts"
import * as Window from "./Window.ts"

/** After this time without a call, a circuit forgets its streak and its windows over a number of calls. */
export const forgetAfterMillis = 3_600_000

/** If the trip reads no window, this one is kept to show the failure rate. It is as long as the window of the default trip. */
const forDisplay: Window.Over = { _tag: "Time", millis: 10_000 }

const windowsFor = (overs: ReadonlyArray<Window.Over>): ReadonlyArray<Window.Over> =>
  overs.length === 0 ? [forDisplay] : overs

type CallsInFlight = ReadonlyMap<unknown, number>

/**
 * What one circuit has seen of its calls in the current epoch: the streak of failures and the windows that its trip reads.
 */
export class LiveEvidence {
  streak = 0
  /** The end of the latest `retryAfter` of the dependency; 0 if there is none. */
  hintUntil = 0
  /** Until when the circuit opens because of a failure that opens it by itself; 0 if there is none. */
  opensUntil = 0
  /** The windows of the trip, or the window for display. There is always at least one. */
  private windows: ReadonlyArray<Window.Window>
  lastAt = Number.NEGATIVE_INFINITY

  constructor(overs: ReadonlyArray<Window.Over>) {
    this.windows = windowsFor(overs).map(Window.make)
  }

  private get deciding(): ReadonlyArray<Window.Window> {
    return this.windows[0]?.over === forDisplay ? noWindows : this.windows
  }

  recordSuccess(now: number, slow: boolean): void {
    this.age(now)
    this.lastAt = now
    this.streak = 0
    this.hintUntil = 0
    this.opensUntil = 0
    for (let i = 0; i < this.windows.length; i++) this.windows[i]?.record(now, false, slow, 0)
  }

  recordFailure(now: number, slow: boolean, weight: number, retryAfterMillis: number): void {
    this.age(now)
    this.lastAt = now
    this.streak++
    if (retryAfterMillis > 0) this.hintUntil = Math.max(this.hintUntil, now + retryAfterMillis)
    for (let i = 0; i < this.windows.length; i++) this.windows[i]?.record(now, true, slow, weight)
  }

  /** Notes the `retryAfter` of a failed probe. The failure itself counts neither in the streak nor in the windows. */
  heed(now: number, until: number): void {
    this.age(now)
    this.lastAt = now
    this.hintUntil = Math.max(this.hintUntil, until)
  }

  clear(): void {
    this.lastAt = Number.NEGATIVE_INFINITY
    this.streak = 0
    this.hintUntil = 0
    this.opensUntil = 0
    for (const window of this.windows) window.clear()
  }

  /**
   * Changes to the windows of another trip, which keep the calls that fit. The calls in the window for display are not kept: they count
   * for no trip.
   */
  resize(overs: ReadonlyArray<Window.Over>, now: number): void {
    const old = this.deciding
    if (overs.length === 0 && old.length === 0) return
    this.windows = windowsFor(overs).map((over) => {
      const from = over === forDisplay ? undefined : bestSource(old, over)
      return from === undefined ? Window.make(over) : Window.resize(from, over, now)
    })
  }

  /** Whether no failure and no slow call still counts. */
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

  at(
    now: number,
    more: {
      readonly running: number
      readonly runningSince: CallsInFlight | undefined
      /** How many milliseconds this process has stalled since a time. They do not count as running time of a call. */
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
          // The calls are in the order of their start, so the count ends at the first one that is too young.
          if (now - start < millis || found >= enough) break
          if (more.stalledSince !== undefined && now - start - more.stalledSince(start) < millis) break
          found++
        }
        return found
      }
    }
  }

  /** Forgets what only new calls would remove. Windows over a time need no help. */
  private age(now: number): void {
    if (now - this.lastAt < forgetAfterMillis) return
    this.streak = 0
    this.hintUntil = 0
    for (const window of this.windows) if (window.over._tag === "Calls") window.clear()
  }
}

const reach = (over: Window.Over): number => (over._tag === "Calls" ? over.calls : over.millis)

/** The window from which a new one takes its calls: the narrowest of its kind that is wide enough, or else the widest. */
const bestSource = (windows: ReadonlyArray<Window.Window>, over: Window.Over): Window.Window | undefined => {
  const alike = windows.filter((window) => window.over._tag === over._tag).sort((a, b) => reach(a.over) - reach(b.over))
  return alike.find((window) => reach(window.over) >= reach(over)) ?? alike.at(-1)
}

const noWindows: ReadonlyArray<Window.Window> = []

const nothing: Window.Counts = { calls: 0, failures: 0, slow: 0, weight: 0 }
