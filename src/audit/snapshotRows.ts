import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { healthOf } from "../breaker/health.ts"
import { nextStamp } from "../core/stamp.ts"
import { inspect } from "../engine/inspection.ts"
import type { Registry } from "../engine/registry.ts"
import { worst } from "../shapes/states.ts"
import { batchSize, type Database, storable, toNumber } from "../sql/database.ts"
import { circuitId } from "../store/codec.ts"
import { shortId } from "./trailRows.ts"

/** The counters of all circuits of a name, at one moment. */
export interface SnapshotCounts {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly name: string
  readonly process: string
  /** A unique id of one run of that process. Its counters begin at 0 with each run. */
  readonly run: string
  /** The worst state among the circuits. */
  readonly state: string
  readonly circuits: number
  readonly healthy: number
  readonly calls: number
  readonly successes: number
  readonly failures: number
  readonly ignored: number
  readonly slow: number
  readonly rejected: number
  readonly inFlight: number
  /** The failure rate that `BreakerHealth` reports; `undefined` if no recent call is counted. */
  readonly failureRate: number | undefined
}

const runs = new WeakMap<Registry, string>()

/** The id of a registry, whose counters began at 0 when it was created. */
const runOf = (registry: Registry): string => {
  const known = runs.get(registry)
  if (known !== undefined) return known
  const made = globalThis.crypto.randomUUID()
  runs.set(registry, made)
  return made
}

export const read = (registry: Registry, at: number, process: string): ReadonlyArray<SnapshotCounts> =>
  [...registry.named()].map((group) => {
    const seen = group.circuits().map((circuit) => inspect(registry, circuit))
    const { failureRate, healthy, total } = healthOf(seen)
    const { calls, failures, ignored, rejected, slow, successes } = group.totals()
    return {
      at: Math.round(at),
      name: group.name,
      process: storable(process),
      run: runOf(registry),
      state: worst(seen.map(({ state }) => state)) ?? "Closed",
      circuits: total,
      healthy,
      calls,
      successes,
      failures,
      ignored,
      slow,
      rejected,
      inFlight: seen.reduce((sum, { inFlight }) => sum + inFlight, 0),
      failureRate
    }
  })

export const write = (database: Database, snapshots: ReadonlyArray<SnapshotCounts>): Effect.Effect<void, SqlError> => {
  const rows = snapshots.map(({ at, failureRate, inFlight, name, ...counted }) => ({
    id: `${nextStamp(at)}-${globalThis.crypto.randomUUID()}`,
    at,
    circuit: storable(name),
    circuit_name: nameOf(name),
    ...counted,
    in_flight: inFlight,
    failure_rate: failureRate ?? null
  }))
  const batches = Arr.chunksOf(rows, batchSize)
  return Effect.forEach(batches, (batch) => database.run(database.insert("_snapshots", batch)), { discard: true })
}

/** Shortens a name for the index. */
const nameOf = (name: string): string => shortId(circuitId(name, undefined)).slice(-480)

export const series = (
  database: Database,
  { limit, name, within }: { readonly name: string; readonly within: number; readonly limit: number }
): Effect.Effect<ReadonlyArray<SnapshotCounts>, SqlError> => {
  const { now, sql } = database
  return Effect.map(
    database.rows(sql`SELECT * FROM ${database.table("_snapshots")}
      WHERE circuit_name = ${nameOf(name)} AND circuit = ${storable(name)} AND at >= ${now} - ${database.big(within)}
      ORDER BY at DESC, id DESC LIMIT ${sql.literal(String(limit))}`),
    (rows) =>
      rows
        .map((row) => ({
          at: toNumber(row["at"]),
          name: String(row["circuit"]),
          process: String(row["process"]),
          run: String(row["run"]),
          state: String(row["state"]),
          circuits: toNumber(row["circuits"]),
          healthy: toNumber(row["healthy"]),
          calls: toNumber(row["calls"]),
          successes: toNumber(row["successes"]),
          failures: toNumber(row["failures"]),
          ignored: toNumber(row["ignored"]),
          slow: toNumber(row["slow"]),
          rejected: toNumber(row["rejected"]),
          inFlight: toNumber(row["in_flight"]),
          failureRate: row["failure_rate"] === null ? undefined : toNumber(row["failure_rate"])
        }))
        .reverse()
  )
}
