import type { Inspection } from "../engine/inspection.ts"
import { passesAll } from "../shapes/states.ts"

/** Several circuits as one answer. */
export interface Health {
  /** How many are Closed or Disabled, with nothing that they depend on in the way. One that only observes counts like others. */
  readonly healthy: number
  /** How many are Open, HalfOpen, Isolated, or blocked by a circuit that they depend on. */
  readonly unhealthy: number
  /** The number of circuits and of `unknown` names. */
  readonly total: number
  /** The names that the caller asked for and that have no circuit in this store, because no call has used them yet. */
  readonly unknown: ReadonlyArray<string>
  /**
   * The mean of the circuits' `failureRate`. A circuit that is Open or HalfOpen counts as 1, and a circuit without recent calls does
   * not count. `undefined` if no circuit has a rate.
   */
  readonly failureRate: number | undefined
  readonly circuits: ReadonlyArray<Inspection>
}

export const isHealthy = ({ blockedBy, state }: Inspection): boolean => passesAll(state) && blockedBy === undefined

/** The mean over the circuits that have a rate; `undefined` if no circuit has one. */
export const meanFailureRate = (circuits: ReadonlyArray<Inspection>): number | undefined => {
  const rates = circuits.map(({ failureRate }) => failureRate).filter((rate) => rate !== undefined)
  return rates.length === 0 ? undefined : rates.reduce((sum, rate) => sum + rate, 0) / rates.length
}

export const healthOf = (circuits: ReadonlyArray<Inspection>, unknown: ReadonlyArray<string> = []): Health => {
  const healthy = circuits.filter(isHealthy).length
  return {
    healthy,
    unhealthy: circuits.length - healthy,
    total: circuits.length + unknown.length,
    unknown,
    failureRate: meanFailureRate(circuits),
    circuits
  }
}

/** The circuits of these names. A name that has no circuit here is unknown. */
export const healthOfNames = (circuits: ReadonlyArray<Inspection>, names: ReadonlyArray<string>): Health => {
  const wanted = new Set(names)
  const found = circuits.filter(({ circuit }) => wanted.has(circuit))
  const known = new Set(found.map(({ circuit }) => circuit))
  return healthOf(
    found,
    [...wanted].filter((name) => !known.has(name))
  )
}
