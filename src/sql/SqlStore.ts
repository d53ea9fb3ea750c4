/**
 * Circuits that processes share through a database: PostgreSQL, MySQL or MariaDB, SQLite.
 *
 * **When to use**
 *
 * Provide {@link layer} in place of `BreakerStore.layerMemory`, with the `SqlClient` that you have: for those who run a database
 * and no Redis. Give it a client of its own where transactions of your program may hold all connections for long.
 *
 * **What it costs**
 *
 * A call costs no statement. Each process sends one heartbeat (two statements) and reads one page of changes (one statement)
 * per `syncInterval`. When calls fail, a transaction of 7 to 13 statements carries up to 32 ballots or changes of records, and
 * takes as many statements with many processes as with few. These transactions are carried out one after the other.
 * On PostgreSQL other processes hear of changes by LISTEN and NOTIFY, which takes one connection. On other databases, and with a
 * client that has no LISTEN, each process reads new changes every `pollInterval` (one statement). The clock is the database's.
 * Everything expires, except overrides that an operator has set without an end.
 *
 * **What it needs**
 *
 * Its tables, which it makes when it starts ({@link migrate}), from however many processes at once. Whatever is wrong with the
 * database, circuits are then each process's own, and the log says why; nothing that is not of these tables is touched.
 *
 * @since 0.1.0
 */

import type * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { MigrationError } from "effect/sql/Migrator"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as BreakerStore from "../breaker/BreakerStore.ts"
import { connecting, type Session } from "../connection/connecting.ts"
import { ofGivenPool, ofOwnClient } from "../connection/judge.ts"
import { type Decoded, decodeOptions, flag, optional, positiveMillis } from "../core/fields.ts"
import { ofShared } from "../store/options.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { database } from "./database.ts"
import * as migrations from "./migrations.ts"
import { longestCircuit, sqlStore } from "./store.ts"
import { tableLocation, tableLocationFields } from "./tables.ts"

/**
 * Where the tables are.
 *
 * @category models
 * @since 0.1.0
 */
export interface TableOptions {
  /**
   * Begins the names of the tables: `circuit_breakers`, `circuit_breaker_ballots`, `circuit_breaker_events` and so on. Letters,
   * digits and `_`. Processes with the same one are one fleet. Default `circuit_breaker`.
   */
  readonly prefix?: string | undefined
  /** The schema (of PostgreSQL) or the database (of MySQL) that they are in. Default: the connection's own. */
  readonly schema?: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface SqlOptions extends TableOptions {
  /** Whether to make the tables that are missing. `false` where the program may not: use {@link migrate}. Default `true`. */
  readonly migrate?: boolean | undefined
  /**
   * How often to read what other processes changed, on a database or with a client that has no LISTEN. Each time is up to a fifth
   * sooner or later. Default 1 second.
   */
  readonly pollInterval?: Duration.Input | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends BreakerStore.SharedOptions, SqlOptions {}

const sqlFields = {
  ...tableLocationFields,
  migrate: optional(flag),
  pollInterval: optional(positiveMillis)
}
const layerFields = { ...sqlFields, ...ofShared }

/**
 * Makes the tables that are missing, of this version: safe to run from many processes at once, and again. Fails with a
 * `MigrationError` where a table of one of these names is something else, or where the program has no right to make one.
 *
 * @category migrations
 * @since 0.1.0
 */
export const migrate = (options: TableOptions = {}): Effect.Effect<void, MigrationError | SqlError, SqlClient> =>
  Effect.flatMap(
    database(tableLocation(decodeOptions("SqlStore.migrate", tableLocationFields, options))),
    migrations.migrate
  )

/**
 * What the engine needs of a store, on a database: to combine it with others, as in `QuorumStore`. It creates its tables in the
 * background, and tries again until it succeeds. Operations wait for the first attempt. If that fails, they fail with its error.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: SqlOptions = {}): Effect.Effect<SharedStore, never, SqlClient | Scope.Scope> =>
  making(decodeOptions("SqlStore.make", sqlFields, options))

const making = (options: Decoded<typeof sqlFields>): Effect.Effect<SharedStore, never, SqlClient | Scope.Scope> =>
  Effect.contextWith((context: Context.Context<SqlClient>) =>
    connecting(
      { what: tables, strictness: ofGivenPool, replaces: false, hearsLate: false, longestCircuit },
      Effect.provideContext(session(options), context)
    )
  )

/** The name of this store in the log. */
const tables = "The tables of circuits"

/** A store whose tables are there. Tables that are gone later are made again. */
const session = ({
  migrate = true,
  pollInterval = 1_000,
  ...location
}: Decoded<typeof sqlFields>): Effect.Effect<Session, unknown, SqlClient> =>
  Effect.flatMap(database(tableLocation(location)), (found) => {
    const ready = migrate ? migrations.migrateIfMissing(found) : migrations.check(found, migrations.ofStore)
    return Effect.map(found.apart(Effect.andThen(ready, found.named)), () => sqlStore(found, pollInterval))
  })

/**
 * {@link make} on a client that it builds by itself, in the background. A client that turns out to be useless is replaced: its
 * statements are not answered, or the server has become a standby, as after a failover behind one address. The layer is built anew
 * for each client, and reads credentials that come from a `Config` or an effect again.
 *
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Config } from "effect"
 * import * as SqlStore from "effect-fuse/SqlStore"
 *
 * const store = SqlStore.connect(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL"), maxConnections: Config.succeed(3) }))
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const connect = <E, R>(
  client: Layer.Layer<SqlClient, E, R>,
  options: SqlOptions = {}
): Effect.Effect<SharedStore, never, R | Scope.Scope> =>
  connectingTo(client, decodeOptions("SqlStore.connect", sqlFields, options))

const connectingTo = <E, R>(
  client: Layer.Layer<SqlClient, E, R>,
  options: Decoded<typeof sqlFields>
): Effect.Effect<SharedStore, never, R | Scope.Scope> =>
  connecting(
    { what: tables, strictness: ofOwnClient, replaces: true, hearsLate: false, longestCircuit },
    Effect.flatMap(Layer.build(Layer.fresh(client)), (context) => Effect.provideContext(session(options), context))
  )

/**
 * Circuits that all processes with this database and this prefix share. Throws a `RangeError` that names the option that is
 * wrong. A program starts and is protected whether the database is there or not, and shares its circuits from when it is.
 *
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Layer, Redacted } from "effect"
 * import * as SqlStore from "effect-fuse/SqlStore"
 *
 * const Store = SqlStore.layer({ prefix: "shop_breaker" }).pipe(
 *   Layer.provide(PgClient.layer({ url: Redacted.make("postgres://localhost/shop") }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<BreakerStore.BreakerStore, never, SqlClient> => {
  const { migrate, pollInterval, prefix, schema, ...shared } = decodeOptions("SqlStore.layer", layerFields, options)
  const made = making({ migrate, pollInterval, prefix, schema })
  return Layer.unwrap(Effect.map(made, (store) => BreakerStore.layerShared(store, shared)))
}

/**
 * {@link layer} on a client that it builds by itself, and replaces if it turns out to be useless: see {@link connect}. The client has
 * no other users, so transactions of your program cannot hold its connections.
 *
 * ```ts
 * import { PgClient } from "@effect/sql-pg"
 * import { Redacted } from "effect"
 * import * as SqlStore from "effect-fuse/SqlStore"
 *
 * const client = PgClient.layer({ url: Redacted.make("postgres://localhost/shop"), maxConnections: 3 })
 * const Store = SqlStore.layerConnect(client, { prefix: "shop_breaker" })
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConnect = <E, R>(
  client: Layer.Layer<SqlClient, E, R>,
  options: Options = {}
): Layer.Layer<BreakerStore.BreakerStore, never, R> => {
  const checked = decodeOptions("SqlStore.layerConnect", layerFields, options)
  const { migrate, pollInterval, prefix, schema, ...shared } = checked
  const connected = connectingTo(client, { migrate, pollInterval, prefix, schema })
  return Layer.unwrap(Effect.map(connected, (store) => BreakerStore.layerShared(store, shared)))
}
