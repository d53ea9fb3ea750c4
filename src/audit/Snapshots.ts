/**
 * Writes the counters of circuits to a database at intervals: calls, failures and rejections over time, for programs without
 * metrics or next to an audit trail.
 *
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Effect, Layer, Redacted } from "effect"
 * import { BreakerStore } from "effect-fuse"
 * import { AuditTrail, Snapshots } from "effect-fuse/audit"
 *
 * const Audited = Snapshots.layer({ every: "1 minute" }).pipe(
 *   Layer.provideMerge(AuditTrail.layer({ process: "checkout" })),
 *   Layer.provideMerge(BreakerStore.layerMemory),
 *   Layer.provide(PgClient.layer({ url: Redacted.make("postgres://localhost/shop") }))
 * )
 * const lastHour = Snapshots.series("payments", { within: "1 hour" }).pipe(Effect.provide(Audited))
 * ```
 *
 * A snapshot has one row for each name and process, which adds up all keys. `AuditTrail.prune` also deletes old snapshots.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type { SqlError } from "effect/sql/SqlError"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import { count, decodeArgument, decodeOptions, optional, positiveMillis, text } from "../core/fields.ts"
import { foreignText } from "../core/foreign.ts"
import { quietly } from "../engine/logEvent.ts"
import { type AuditTrail, use } from "./service.ts"
import * as internal from "./snapshotRows.ts"

/**
 * The counters of all circuits of a name in one process, at one moment.
 *
 * @category models
 */
export interface Snapshot extends internal.SnapshotCounts {}

/**
 * Writes a snapshot of all names now.
 *
 * @category writing
 */
export const take = (options?: {
  readonly process?: string | undefined
}): Effect.Effect<void, SqlError, AuditTrail | BreakerStore> => {
  const { process = "process" } = decodeOptions("Snapshots.take", { process: optional(text) }, options)
  return Effect.flatMap(Effect.all([BreakerStore, Clock.currentTimeMillis]), ([registry, now]) =>
    use((database) => internal.write(database, internal.read(registry, now, process)))
  )
}

/**
 * Writes a snapshot every minute, or every `every`. If that fails, the snapshot is missing, and the log says so once until one succeeds.
 * Throws a `RangeError` that names every invalid option.
 *
 * @category layers
 */
export const layer = (
  options: { readonly every?: Duration.Input | undefined; readonly process?: string | undefined } = {}
): Layer.Layer<never, never, AuditTrail | BreakerStore> => {
  const { every = 60_000, process } = decodeOptions(
    "Snapshots.layer",
    { every: optional(positiveMillis), process: optional(text) },
    options
  )
  let reported = false
  const once = Effect.matchCauseEffect(take({ process }), {
    onSuccess: () =>
      Effect.sync(() => {
        reported = false
      }),
    onFailure: (cause) =>
      Effect.suspend(() => {
        if (reported) return Effect.void
        reported = true
        return quietly(Effect.logWarning(`A snapshot of the circuits could not be written: ${foreignText(cause)}`))
      })
  })
  return Layer.effectDiscard(Effect.forkScoped(Effect.schedule(once, Schedule.spaced(Duration.millis(every)))))
}

/**
 * The snapshots of a name by all processes, the oldest first. Default: at most 10,000, of the last 24 hours.
 *
 * @category questions
 */
export const series = (
  name: string,
  options?: { readonly within?: Duration.Input | undefined; readonly limit?: number | undefined }
): Effect.Effect<ReadonlyArray<Snapshot>, SqlError, AuditTrail> => {
  const { limit = 10_000, within = 86_400_000 } = decodeOptions(
    "Snapshots.series",
    { within: optional(positiveMillis), limit: optional(count) },
    options
  )
  decodeArgument("Snapshots.series", "name", text, name)
  return use((database) => internal.series(database, { name, within, limit }))
}
