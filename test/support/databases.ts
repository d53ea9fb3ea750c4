import { Effect, Layer, type Scope } from "effect"
import { mariadbServer } from "./mariadbServer.ts"
import { madeBefore, ofFile } from "./ofFile.ts"
import type { OwnServer } from "./ownServer.ts"
import { postgresServer } from "./postgresServer.ts"
import { type Connection, connect, connectMysql, onMariadb, onPostgres, onSqlite, type Place, say } from "./sqlFleet.ts"
import { sqlite } from "./sqlite.ts"

/** The databases that a store and a trail may be in: most of their tests are for all of these. */
export const databases = ["PostgreSQL", "SQLite", "MariaDB"] as const
export type Database = (typeof databases)[number]

/** Those of them that are programs of their own, which may be away, hang, or know one user from another. */
export const servers = ["PostgreSQL", "MariaDB"] as const
export type Server = (typeof servers)[number]

/** One of them, and all that tests must know of what differs between them. */
export interface Ground {
  /** A database of one test's own. */
  readonly place: Effect.Effect<Place, never, Scope.Scope>
  /** One more client. */
  readonly connect: (
    url: string,
    options?: { readonly maxConnections?: number }
  ) => Effect.Effect<Connection, never, Scope.Scope>
  /** A name with letters of both cases, as statements say it. */
  readonly quoted: (name: string) => string
  /** A column as text. */
  readonly asText: (column: string) => string
  /** Answers the tables of a test's database, as `name`. */
  readonly tables: string
}

/** A server that is the file's own, which its tests may kill. */
export interface ServerGround extends Ground {
  readonly server: Effect.Effect<OwnServer>
  /** Another schema of a test's database, or what is called so: what it is called. */
  readonly schema: (name: string, place: Place) => Effect.Effect<string, never, Scope.Scope>
  /** A user who may do nothing but connect: how, and what gives that user rights on the tables that there are. */
  readonly user: (place: Place) => Effect.Effect<User, never, Scope.Scope>
  /** Ends all connections to the test's database but this one. */
  readonly endOthers: (admin: Connection) => Effect.Effect<void>
  /** Locks the tables that calls need, until the transaction ends. */
  readonly lock: string
  /** Answers how many wait for somebody's lock. */
  readonly waiting: string
  /** How many of its connections a store keeps for itself, to hear what others announce. */
  readonly listening: 0 | 1
}

export interface User {
  readonly url: string
  readonly grant: (rights: string) => Effect.Effect<void>
}

const nameOf = ({ url }: Place) => url.replace(/.*\//, "")

const onServer = {
  PostgreSQL: (url: Effect.Effect<string>) => ({
    place: Effect.flatMap(url, onPostgres),
    connect,
    quoted: (name: string) => `"${name}"`,
    asText: (column: string) => `CAST(${column} AS TEXT)`,
    tables: "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
  }),
  MariaDB: (url: Effect.Effect<string>) => ({
    place: Effect.flatMap(url, onMariadb),
    connect: connectMysql,
    quoted: (name: string) => `\`${name}\``,
    asText: (column: string) => `CAST(${column} AS CHAR)`,
    tables:
      "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
  })
} satisfies Record<Server, (url: Effect.Effect<string>) => Ground>

const inFile: Ground = {
  place: onSqlite,
  connect: (url) => Layer.build(Layer.suspend(() => sqlite(url))),
  quoted: (name) => `"${name}"`,
  asText: (column) => `CAST(${column} AS TEXT)`,
  tables: "SELECT name FROM sqlite_master WHERE type = 'table'"
}

const own: Readonly<Record<Server, Effect.Effect<OwnServer>>> = {
  PostgreSQL: ofFile(postgresServer),
  MariaDB: ofFile(mariadbServer)
}
const urlOfOwn = (database: Server) => Effect.map(own[database], ({ url }) => url)

const named = { PostgreSQL: "DATABASE_URL", MariaDB: "MYSQL_URL" } as const

/**
 * For the tests of a suite that leave a server as they found it: it is that which `DATABASE_URL` or `MYSQL_URL` names, or the
 * file's own.
 */
export const on = (database: Database): Ground => {
  if (database === "SQLite") return inFile
  const url = Effect.suspend(() => {
    const given = process.env[named[database]]
    return given === undefined || given === "" ? urlOfOwn(database) : Effect.succeed(given)
  })
  return onServer[database](madeBefore(url))
}

/** What is known of a server that is the file's own. */
const ofOwn: Readonly<Record<Server, (ground: Ground & Pick<ServerGround, "server">) => ServerGround>> = {
  PostgreSQL: (ground) => ({
    ...ground,
    schema: (name, { open }) =>
      Effect.flatMap(open, (sql) => Effect.as(say(sql, `CREATE SCHEMA ${ground.quoted(name)}`), name)),
    user: (place) =>
      Effect.gen(function* () {
        const sql = yield* place.open
        const role = `role_${nameOf(place)}`
        yield* Effect.acquireRelease(say(sql, `CREATE ROLE ${role} LOGIN`), () =>
          Effect.ignoreCause(Effect.andThen(say(sql, `DROP OWNED BY ${role}`), say(sql, `DROP ROLE ${role}`)))
        )
        const grant = (rights: string) =>
          Effect.asVoid(say(sql, `GRANT ${rights} ON ALL TABLES IN SCHEMA public TO ${role}`))
        return { url: place.url.replace("postgres@", `${role}@`), grant }
      }),
    endOthers: (admin) =>
      Effect.asVoid(
        say(
          admin,
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()`
        )
      ),
    lock: "LOCK TABLE circuit_breakers, circuit_breaker_voters, circuit_breaker_ballots IN ACCESS EXCLUSIVE MODE",
    waiting: "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    listening: 1
  }),
  MariaDB: (ground) => ({
    ...ground,
    // That is another word for a database there.
    schema: () => Effect.map(ground.place, nameOf),
    user: (place) =>
      Effect.gen(function* () {
        const sql = yield* place.open
        const user = `'poor_${nameOf(place)}'@'127.0.0.1'`
        // Rights on tables hold at once, those on a database only for connections that begin afterwards.
        const grant = (rights: string) =>
          Effect.forEach(ours, (table) => say(sql, `GRANT ${rights} ON ${nameOf(place)}.${table} TO ${user}`), {
            discard: true
          })
        yield* Effect.acquireRelease(say(sql, `CREATE USER ${user}`), () => say(sql, `DROP USER ${user}`))
        // Nobody connects to a database without any right on it.
        yield* say(sql, `GRANT SHOW VIEW ON ${nameOf(place)}.* TO ${user}`)
        return { url: place.url.replace("root@", `poor_${nameOf(place)}@`), grant }
      }),
    endOthers: (admin) =>
      Effect.gen(function* () {
        const others = yield* say(
          admin,
          "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        for (const { id } of others) yield* Effect.ignoreCause(say(admin, `KILL ${id}`))
      }),
    lock: "SELECT * FROM circuit_breakers, circuit_breaker_ballots, circuit_breaker_voters FOR UPDATE",
    waiting: "SELECT COUNT(*) FROM information_schema.innodb_lock_waits",
    listening: 0
  })
}

/** For the tests of a suite that need a server of the file's own. */
export const onOwn = (database: Server): ServerGround => {
  madeBefore(own[database])
  return ofOwn[database]({ ...onServer[database](urlOfOwn(database)), server: own[database] })
}

/** All tables that there are when they were made, by the prefix of all. */
export const ours: ReadonlyArray<string> = [
  ...["ballots", "boxes", "events", "heartbeats", "rolls", "snapshots", "states", "store", "versions", "voters"].map(
    (name) => `circuit_breaker_${name}`
  ),
  "circuit_breakers"
]

/** The tables that there are. */
export const tablesIn = ({ tables }: Ground, sql: Connection): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(say(sql, tables), (rows) => rows.map(({ name }) => String(name)).sort())
