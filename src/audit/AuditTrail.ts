/**
 * An audit trail in a database: every transition and override of circuits, with the reason, the operator and the counts at that
 * moment, and queries on it.
 *
 * **When to use**
 *
 * With any store: circuits may be in Redis and their trail in PostgreSQL. Provide {@link layer} in every process: each writes its own
 * transitions.
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
 * Calls never wait. Events are queued in memory and written in batches, 100 milliseconds later. While the database is unreachable
 * up to `maxPending` events are queued; they are written exactly once when it answers again. A process that crashes loses its queue.
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
import { once } from "../connection/watched.ts"
import { decodeArgument, decodeOptions, optional, positiveMillis, refused, text, textOrEmpty } from "../core/fields.ts"
import { foreignText } from "../core/foreign.ts"
import { quietly } from "../engine/logEvent.ts"
import type { BreakerEvent, Transition } from "../shapes/BreakerEvent.ts"
import { type Database, database } from "../sql/database.ts"
import * as migrations from "../sql/migrations.ts"
import type { TableOptions } from "../sql/SqlStore.ts"
import { tableLocation } from "../sql/tableLocation.ts"
import { harmless } from "./metadata.ts"
import { optionFields, pageFields, pruneFields, readerFields, withinFields } from "./options.ts"
import * as questions from "./queries.ts"
import { AuditTrail, Inside, use } from "./service.ts"
import { runOf, Trail, writeActions } from "./trail.ts"

export type {
  /**
   * One line of the trail. Times are milliseconds since 1970 by the clock of the process that wrote the line.
   *
   * @category models
   */
  Entry,
  /**
   * How often a circuit opened.
   *
   * @category models
   */
  OpeningsOf as Opened,
  /**
   * The number of transitions on a day to one state.
   *
   * @category models
   */
  PerDay,
  /**
   * The latest state of a circuit, decided by the fleet or by one process alone.
   *
   * @category models
   */
  Standing
} from "./queries.ts"
export {
  /**
   * An audit trail, which the queries below need.
   *
   * @category services
   */
  AuditTrail
} from "./service.ts"

/**
 * The options of {@link layerReader}.
 *
 * @category options
 */
export interface ReaderOptions extends TableOptions {
  /** Whether to create missing tables. If the program has no right to, set `false` and run `SqlStore.migrate`. Default: `true`. */
  readonly migrate?: boolean | undefined
}

/**
 * The options of {@link layer}.
 *
 * @category options
 */
export interface Options extends ReaderOptions {
  /** The name of this process in its lines. Default: `process`. */
  readonly process?: string | undefined
  /**
   * Metadata that is written with every line as JSON, or a function that returns it for an event, called when the event happens. If the
   * function throws or returns a value that JSON cannot represent, the line has no metadata, and one log message reports this.
   */
  readonly metadata?: object | string | number | boolean | null | ((event: Transition) => unknown) | undefined
  /** How long events are collected before a batch is written. Default: 100 milliseconds. */
  readonly flushInterval?: Duration.Input | undefined
  /**
   * The most events that are queued while the database is unreachable. Beyond that the oldest are dropped and counted. Default: 100,000.
   */
  readonly maxPending?: number | undefined
}

const prepared = (found: Database, migrate: boolean) =>
  migrate ? migrations.migrate(found) : migrations.check(found, migrations.ofTrail)

/** How long a query waits for the tables. */
const readyMillis = 5_000

/** How long shutdown waits for the last events to be written. */
const endMillis = 2_000

/**
 * Writes the transitions and overrides of all circuits of the store. Building the layer waits for nothing: tables are created and events
 * written in the background, and retried until that succeeds; the first failure is logged. Throws a `RangeError` that names every
 * invalid option.
 *
 * @category layers
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
          const line = `The metadata of an event cannot be written; its line is written without: ${foreignText(cause)}`
          registry.runtime.background(quietly(Effect.logWarning(line)))
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
      const report = once((cause: unknown) =>
        quietly(
          Effect.logWarning(
            `The tables of the audit trail do not exist yet; events are kept until they do: ${foreignText(cause)}`
          )
        )
      )
      const ready = Effect.provideContext(found.apart(prepared(found, migrate)), context).pipe(
        Effect.tapCause(report),
        Effect.retry(Schedule.min([Schedule.exponential("500 millis"), Schedule.spaced("30 seconds")]))
      )
      const there = yield* Deferred.make<void>()
      const begin = Effect.andThen(ready, Deferred.succeed(there, undefined))
      yield* Effect.forkScoped(Effect.andThen(begin, Effect.all([trail.run, trail.beats], { concurrency: 2 })))
      const waited = Effect.asVoid(Effect.timeoutOption(Deferred.await(there), readyMillis))
      return { [Inside]: { database: found, trail, ready: waited } }
    })
  )
}

/**
 * For a program that only reads the trail. Fails with the error of the database if it is unreachable.
 *
 * @category layers
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
 * How many events were written, are queued, and were dropped since the layer was built.
 *
 * @category getters
 */
export const stats: Effect.Effect<
  { readonly written: number; readonly pending: number; readonly dropped: number },
  never,
  AuditTrail
> = AuditTrail.useSync((service) => service[Inside].trail?.stats ?? { written: 0, pending: 0, dropped: 0 })

/**
 * Writes all queued events now.
 *
 * @category writing
 */
export const flush: Effect.Effect<void, SqlError, AuditTrail> = AuditTrail.use((service) => {
  const { ready, trail } = service[Inside]
  return trail === undefined ? Effect.void : Effect.andThen(ready, trail.flush)
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
    return actions.length === 0 ? Effect.void : Effect.andThen(ready, write)
  })
}

// ---- Questions ------------------------------------------------------------------------------------------------------

/**
 * The circuits that are Open, the longest open first.
 *
 * @category questions
 */
export const openNow: Effect.Effect<ReadonlyArray<questions.Standing>, SqlError, AuditTrail> = use((database) =>
  questions.standing(database, ["Open"])
)

/**
 * The circuits whose dependencies have not recovered: Open or HalfOpen.
 *
 * @category questions
 */
export const failing: Effect.Effect<ReadonlyArray<questions.Standing>, SqlError, AuditTrail> = use((database) =>
  questions.standing(database, ["Open", "HalfOpen"])
)

/**
 * The circuits that an operator has forced (Isolated or Disabled), with the operator.
 *
 * @category questions
 */
export const forced: Effect.Effect<ReadonlyArray<questions.Standing>, SqlError, AuditTrail> = use((database) =>
  questions.standing(database, ["Isolated", "Disabled"])
)

/**
 * The time that a query covers, and the maximum number of its results.
 *
 * @category options
 */
export interface Within {
  /** How far back. Default: 24 hours; 30 days for {@link longestOpenings} and {@link transitionsPerDay}. */
  readonly within?: Duration.Input | undefined
  /** The most results. Default: 100; 10 for {@link longestOpenings}. */
  readonly limit?: number | undefined
}

const dayMillis = 86_400_000

const decodeWithin = (operation: string, options: Within | undefined, defaults: { within: number; limit: number }) => {
  const { limit = defaults.limit, within = defaults.within } = decodeOptions(operation, withinFields, options)
  return { limit, within }
}

/**
 * The circuits that have opened in that time, how often and when last. The circuit with the most openings is first.
 *
 * @category questions
 */
export const openedWithin = (
  options?: Within
): Effect.Effect<ReadonlyArray<questions.OpeningsOf>, SqlError, AuditTrail> => {
  const checked = decodeWithin("AuditTrail.openedWithin", options, { within: dayMillis, limit: 100 })
  return use((database) => questions.opened(database, checked))
}

/**
 * A page of lines.
 *
 * @category options
 */
export interface Page {
  /** The most lines. Default: 100. */
  readonly limit?: number | undefined
  /** Only earlier lines: the last line of the previous page, or a time in milliseconds since 1970. */
  readonly before?: number | Pick<questions.Entry, "at" | "id"> | undefined
}

/**
 * The lines of all circuits, the latest first.
 *
 * @category questions
 */
export const latest = (options?: Page): Effect.Effect<ReadonlyArray<questions.Entry>, SqlError, AuditTrail> => {
  const { before, limit = 100 } = decodeOptions("AuditTrail.latest", pageFields, options)
  return use((database) => questions.history(database, { circuit: undefined, limit, before }))
}

/**
 * The lines of one circuit, the latest first.
 *
 * @category questions
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
 * The number of transitions on each day (UTC) to each state, the latest day first.
 *
 * @category questions
 */
export const transitionsPerDay = (
  options?: Pick<Within, "within">
): Effect.Effect<ReadonlyArray<questions.PerDay>, SqlError, AuditTrail> => {
  const operation = "AuditTrail.transitionsPerDay"
  const { within = 30 * dayMillis } = decodeOptions(operation, { within: optional(positiveMillis) }, options)
  return use((database) => questions.perDay(database, within))
}

/**
 * The longest outages that have ended, the longest first. `downMillis` is the length of the outage.
 *
 * @category questions
 */
export const longestOpenings = (
  options?: Within
): Effect.Effect<ReadonlyArray<questions.Entry>, SqlError, AuditTrail> => {
  const checked = decodeWithin("AuditTrail.longestOpenings", options, { within: 30 * dayMillis, limit: 10 })
  return use((database) => questions.longest(database, checked))
}

/**
 * The mean length of the outages that ended in that time, and their number. Default: the last 30 days, all circuits.
 *
 * @category questions
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
 * The options of {@link prune}.
 *
 * @category options
 */
export interface PruneOptions {
  /** Older lines and snapshots are deleted. */
  readonly olderThan: Duration.Input
  /**
   * Also deletes the latest state of circuits that have been Closed for longer, and states that a process decided alone longer ago: the
   * process may have crashed. Default: `olderThan`.
   */
  readonly closedFor?: Duration.Input | undefined
  /** The most rows that one statement deletes, so that other statements do not wait for long. Default: 1,000. */
  readonly batch?: number | undefined
}

/**
 * Deletes old rows in batches. Returns the number of deleted rows. Throws a `RangeError` that names every invalid option.
 *
 * @category pruning
 */
export const prune = (options: PruneOptions): Effect.Effect<number, SqlError, AuditTrail> => {
  const { batch = 1_000, closedFor, olderThan } = decodeOptions("AuditTrail.prune", pruneFields, options)
  return use((database) => questions.prune(database, { olderThan, closedFor: closedFor ?? olderThan, batch }))
}

/**
 * Runs {@link prune} every hour, or every `every`. A failure is logged, and the next run tries again.
 *
 * @category pruning
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
