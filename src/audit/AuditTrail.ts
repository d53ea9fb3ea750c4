/**
 * What circuits did, written down in a database: every transition and every override, what it was, why, by whom, and what was
 * counted at that moment; and the questions that such a trail answers.
 *
 * **When to use**
 *
 * Beside any store: circuits in Redis and their trail in PostgreSQL go together. Provide {@link layer} in every process: each writes
 * what it did itself, once.
 *
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Effect, Layer, Redacted } from "effect"
 * import { BreakerStore } from "effect-fuse"
 * import { AuditTrail } from "effect-fuse/audit"
 *
 * const Database = PgClient.layer({ url: Redacted.make("postgres://localhost/shop") })
 * const Audited = AuditTrail.layer({ process: "checkout", metadata: { version: "1.2.3" } }).pipe(
 *   Layer.provideMerge(BreakerStore.layerMemory),
 *   Layer.provide(Database)
 * )
 * const report = Effect.gen(function* () {
 *   const down = yield* AuditTrail.openNow
 *   const { meanMillis } = yield* AuditTrail.timeToRecover({ within: "30 days" })
 *   return `${down.length} open, back after ${meanMillis ?? 0} ms on average`
 * }).pipe(Effect.provide(Audited))
 * ```
 *
 * **What it costs**
 *
 * A call waits for nothing. Events are kept in memory and written in batches, a tenth of a second later; while the database is away
 * they wait, up to `maxPending`, and are written when it is back, each exactly once. Who crashes loses what was not written yet.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type { MigrationError } from "effect/sql/Migrator"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { BreakerStore } from "../breaker/BreakerStore.ts"
import { decodeArgument, decodeOptions, optional, positiveMillis, refused, text, textOrEmpty } from "../core/fields.ts"
import { foreignText } from "../core/foreign.ts"
import { quietly } from "../engine/logEvent.ts"
import type { BreakerEvent, Transition } from "../shapes/BreakerEvent.ts"
import { type Database, database } from "../sql/database.ts"
import * as migrations from "../sql/migrations.ts"
import type { TableOptions } from "../sql/SqlStore.ts"
import { tableLocation } from "../sql/tables.ts"
import { harmless } from "./metadata.ts"
import { optionFields, pageFields, pruneFields, readerFields, withinFields } from "./options.ts"
import * as questions from "./queries.ts"
import { AuditTrail, Inside, readyMillis, use } from "./service.ts"
import { runOf, Trail, writeActions } from "./trail.ts"

export type {
  /**
   * One line of the trail. Times are milliseconds since 1970 by the clock of the process that wrote it.
   *
   * @category models
   * @since 0.1.0
   */
  Entry,
  /**
   * How often a circuit opened.
   *
   * @category models
   * @since 0.1.0
   */
  OpeningsOf as Opened,
  /**
   * How many transitions there were on a day, by the state that was entered.
   *
   * @category models
   * @since 0.1.0
   */
  PerDay,
  /**
   * What was last said of a circuit: by the fleet, or by a process of its own.
   *
   * @category models
   * @since 0.1.0
   */
  Standing
} from "./queries.ts"
export {
  /**
   * A trail: what the questions below are asked of.
   *
   * @category services
   * @since 0.1.0
   */
  AuditTrail
} from "./service.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface ReaderOptions extends TableOptions {
  /** Whether to make the tables that are missing. `false` where the program may not: use `SqlStore.migrate`. Default `true`. */
  readonly migrate?: boolean | undefined
}

/**
 * @category options
 * @since 0.1.0
 */
export interface Options extends ReaderOptions {
  /** How this process is called in its lines. Default `process`. */
  readonly process?: string | undefined
  /**
   * Metadata that is written with every line as JSON, or a function that returns it for an event, called when the event happens. If the
   * function throws or returns a value that JSON cannot represent, the line has no metadata, and one log message reports this.
   */
  readonly metadata?: object | string | number | boolean | null | ((event: Transition) => unknown) | undefined
  /** How long to wait for more before a batch is written. Default 100 milliseconds. */
  readonly flushInterval?: Duration.Input | undefined
  /** How many events wait at most while the database is away; then the oldest are dropped, and counted. Default 100,000. */
  readonly maxPending?: number | undefined
}

/** The tables, made if need be. While the database is away whoever asks a question hears of it. */
const prepared = (found: Database, migrate: boolean) =>
  migrate ? migrations.migrate(found) : migrations.check(found, migrations.ofTrail)

/** How long the last events may take to be written when the program ends. */
const endMillis = 2_000

/**
 * Writes down what the circuits of the store do. Building it waits for nothing: tables are made, and events written, in the
 * background, again and again until that succeeds, which the log says once. Throws a `RangeError` that names the option that is
 * wrong.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<AuditTrail, never, BreakerStore | SqlClient> => {
  const {
    flushInterval = 100,
    maxPending = 100_000,
    metadata,
    migrate = true,
    process = "process",
    ...location
  } = decodeOptions("AuditTrail.layer", optionFields, options)
  return Layer.effect(
    AuditTrail,
    Effect.gen(function* () {
      const registry = yield* BreakerStore
      const context = yield* Effect.context<SqlClient>()
      const found = yield* database(tableLocation(location))
      const trail = new Trail(found, {
        run: yield* runOf(process),
        process,
        metadata: harmless(metadata ?? (() => null), (cause) => {
          const said = `The metadata of an event cannot be written; its line is written without: ${foreignText(cause)}`
          registry.runtime.background(quietly(Effect.logWarning(said)))
        }),
        flushMillis: flushInterval,
        maxPending
      })
      const { observers } = registry.runtime
      const observe = (event: BreakerEvent) => trail.note(event, registry.runtime.peers?.process)
      yield* Effect.acquireRelease(
        Effect.sync(() => void observers.add(observe)),
        () =>
          Effect.andThen(
            Effect.sync(() => void observers.delete(observe)),
            Effect.ignoreCause(Effect.timeout(trail.leave, endMillis))
          )
      )
      let said = false
      const ready = Effect.provideContext(found.apart(prepared(found, migrate)), context).pipe(
        Effect.tapCause((cause) =>
          Effect.suspend(() => {
            if (said) return Effect.void
            said = true
            return quietly(
              Effect.logWarning(
                `The tables of the audit trail are not there yet; it is kept until they are: ${foreignText(cause)}`
              )
            )
          })
        ),
        Effect.retry(Schedule.min([Schedule.exponential("500 millis"), Schedule.spaced("30 seconds")]))
      )
      const there = yield* Deferred.make<void>()
      const begin = Effect.andThen(ready, Deferred.succeed(there, undefined))
      yield* Effect.forkScoped(Effect.andThen(begin, Effect.all([trail.run, trail.beats], { concurrency: 2 })))
      return { [Inside]: { database: found, trail, ready: Deferred.await(there) } }
    })
  )
}

/**
 * For a program that only asks: writes nothing. Fails with the error of the database where that is not there.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerReader = (
  options: ReaderOptions = {}
): Layer.Layer<AuditTrail, SqlError | MigrationError, SqlClient> => {
  const { migrate = true, ...location } = decodeOptions("AuditTrail.layerReader", readerFields, options)
  return Layer.effect(
    AuditTrail,
    Effect.gen(function* () {
      const found = yield* database(tableLocation(location))
      yield* prepared(found, migrate)
      return { [Inside]: { database: found, trail: undefined, ready: Effect.void } }
    })
  )
}

/**
 * How many events were written since the layer was built, wait to be, and found no room.
 *
 * @category getters
 * @since 0.1.0
 */
export const stats: Effect.Effect<
  { readonly written: number; readonly pending: number; readonly dropped: number },
  never,
  AuditTrail
> = AuditTrail.useSync((service) => service[Inside].trail?.stats ?? { written: 0, pending: 0, dropped: 0 })

/**
 * Writes what waits to be written, now.
 *
 * @category writing
 * @since 0.1.0
 */
export const flush: Effect.Effect<void, SqlError, AuditTrail> = AuditTrail.use((service) => {
  const { ready, trail } = service[Inside]
  return trail === undefined ? Effect.void : Effect.andThen(Effect.timeoutOption(ready, readyMillis), trail.flush)
})

/**
 * Writes an operator action that `Operator` returned. Each process of the fleet also writes the action when it receives it, and the
 * trail keeps it once. Call this function if there may be no running process.
 *
 * ```ts
 * import { Effect } from "effect"
 * import type { SharedStore } from "effect-fuse"
 * import { AuditTrail } from "effect-fuse/audit"
 * import * as Operator from "effect-fuse/Operator"
 * const isolate = (store: SharedStore.SharedStore, name: string) =>
 *   Effect.tap(Operator.isolate(store, name, { actor: "ann" }), ({ transition }) => AuditTrail.recordAction(transition))
 * ```
 *
 * @category writing
 * @since 0.1.0
 */
export const recordAction = (
  action: Transition | ReadonlyArray<Transition> | undefined
): Effect.Effect<void, SqlError, AuditTrail> => {
  const actions = action === undefined ? [] : "_tag" in action ? [action] : action
  if (actions.some(({ action }) => action === undefined)) {
    throw refused(
      "AuditTrail.recordAction",
      "action",
      "expected a transition that names the operator action, as Operator returns it, got one that does not"
    )
  }
  return AuditTrail.use((service) => {
    const { database, ready, trail } = service[Inside]
    const write = database.apart(writeActions(database, actions, trail?.metadata ?? (() => null)))
    return actions.length === 0 ? Effect.void : Effect.andThen(Effect.timeoutOption(ready, readyMillis), write)
  })
}

// ---- Questions ------------------------------------------------------------------------------------------------------

/**
 * The circuits that are Open, those that have been so for longest first.
 *
 * @category questions
 * @since 0.1.0
 */
export const openNow: Effect.Effect<ReadonlyArray<questions.Standing>, SqlError, AuditTrail> = use((database) =>
  questions.standing(database, ["Open"])
)

/**
 * The circuits whose dependencies have not recovered: Open or HalfOpen.
 *
 * @category questions
 * @since 0.1.0
 */
export const failing: Effect.Effect<ReadonlyArray<questions.Standing>, SqlError, AuditTrail> = use((database) =>
  questions.standing(database, ["Open", "HalfOpen"])
)

/**
 * The circuits that somebody forced, and who: Isolated or Disabled.
 *
 * @category questions
 * @since 0.1.0
 */
export const forced: Effect.Effect<ReadonlyArray<questions.Standing>, SqlError, AuditTrail> = use((database) =>
  questions.standing(database, ["Isolated", "Disabled"])
)

/**
 * Of how long ago, and of which circuits.
 *
 * @category options
 * @since 0.1.0
 */
export interface Within {
  /** As far back as this. Default 24 hours; 30 days for {@link longestOpenings} and {@link transitionsPerDay}. */
  readonly within?: Duration.Input | undefined
  /** How many answers at most. Default 100; 10 for {@link longestOpenings}. */
  readonly limit?: number | undefined
}

const dayMillis = 86_400_000

const decodeWithin = (operation: string, options: Within | undefined, defaults: { within: number; limit: number }) => {
  const { limit = defaults.limit, within = defaults.within } = decodeOptions(operation, withinFields, options)
  return { limit, within }
}

/**
 * The circuits that have opened lately, how often and when last, those that did most often first.
 *
 * @category questions
 * @since 0.1.0
 */
export const openedWithin = (
  options?: Within
): Effect.Effect<ReadonlyArray<questions.OpeningsOf>, SqlError, AuditTrail> => {
  const checked = decodeWithin("AuditTrail.openedWithin", options, { within: dayMillis, limit: 100 })
  return use((database) => questions.opened(database, checked))
}

/**
 * Which lines, of those that there are.
 *
 * @category options
 * @since 0.1.0
 */
export interface Page {
  /** How many lines at most. Default 100. */
  readonly limit?: number | undefined
  /** Only what was before: the last line of the page before this one, or a time in milliseconds since 1970. */
  readonly before?: number | Pick<questions.Entry, "at" | "id"> | undefined
}

/**
 * What all circuits did, the latest first.
 *
 * @category questions
 * @since 0.1.0
 */
export const latest = (options?: Page): Effect.Effect<ReadonlyArray<questions.Entry>, SqlError, AuditTrail> => {
  const { before, limit = 100 } = decodeOptions("AuditTrail.latest", pageFields, options)
  return use((database) => questions.history(database, { circuit: undefined, limit, before }))
}

/**
 * What one circuit did, the latest first.
 *
 * @category questions
 * @since 0.1.0
 */
export const history = (
  name: string,
  options?: Page & { readonly key?: string | undefined }
): Effect.Effect<ReadonlyArray<questions.Entry>, SqlError, AuditTrail> => {
  const {
    before,
    key,
    limit = 100
  } = decodeOptions("AuditTrail.history", { ...pageFields, key: optional(textOrEmpty) }, options)
  decodeArgument("AuditTrail.history", "name", text, name)
  return use((database) => questions.history(database, { circuit: { name, key }, limit, before }))
}

/**
 * How many transitions there were each day (of UTC), by the state that was entered, the latest day first.
 *
 * @category questions
 * @since 0.1.0
 */
export const transitionsPerDay = (
  options?: Pick<Within, "within">
): Effect.Effect<ReadonlyArray<questions.PerDay>, SqlError, AuditTrail> => {
  const operation = "AuditTrail.transitionsPerDay"
  const { within = 30 * dayMillis } = decodeOptions(operation, { within: optional(positiveMillis) }, options)
  return use((database) => questions.perDay(database, within))
}

/**
 * The recoveries that took longest, the longest first: `downMillis` says for how long calls did not pass.
 *
 * @category questions
 * @since 0.1.0
 */
export const longestOpenings = (
  options?: Within
): Effect.Effect<ReadonlyArray<questions.Entry>, SqlError, AuditTrail> => {
  const checked = decodeWithin("AuditTrail.longestOpenings", options, { within: 30 * dayMillis, limit: 10 })
  return use((database) => questions.longest(database, checked))
}

/**
 * How long it took on average until calls passed again, over all recoveries of that time, and how many these were.
 *
 * @category questions
 * @since 0.1.0
 */
export const timeToRecover = (
  options?: Pick<Within, "within"> & { readonly name?: string | undefined }
): Effect.Effect<{ readonly meanMillis: number | undefined; readonly recoveries: number }, SqlError, AuditTrail> => {
  const { name, within = 30 * dayMillis } = decodeOptions(
    "AuditTrail.timeToRecover",
    { within: optional(positiveMillis), name: optional(text) },
    options
  )
  return use((database) => questions.recovery(database, within, name))
}

// ---- Pruning --------------------------------------------------------------------------------------------------------

/**
 * @category options
 * @since 0.1.0
 */
export interface PruneOptions {
  /** Lines and snapshots that are older are deleted. */
  readonly olderThan: Duration.Input
  /**
   * Circuits that have been Closed for longer are no longer among those that the questions know, nor are those that a process
   * opened for itself longer ago: it may have crashed. Default as `olderThan`.
   */
  readonly closedFor?: Duration.Input | undefined
  /** How many rows one statement deletes, so that nobody waits for it for long. Default 1,000. */
  readonly batch?: number | undefined
}

/**
 * Deletes what is old, in batches, and answers how many rows that were. Throws a `RangeError` that names the option that is wrong.
 *
 * @category pruning
 * @since 0.1.0
 */
export const prune = (options: PruneOptions): Effect.Effect<number, SqlError, AuditTrail> => {
  const { batch = 1_000, closedFor, olderThan } = decodeOptions("AuditTrail.prune", pruneFields, options)
  return use((database) => questions.prune(database, { olderThan, closedFor: closedFor ?? olderThan, batch }))
}

/**
 * {@link prune} again and again, every hour unless `every` says otherwise. What fails is logged, and tried again the next time.
 *
 * @category pruning
 * @since 0.1.0
 */
export const layerPrune = (
  options: PruneOptions & { readonly every?: Duration.Input | undefined }
): Layer.Layer<never, never, AuditTrail> => {
  const layerFields = { ...pruneFields, every: optional(positiveMillis) }
  const { every = 3_600_000, ...rest } = decodeOptions("AuditTrail.layerPrune", layerFields, options)
  const once = prune(rest).pipe(
    Effect.catchCause((cause) =>
      quietly(Effect.logWarning(`The audit trail could not be pruned: ${foreignText(cause)}`))
    )
  )
  return Layer.effectDiscard(Effect.forkScoped(Effect.schedule(once, Schedule.spaced(Duration.millis(every)))))
}
