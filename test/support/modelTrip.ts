/** What the naive circuit of `model.ts` is told, says, and remembers of its calls, and when that makes it open. */
import { Duration } from "effect"
import type { BreakerEvent, CircuitBreaker, CircuitOpen, Trip } from "effect-fuse"
import type { Circuit } from "effect-fuse/core"

/** Durations in milliseconds. The n-th opening lasts `first * factor ** (n - 1)`; jitter takes a fifth of it, always. */
export interface Rules {
  readonly trip: Trip.Input
  readonly cooldown: { readonly first: number; readonly factor: number; readonly as: "schedule" | "data" | "jittered" }
  readonly maxCooldown: number
  readonly probes: number
  readonly successesToClose: number
  readonly failuresToReopen: number
  readonly probeTimeout: number
  readonly slowCall: number
  readonly ramp: number
  readonly mode: "enforce" | "observe"
}

export type Outcome =
  | { readonly _tag: "Success" }
  | { readonly _tag: "Failure"; readonly weight: number; readonly retryAfter: number }
  | { readonly _tag: "Ignored" }

export interface Rejection {
  readonly state: Circuit.State
  readonly reason: CircuitOpen.Reason
  readonly retryAfter: number
  readonly openings: number
}

export interface Look {
  readonly state: Circuit.State
  readonly why: Circuit.Why | undefined
  readonly since: number
  readonly openings: number
  readonly retryAfter: number
  readonly inFlight: number
  readonly probing: number
  readonly streak: number
  readonly windows: Readonly<Record<string, Counts>>
  readonly totals: Readonly<Record<Total, number>>
  readonly failedAt: ReadonlyArray<number>
}

export type Event =
  | {
      readonly _tag: "Transition"
      readonly key: string | undefined
      readonly from: Circuit.State
      readonly to: Circuit.State
      readonly why: Circuit.Why
      readonly at: number
      readonly openings: number
      readonly retryAfterMillis: number | null
    }
  | { readonly _tag: "ProbesIgnored"; readonly key: string | undefined; readonly at: number; readonly probes: number }

export type Total = "calls" | "successes" | "failures" | "ignored" | "slow" | "rejected" | "passed" | "wouldReject"

/** One call that was counted. */
export interface Recorded {
  readonly at: number
  readonly failed: boolean
  readonly slow: boolean
  readonly weight: number
  /** Until when the dependency asked to be left alone. */
  readonly hintUntil: number
}

export interface Counts {
  readonly calls: number
  readonly failures: number
  readonly slow: number
  readonly weight: number
}

const hour = 3_600_000

/** A number is a count of calls, anything else a duration: as in a policy. */
const spanOf = (over: Trip.OverInput): { readonly calls: number } | { readonly millis: number } =>
  typeof over === "number" ? { calls: over } : { millis: Duration.toMillis(Duration.fromInputUnsafe(over)) }

const spansOf = (trip: Trip.Input): ReadonlyArray<Trip.OverInput> => {
  if (trip._tag === "Any" || trip._tag === "All") return trip.trips.flatMap(spansOf)
  if (trip._tag === "Failures") return [trip.of]
  return "over" in trip && trip.over !== undefined ? [trip.over] : []
}

const spanName = (over: Trip.OverInput): string => {
  const span = spanOf(over)
  return "calls" in span ? `${span.calls} calls` : `${span.millis} ms`
}

/** Widths of the buckets by which the time windows of a trip forget. */
export const bucketsOf = (trip: Trip.Input): ReadonlyArray<number> =>
  spansOf(trip).flatMap((over) => {
    const span = spanOf(over)
    return "millis" in span ? [span.millis / 10] : []
  })

/** An hour in which nothing was recorded leaves nothing, but time windows forget in their own way. */
const sinceIdleHour = (recorded: ReadonlyArray<Recorded>, now: number): ReadonlyArray<Recorded> => {
  let kept: Array<Recorded> = []
  let last = Number.NEGATIVE_INFINITY
  for (const one of recorded) {
    if (one.at - last >= hour) kept = []
    kept.push(one)
    last = one.at
  }
  return now - last >= hour ? [] : kept
}

export const failuresInARow = (recorded: ReadonlyArray<Recorded>, now: number): ReadonlyArray<Recorded> => {
  let row: Array<Recorded> = []
  for (const one of sinceIdleHour(recorded, now)) {
    if (one.failed) row.push(one)
    else row = []
  }
  return row
}

const within = (recorded: ReadonlyArray<Recorded>, over: Trip.OverInput, now: number): Counts => {
  const span = spanOf(over)
  let calls: ReadonlyArray<Recorded>
  if ("calls" in span) calls = sinceIdleHour(recorded, now).slice(-span.calls)
  else {
    const bucket = (at: number) => Math.floor((at * 10) / span.millis)
    calls = recorded.filter((one) => bucket(one.at) > bucket(now) - 10)
  }
  const failed = calls.filter((one) => one.failed)
  let weight = 0
  for (const one of failed) weight += one.weight
  return { calls: calls.length, failures: failed.length, slow: calls.filter((one) => one.slow).length, weight }
}

export const windowsOf = (
  recorded: ReadonlyArray<Recorded>,
  trip: Trip.Input,
  now: number
): Readonly<Record<string, Counts>> =>
  Object.fromEntries(spansOf(trip).map((over) => [spanName(over), within(recorded, over, now)]))

export const trips = (recorded: ReadonlyArray<Recorded>, trip: Trip.Input, now: number): boolean => {
  switch (trip._tag) {
    case "Consecutive":
      return failuresInARow(recorded, now).length >= trip.failures
    case "Failures":
      return within(recorded, trip.of, now).failures >= trip.atLeast
    case "Weighted":
      return within(recorded, trip.over, now).weight >= trip.atLeast
    case "FailureRate":
    case "SlowRate": {
      const seen = within(recorded, trip.over, now)
      const bad = trip._tag === "FailureRate" ? seen.failures : seen.slow
      return seen.calls >= trip.minimumCalls && bad > 0 && bad / seen.calls >= trip.threshold
    }
    case "Any":
      return trip.trips.some((one) => trips(recorded, one, now))
    case "All":
      return trip.trips.every((one) => trips(recorded, one, now))
    default:
      throw new Error(`the model has no ${trip._tag}`)
  }
}

/** What is seen of a real circuit, in the same words. */
export const lookAt = (seen: CircuitBreaker.Inspection): Look => ({
  state: seen.state,
  why: seen.cause?.why,
  since: seen.since,
  openings: seen.openings,
  retryAfter: Duration.toMillis(seen.retryAfter),
  inFlight: seen.inFlight,
  probing: seen.probing,
  streak: seen.streak,
  windows: Object.fromEntries(
    seen.windows.map(({ calls, failures, over, slow, weight }) => [
      spanName(typeof over === "number" ? over : `${Duration.toMillis(over)} millis`),
      { calls, failures, slow, weight }
    ])
  ),
  totals: seen.totals,
  failedAt: seen.lastFailures.map((one) => one.at)
})

export const eventOf = (event: BreakerEvent.BreakerEvent): Event => {
  const { at, key } = event
  if (event._tag === "ProbesIgnored") return { _tag: event._tag, key, at, probes: event.probes }
  if (event._tag !== "Transition") throw new Error(`an event of a limit without a limit: ${event._tag}`)
  const { from, openings, retryAfterMillis, to, why } = event
  return { _tag: event._tag, key, from, to, why, at, openings, retryAfterMillis }
}
