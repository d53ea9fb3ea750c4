import type { Inspection } from "../engine/inspection.ts"

/** Several circuits as one answer. */
export interface Health {
  /** How many are Closed or Disabled, with nothing that they depend on in the way. One that only observes counts like others. */
  readonly healthy: number
  readonly total: number
  /**
   * What share of the calls failed in each circuit's window (the one that has seen most), and of that the mean over all that were
   * called. A circuit that has opened, and forgotten what it saw, counts as 1 until it closes; one whose trip counts only failures
   * in a row has no window, and counts as 0 while it is Closed.
   */
  readonly failureRate: number
  readonly circuits: ReadonlyArray<Inspection>
}

export const isHealthy = ({ blockedBy, state }: Inspection): boolean =>
  state === "Disabled" || (state === "Closed" && blockedBy === undefined)

/** The share of failures in the window that has seen most, or nothing where none has seen a call; 1 of what has opened. */
export const failureRateOf = ({ state, windows }: Inspection): number | undefined => {
  if (state === "Open" || state === "HalfOpen") return 1
  const nothing: { readonly calls: number; readonly failureRate: number | undefined } = {
    calls: 0,
    failureRate: undefined
  }
  return windows.reduce((most, one) => (one.calls > most.calls ? one : most), nothing).failureRate
}

export const healthOf = (circuits: ReadonlyArray<Inspection>): Health => {
  const rates = circuits.flatMap((one) => {
    const rate = failureRateOf(one)
    return rate !== undefined ? [rate] : one.totals.calls > 0 ? [0] : []
  })
  return {
    healthy: circuits.filter(isHealthy).length,
    total: circuits.length,
    failureRate: rates.length === 0 ? 0 : rates.reduce((sum, rate) => sum + rate, 0) / rates.length,
    circuits
  }
}
