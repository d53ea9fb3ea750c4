import type { Inspection } from "../engine/inspection.ts"

/** Several circuits as one answer. */
export interface Health {
  /** Of how many calls pass: Closed or Disabled, with nothing that they depend on in the way. */
  readonly healthy: number
  readonly total: number
  /** The mean of what share of the calls in its longest window failed, over the circuits that have counted calls; 0 if none has. */
  readonly failureRate: number
  readonly circuits: ReadonlyArray<Inspection>
}

const isHealthy = ({ blockedBy, state }: Inspection): boolean =>
  state === "Disabled" || (state === "Closed" && blockedBy === undefined)

/** The share of failures in the window that has seen most, or nothing where none has seen a call. */
const failureRateOf = ({ windows }: Inspection): number | undefined =>
  windows.reduce<{ calls: number; failureRate: number | undefined }>(
    (most, one) => (one.calls > most.calls ? one : most),
    {
      calls: 0,
      failureRate: undefined
    }
  ).failureRate

export const healthOf = (circuits: ReadonlyArray<Inspection>): Health => {
  const rates = circuits.map(failureRateOf).filter((rate) => rate !== undefined)
  return {
    healthy: circuits.filter(isHealthy).length,
    total: circuits.length,
    failureRate: rates.length === 0 ? 0 : rates.reduce((sum, rate) => sum + rate, 0) / rates.length,
    circuits
  }
}
