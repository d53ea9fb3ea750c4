import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import { differences } from "../policy/differences.ts"
import {
  type DigestCounts,
  longestFailure,
  mostKeys,
  type NameDetails,
  type NameDigest,
  type WorstKey
} from "../store/digest.ts"
import { quantile } from "./durations.ts"
import type { NamedGroup } from "./group.ts"
import type { LastFailure, LiveCircuit } from "./liveCircuit.ts"
import type { Registry } from "./registry.ts"

/** The process runs other work after each part of a reading that visits this many circuits. */
const partCircuits = 1_000

type TrafficCounts = { -readonly [Name in keyof DigestCounts]: number }

const noCounts = (): TrafficCounts => ({ calls: 0, successes: 0, failures: 0, rejected: 0, slow: 0, passed: 0 })

const add = (sum: TrafficCounts, one: Readonly<DigestCounts>): void => {
  sum.calls += one.calls
  sum.successes += one.successes
  sum.failures += one.failures
  sum.rejected += one.rejected
  sum.slow += one.slow
  sum.passed += one.passed
}

/** What was counted since `before`. Totals of a reading in parts may miss a circuit that was evicted meanwhile. */
const since = (before: DigestCounts, now: DigestCounts): DigestCounts => ({
  calls: Math.max(0, now.calls - before.calls),
  successes: Math.max(0, now.successes - before.successes),
  failures: Math.max(0, now.failures - before.failures),
  rejected: Math.max(0, now.rejected - before.rejected),
  slow: Math.max(0, now.slow - before.slow),
  passed: Math.max(0, now.passed - before.passed)
})

/** The totals of one name at the start of the period, and at the latest reading. */
interface PeriodMark {
  before: TrafficCounts
  latest: TrafficCounts
  durationsBefore: ReadonlyArray<number> | undefined
  durationsLatest: ReadonlyArray<number> | undefined
}

function* circuitsOf({ keyed, overflow, single }: NamedGroup): Generator<LiveCircuit> {
  if (single !== undefined) yield single
  if (keyed !== undefined) yield* keyed.values()
  if (overflow !== undefined) yield overflow
}

/** Keys that are not Closed come first, and then the keys with the most failures. */
const isWorse = (a: WorstKey, b: WorstKey): boolean =>
  (a.state === "Closed") === (b.state === "Closed") ? a.failures > b.failures : b.state === "Closed"

const keep = (worst: Array<WorstKey>, one: WorstKey): void => {
  const index = worst.findIndex((other) => isWorse(one, other))
  if (index === -1 && worst.length >= mostKeys) return
  worst.splice(index === -1 ? worst.length : index, 0, one)
  if (worst.length > mostKeys) worst.pop()
}

const detailsOf = ({ policy }: NamedGroup, lastFailure: LastFailure | undefined): NameDetails => ({
  lastFailure: lastFailure?.error.slice(0, longestFailure),
  policy: differences(policy).map(({ name, value }) => [name, value] as const)
})

export interface TrafficReading {
  readonly millis: number
  readonly names: ReadonlyArray<NameDigest>
  /** Begins the next period at this reading. Without this call, the current period continues. */
  readonly begin: () => void
}

/** Reads what the circuits of a process have counted in a period. Calls do no work for it. */
export class TrafficMeter {
  private readonly registry: Registry
  private readonly marks = new Map<NamedGroup, PeriodMark>()
  private beganAt: number

  constructor(registry: Registry) {
    this.registry = registry
    this.beganAt = registry.runtime.time.now()
  }

  get read(): Effect.Effect<TrafficReading> {
    return Effect.suspend(() => {
      const now = this.registry.runtime.time.now()
      const names: Array<NameDigest> = []
      const parts = this.parts(now, names)
      const next: Effect.Effect<TrafficReading> = Effect.suspend(() => {
        if (parts.next().done !== true) return Effect.andThen(Effect.yieldNow, next)
        const begin = () => {
          this.beganAt = now
          for (const mark of this.marks.values()) {
            const { before, durationsLatest, latest } = mark
            mark.before = latest
            mark.latest = before
            mark.durationsBefore = durationsLatest
          }
        }
        return Effect.succeed({ millis: Math.max(0, now - this.beganAt), names, begin })
      })
      return next
    })
  }

  private *parts(now: number, names: Array<NameDigest>): Generator<void> {
    let visited = 0
    for (const group of this.registry.named()) {
      const mark = this.markOf(group)
      const { before, latest } = mark
      Object.assign(latest, noCounts())
      if (group.gone !== undefined) add(latest, group.gone)
      const worst: Array<WorstKey> = []
      let inFlight = 0
      let limit: number | undefined
      let notClosed = 0
      let lastFailure: LastFailure | undefined
      for (const circuit of circuitsOf(group)) {
        add(latest, circuit)
        inFlight += circuit.inFlight
        const { limitNow } = circuit
        if (limitNow !== undefined) limit = (limit ?? 0) + limitNow
        const control = circuit.control.value
        const state = control._tag === "Closed" ? control._tag : Circuit.expire(control, now)._tag
        if (state !== "Closed") notClosed++
        const failure = circuit.lastFailures?.at(-1)
        if (failure !== undefined && (lastFailure === undefined || failure.at > lastFailure.at)) lastFailure = failure
        if (circuit.key !== undefined && (state !== "Closed" || circuit.failures > 0)) {
          const { failures } = circuit.seen().recent(now)
          if (state !== "Closed" || failures > 0) keep(worst, { key: circuit.key, state, failures })
        }
        if (++visited % partCircuits === 0) yield
      }
      const { durations } = group
      const counted = durations === undefined ? undefined : [...durations.counts]
      const took = counted?.map((count, index) => count - (mark.durationsBefore?.[index] ?? 0))
      mark.durationsLatest = counted
      const counts = since(before, latest)
      names.push({
        name: group.name,
        ...counts,
        inFlight,
        keys: (group.keyed?.size ?? 0) + (group.overflow === undefined ? 0 : 1),
        notClosed,
        limit,
        p50: took && durations && quantile(durations.bounds, took, 0.5),
        p95: took && durations && quantile(durations.bounds, took, 0.95),
        worst,
        about: notClosed > 0 || counts.failures > 0 ? detailsOf(group, lastFailure) : undefined
      })
    }
  }

  private markOf(group: NamedGroup): PeriodMark {
    const known = this.marks.get(group)
    if (known !== undefined) return known
    const mark = { before: noCounts(), latest: noCounts(), durationsBefore: undefined, durationsLatest: undefined }
    this.marks.set(group, mark)
    return mark
  }
}
