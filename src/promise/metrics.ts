import * as Duration from "effect/Duration"
import type { Inspection } from "../engine/inspection.ts"
import type { Counts, Metrics } from "./types.ts"

const counted = ["calls", "successes", "failures", "ignored", "slow", "rejected", "passed"] as const

export const countsOf = (of: (name: (typeof counted)[number]) => number): Counts =>
  // The type of `fromEntries` does not keep the names.
  Object.fromEntries(counted.map((name) => [name, of(name)])) as Record<(typeof counted)[number], number>

export const toMetrics = (seen: Inspection): Metrics => {
  const {
    circuit,
    failureRate,
    inFlight,
    key,
    lastFailures,
    limit,
    openings,
    outage,
    retryAfter,
    scope,
    state,
    streak,
    totals
  } = seen
  return {
    name: circuit,
    key,
    state,
    scope,
    ...countsOf((name) => totals[name]),
    inFlight,
    limit,
    streak,
    failureRate,
    openings,
    outage,
    retryAfter: Duration.toMillis(retryAfter),
    lastFailures: lastFailures.map(({ at, error }) => ({ at, error }))
  }
}

/** The metrics of a circuit while its store is not ready. */
export const unused = (name: string, key: string | undefined): Metrics => ({
  name,
  key,
  state: "Closed",
  scope: "local",
  ...countsOf(() => 0),
  inFlight: 0,
  limit: undefined,
  streak: 0,
  failureRate: undefined,
  openings: 0,
  outage: undefined,
  retryAfter: 0,
  lastFailures: []
})
