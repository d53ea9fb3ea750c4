import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { BreakerPolicy, type SharedStore } from "effect-fuse"
import * as SqlStore from "effect-fuse/SqlStore"
import { type Options as MysqlOptions, mysql } from "./mysql.ts"
import { client } from "./postgresServer.ts"
import { type Replica, until } from "./redisFleet.ts"
import { sqlite } from "./sqlite.ts"

export type Connection = Context.Context<SqlClient.SqlClient>

/** A database of one test's own: each connection is one more process's. */
export interface Place {
  readonly url: string
  readonly open: Effect.Effect<Connection, never, Scope.Scope>
}

let made = 0

/** One more client of PostgreSQL. */
export const connect = (
  url: string,
  options?: Parameters<typeof client>[1]
): Effect.Effect<Connection, never, Scope.Scope> => Layer.build(Layer.suspend(() => client(url, options)))

/** A new database on a server. */
export const onPostgres = (server: string): Effect.Effect<Place, never, Scope.Scope> =>
  Effect.gen(function* () {
    const name = `test_${process.pid}_${made++}`
    const admin = yield* connect(server)
    yield* Effect.acquireRelease(say(admin, `CREATE DATABASE ${name}`), () =>
      Effect.ignoreCause(say(admin, `DROP DATABASE ${name} WITH (FORCE)`))
    )
    const url = server.replace(/[^/]*$/, name)
    return { url, open: connect(url) }
  })

/** One more client of MariaDB or MySQL. */
export const connectMysql = (url: string, options?: MysqlOptions): Effect.Effect<Connection, never, Scope.Scope> =>
  Layer.build(Layer.suspend(() => mysql(url, options)))

/** A new database on a server of MariaDB or MySQL. */
export const onMariadb = (server: string): Effect.Effect<Place, never, Scope.Scope> =>
  Effect.gen(function* () {
    const name = `test_${process.pid}_${made++}`
    const admin = yield* connectMysql(server)
    yield* Effect.acquireRelease(say(admin, `CREATE DATABASE ${name}`), () =>
      Effect.ignoreCause(say(admin, `DROP DATABASE ${name}`))
    )
    const url = server.replace(/[^/]*$/, name)
    return { url, open: connectMysql(url) }
  })

/** A new file of SQLite. */
export const onSqlite: Effect.Effect<Place, never, Scope.Scope> = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "circuits-"))),
    (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
  )
  const url = join(folder, "circuits.db")
  return { url, open: Layer.build(Layer.suspend(() => sqlite(url))) }
})

/** A statement that a test runs by itself. */
export const say = (sql: Connection, text: string): Effect.Effect<ReadonlyArray<Record<string, unknown>>> =>
  Effect.orDie(Context.get(sql, SqlClient.SqlClient).unsafe<Record<string, unknown>>(text))

/** The number that a statement answers; NaN where it fails. */
export const ask = (sql: Connection, text: string): Effect.Effect<number> =>
  Effect.catchCause(
    Effect.map(say(sql, text), ([row]) => Number(Object.values(row ?? {})[0])),
    () => Effect.succeed(Number.NaN)
  )

/** A replica, built on a connection. `policy` holds for all of its circuits. */
export const replica = (
  sql: Connection,
  { policy = {}, ...options }: SqlStore.Options & { readonly policy?: BreakerPolicy.Input } = {}
): Effect.Effect<Replica, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const end = Scope.close(scope, Exit.void)
    yield* Effect.addFinalizer(() => end)
    const policies = BreakerPolicy.layer({ default: policy })
    const store = SqlStore.layer({ syncInterval: 200, ...options }).pipe(Layer.provide(Layer.succeedContext(sql)))
    const context = yield* Effect.orDie(Layer.buildWithScope(Layer.provideMerge(store, policies), scope))
    return { run: (effect) => Effect.provideContext(effect, context), end }
  })

/** The store itself, as the engine uses it. */
export const sharedStore = (
  sql: Connection,
  options: SqlStore.SqlOptions = {}
): Effect.Effect<SharedStore.SharedStore, never, Scope.Scope> =>
  Effect.orDie(Effect.provideContext(SqlStore.make(options), sql))

/** How many processes have said lately that they live, in this table. */
export const living = (sql: Connection, voters = "circuit_breaker_voters"): Effect.Effect<number> =>
  Effect.suspend(() => ask(sql, `SELECT COUNT(*) FROM ${voters} WHERE ends_at > ${Date.now()}`))

/** How many connections to this database of PostgreSQL listen. */
export const listening = (sql: Connection): Effect.Effect<number> =>
  ask(sql, "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'")

/** Waits until this number of processes listen. */
export const listen = (sql: Connection, n: number): Effect.Effect<void> =>
  until(
    `${n} listen`,
    Effect.map(listening(sql), (seen) => seen === n)
  )

/** Waits until so many processes have said that they live. */
export const areLive = (sql: Connection, n = 2) =>
  until(
    `${n} live`,
    Effect.map(living(sql), (seen) => seen === n)
  )

/** What is said in it is done, or none of it. */
export const transaction = <A, E>(sql: Connection, effect: Effect.Effect<A, E>) =>
  Context.get(sql, SqlClient.SqlClient).withTransaction(effect)

/** Creates the tables of a store. */
export const migrated = (sql: Connection) => Effect.provideContext(SqlStore.migrate(), sql)
