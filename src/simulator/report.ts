import type * as Circuit from "../core/Circuit.ts"
import { passesAll } from "../shapes/states.ts"
import type { Fate, Played, PlayedMove } from "./play.ts"
import type { TracedCall, TracedOutage } from "./trace.ts"

/** How the circuit reacts to an outage. Times are in milliseconds. `undefined` means that the circuit did not open or close. */
export interface OutageView extends TracedOutage {
  /** From the start of the outage until the circuit opened. */
  readonly timeToOpen: number | undefined
  /** From the end of the outage until the circuit closed. */
  readonly timeToRecover: number | undefined
  /** Calls that reached the dependency and failed. */
  readonly leaked: number
}

export interface Report {
  readonly policy: string
  readonly calls: number
  readonly succeeded: number
  readonly failed: number
  readonly rejected: number
  /** Calls that reached the dependency during an outage and failed. A breaker should prevent them. */
  readonly leaked: number
  /** Rejected calls that would have succeeded. */
  readonly lost: number
  /** Transitions from Closed to Open. Reopenings after failed probes do not count. */
  readonly openings: number
  /** Openings without an outage, or beyond the first in an outage. */
  readonly flaps: number
  readonly outages: ReadonlyArray<OutageView>
  /** The time in each state, in milliseconds. */
  readonly timeIn: Readonly<Record<Circuit.State, number>>
  readonly moves: ReadonlyArray<PlayedMove>
  /** The outcomes of the calls over time, in buckets of `bucketMillis`. */
  readonly bucketMillis: number
  readonly buckets: ReadonlyArray<Readonly<Record<Fate, number>>>
}

const stateAt = (moves: ReadonlyArray<PlayedMove>, at: number): Circuit.State =>
  moves.findLast((move) => move.at <= at)?.to ?? "Closed"

const viewOf = ({ from, until }: TracedOutage, played: Played, calls: ReadonlyArray<TracedCall>): OutageView => {
  const { fates, moves } = played
  const opened = passesAll(stateAt(moves, from))
    ? moves.find(({ at, to }) => at > from && at <= until && to === "Open")?.at
    : from
  const recovered = passesAll(stateAt(moves, until))
    ? until
    : moves.find(({ at, to }) => at > until && passesAll(to))?.at
  return {
    from,
    until,
    timeToOpen: opened === undefined ? undefined : opened - from,
    timeToRecover: recovered === undefined ? undefined : recovered - until,
    leaked: calls.filter(({ at }, i) => at >= from && at <= until && fates[i] === "failed").length
  }
}

const isOpening = ({ from, to }: PlayedMove): boolean => from === "Closed" && to === "Open"

const mostBuckets = 200
const steps = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000]

/** A bucket length in milliseconds that gives at most `mostBuckets` buckets. */
const lengthFor = (millis: number): number =>
  steps.find((step) => millis / step <= mostBuckets) ?? Math.ceil(millis / mostBuckets / 3_600_000) * 3_600_000

export const report = (
  played: Played,
  calls: ReadonlyArray<TracedCall>,
  outages: ReadonlyArray<TracedOutage>,
  millis: number
): Report => {
  const { fates, moves, policy } = played
  const count = (fate: Fate): number => fates.reduce((n, one) => (one === fate ? n + 1 : n), 0)
  const openings = moves.filter(isOpening)
  // A call that begins in an outage may end after it, and open the circuit then.
  const graceMillis = 1_000
  const inOutages = outages.filter(({ from, until }) =>
    openings.some(({ at }) => at >= from && at <= until + graceMillis)
  )
  const views = outages.map((outage) => viewOf(outage, played, calls))
  const timeIn: Record<Circuit.State, number> = { Closed: 0, Open: 0, HalfOpen: 0, Isolated: 0, Disabled: 0 }
  let before: Pick<PlayedMove, "at" | "to"> = { at: 0, to: "Closed" }
  for (const move of [...moves, { at: Math.max(millis, moves.at(-1)?.at ?? 0), to: "Closed" as const }]) {
    timeIn[before.to] += move.at - before.at
    before = move
  }
  const bucketMillis = lengthFor(millis)
  const buckets = Array.from({ length: Math.max(1, Math.ceil(millis / bucketMillis)) }, () => ({
    succeeded: 0,
    failed: 0,
    rejected: 0
  }))
  calls.forEach(({ at }, i) => {
    const bucket = buckets[Math.min(buckets.length - 1, Math.floor(at / bucketMillis))]
    const fate = fates[i]
    if (bucket !== undefined && fate !== undefined) bucket[fate]++
  })
  return {
    policy,
    calls: calls.length,
    succeeded: count("succeeded"),
    failed: count("failed"),
    rejected: count("rejected"),
    leaked: views.reduce((sum, { leaked }) => sum + leaked, 0),
    lost: calls.filter(({ outcome }, i) => fates[i] === "rejected" && outcome === "success").length,
    openings: openings.length,
    flaps: Math.max(0, openings.length - inOutages.length),
    outages: views,
    timeIn,
    moves,
    bucketMillis,
    buckets
  }
}
