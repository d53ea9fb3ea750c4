/**
 * What circuits had counted, written down again and again: how calls, failures and rejections went over time, for who has no
 * metrics, or wants them beside the trail.
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
 * One row for each name and process, its keys together. `AuditTrail.prune` deletes old ones with the old lines.
 *
 * @since 0.1.0
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
 * What the circuits of a name had counted at one moment, since they were made, in one process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Snapshot extends internal.SnapshotCounts {}

/**
 * Writes a snapshot of all names now.
 *
 * @category writing
 * @since 0.1.0
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
 * {@link take} again and again, every minute unless `every` says otherwise. What fails is logged, once while it goes on failing,
 * and that snapshot is missing. Throws a `RangeError` that names the option that is wrong.
 *
 * @category layers
 * @since 0.1.0
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
 * The snapshots of a name, the oldest first, of all processes that wrote some.
 *
 * @category questions
 * @since 0.1.0
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
