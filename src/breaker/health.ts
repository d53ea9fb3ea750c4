import type { Inspection } from "../engine/inspection.ts"
import { passesAll } from "../shapes/states.ts"

export interface Health {
  /**
   * Circuits that are Closed or Disabled and have no blocking dependency. A circuit that only observes counts by its state, like any other.
   */
  readonly healthy: number
  /** Circuits that are Open, HalfOpen, Isolated, or blocked by a dependency. */
  readonly unhealthy: number
  /** The number of circuits and of `unknown` names. */
  readonly total: number
  /** Names that the caller asked for and that no call has used yet, so that they have no circuit in this store. */
  readonly unknown: ReadonlyArray<string>
  /**
   * The mean failure rate of the circuits, from 0 to 1. Open and HalfOpen circuits count as 1, and circuits without recent calls do not
   * count. `undefined` if no circuit has a rate.
   */
  readonly failureRate: number | undefined
  readonly circuits: ReadonlyArray<Inspection>
}

export const isHealthy = ({ blockedBy, state }: Inspection): boolean => passesAll(state) && blockedBy === undefined

/** The mean of the known failure rates; `undefined` if there is none. */
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

/** The health of the circuits with these names. A name without a circuit is unknown. */
export const healthOfNames = (circuits: ReadonlyArray<Inspection>, names: ReadonlyArray<string>): Health => {
  const wanted = new Set(names)
  const found = circuits.filter(({ circuit }) => wanted.has(circuit))
  const known = new Set(found.map(({ circuit }) => circuit))
  return healthOf(
    found,
    [...wanted].filter((name) => !known.has(name))
  )
}
