/**
 * Circuits that processes share through a database: PostgreSQL, MySQL, MariaDB or SQLite.
 *
 * **When to use**
 *
 * If you run a database and no Redis, provide {@link layer} in place of `BreakerStore.layerMemory`, with the `SqlClient` of your
 * program. If transactions of your program may hold all connections for long, use {@link layerConnect}, which has its own client.
 *
 * **What it costs**
 *
 * A call costs no statement. Each process sends one heartbeat (two statements) and reads one page of changes (one statement)
 * per `syncInterval`. When calls fail, a transaction of 7 to 13 statements carries up to 32 ballots or changes of records,
 * whatever the number of processes. These transactions are carried out one after the other.
 * On PostgreSQL changes are announced by LISTEN and NOTIFY, which takes one connection. On other databases, and with a client
 * without LISTEN, each process reads new changes every `pollInterval` (one statement). All times are those of the database's
 * clock. All rows expire, except overrides without an end.
 *
 * **What it needs**
 *
 * Its tables, which it creates when it starts ({@link migrate}); many processes may start at once. While the database cannot be
 * used, each process decides alone, and the log says why. The store never changes other tables.
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
import { tableLocation, tableLocationFields } from "./tableLocation.ts"

/**
 * The location of the tables.
 *
 * @category models
 */
export interface TableOptions {
  /**
   * The beginning of the table names: `circuit_breakers`, `circuit_breaker_ballots`, `circuit_breaker_events` and so on. Letters, digits
   * and `_`. Processes with the same prefix are one fleet. Default: `circuit_breaker`.
   */
  readonly prefix?: string | undefined
  /** The schema (PostgreSQL) or the database (MySQL) of the tables. Default: the connection's own. */
  readonly schema?: string | undefined
}

/**
 * The options of a shared store on a database.
 *
 * @category models
 */
export interface SqlOptions extends TableOptions {
  /** Whether to create missing tables. If the program has no right to, set `false` and run {@link migrate}. Default: `true`. */
  readonly migrate?: boolean | undefined
  /**
   * How often to read changes of other processes, on a database or with a client without LISTEN. Each interval varies by up to a fifth.
   * Default: 1 second.
   */
  readonly pollInterval?: Duration.Input | undefined
}

/**
 * The options of {@link layer} and {@link layerConnect}.
 *
 * @category models
 */
export interface Options extends BreakerStore.SharedOptions, SqlOptions {}

const sqlFields = {
  ...tableLocationFields,
  migrate: optional(flag),
  pollInterval: optional(positiveMillis)
}
const layerFields = { ...sqlFields, ...ofShared }

/**
 * Creates the missing tables. Many processes may run it at once, and again. Fails with a `MigrationError` if another table has one of the
 * names, or if the user has no right to create tables.
 *
 * @category migrations
 */
export const migrate = (options: TableOptions = {}): Effect.Effect<void, MigrationError | SqlError, SqlClient> =>
  Effect.flatMap(
    database(tableLocation(decodeOptions("SqlStore.migrate", tableLocationFields, options))),
    migrations.migrate
  )

/**
 * A shared store on a database, to be combined with others in a `QuorumStore`. It creates its tables in the background, and retries until
 * it succeeds. Operations wait for the first attempt. If that fails, they fail with its error.
 *
 * @category constructors
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

/** A store whose tables exist. If they disappear, the session ends, and the next one creates them again. */
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
 * Like {@link make}, but builds its client in the background, and replaces a client that is useless: its statements are not
 * answered, or the server has become a standby, as after a failover behind one address. The layer is built again for each client,
 * so credentials from a `Config` or an effect are read again.
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
 * A breaker store that shares its circuits with all processes that use the same tables. While the database is unreachable the
 * program starts, and each process decides alone. Throws a `RangeError` that names every invalid option.
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
 */
export const layer = (options: Options = {}): Layer.Layer<BreakerStore.BreakerStore, never, SqlClient> => {
  const { migrate, pollInterval, prefix, schema, ...shared } = decodeOptions("SqlStore.layer", layerFields, options)
  const made = making({ migrate, pollInterval, prefix, schema })
  return Layer.unwrap(Effect.map(made, (store) => BreakerStore.layerShared(store, shared)))
}

/**
 * Like {@link layer}, but builds its own client, and replaces it if it is useless; see {@link connect}. Transactions of your program
 * cannot hold the connections of this client.
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
