import type * as Circuit from "../core/Circuit.ts"
import { passesAll } from "../shapes/states.ts"
import type { Fate, Played, PlayedMove } from "./play.ts"
import type { TracedCall, TracedOutage } from "./trace.ts"

/** How one outage went, in milliseconds; nothing for what did not come to pass. */
export interface OutageView extends TracedOutage {
  /** From its beginning until the circuit was open. */
  readonly timeToOpen: number | undefined
  /** From its end until the circuit was closed. */
  readonly timeToRecover: number | undefined
  /** Calls that reached the dependency, and failed. */
  readonly leaked: number
}

/** What one policy would have done. */
export interface Report {
  readonly policy: string
  readonly calls: number
  readonly succeeded: number
  readonly failed: number
  readonly rejected: number
  /** Calls that failed in an outage, of which a breaker has to spare callers and dependency. */
  readonly leaked: number
  /** Calls that were rejected, and would have succeeded. */
  readonly lost: number
  /** How often the circuit opened, apart from probes that failed. */
  readonly openings: number
  /** Openings for which there was no outage, or more than one for the same. */
  readonly flaps: number
  readonly outages: ReadonlyArray<OutageView>
  /** How long it was in each state, in milliseconds. */
  readonly timeIn: Readonly<Record<Circuit.State, number>>
  readonly moves: ReadonlyArray<PlayedMove>
  /** What became of the calls over time: each entry is of `bucketMillis`. */
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

/** What fits on a picture. */
const mostBuckets = 200
const steps = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000]

/** How long a bucket is, so that there are not too many. */
const lengthFor = (millis: number): number =>
  steps.find((step) => millis / step <= mostBuckets) ?? Math.ceil(millis / mostBuckets / 3_600_000) * 3_600_000

/** What came of one policy. */
export const report = (
  played: Played,
  calls: ReadonlyArray<TracedCall>,
  outages: ReadonlyArray<TracedOutage>,
  millis: number
): Report => {
  const { fates, moves, policy } = played
  const count = (fate: Fate): number => fates.reduce((n, one) => (one === fate ? n + 1 : n), 0)
  const openings = moves.filter(isOpening)
  // A call that began in an outage may end, and open the circuit, after it.
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
