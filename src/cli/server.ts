import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Config from "effect/Config"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redis from "effect/persistence/Redis"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import type * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { closeSoon } from "../connection/connecting.ts"
import { decoded, serverUrl } from "../connection/serverUrl.ts"
import type { Decoded, OptionFields } from "../core/fields.ts"
import { foreignMessage } from "../core/foreign.ts"
import { connect, load } from "../redis/client.ts"
import { databaseProblem, exampleUrl, fromVariables, protocols } from "../redis/environment.ts"
import { redisStore } from "../redis/store.ts"
import { decodeFields } from "../shapes/problems.ts"
import { type Database, database } from "../sql/database.ts"
import * as migrations from "../sql/migrations.ts"
import { sqlStore } from "../sql/store.ts"
import { tableLocation, tableLocationFields } from "../sql/tableLocation.ts"
import { redisFields, storeName } from "../store/options.ts"
import { type SharedStore, StoreError } from "../store/SharedStore.ts"
import { wrapped } from "../store/wrapped.ts"
import { CommandFailure, lasting } from "./messages.ts"
import type { CommandSettings } from "./settings.ts"
import { sqlite } from "./sqlite.ts"

/** A URL, the flag or variable that it comes from, and the part of it that may be printed. */
interface GivenUrl {
  readonly from: string
  readonly url: URL
  readonly text: string
  readonly label: string
}

export interface OnRedis {
  readonly kind: "Redis"
  readonly label: string
  readonly redis: Redis.Redis["Service"]
}

export interface OnSql {
  readonly kind: "PostgreSQL" | "SQLite"
  readonly label: string
  readonly database: Database
  readonly client: Context.Context<SqlClient.SqlClient>
}

export type Server = OnRedis | OnSql

// ---- URLs -----------------------------------------------------------------------------------------------------------

const labelOf = (url: URL): string =>
  url.host === ""
    ? `${url.protocol}${url.pathname}`
    : `${url.protocol}//${url.host}${url.pathname === "/" ? "" : url.pathname}`

/** The URL of a flag or a variable, or `undefined`. No error repeats the URL, because it may contain a password. */
const given = (
  from: string,
  secret: Option.Option<Redacted.Redacted<string>>,
  protocols: ReadonlyArray<string>,
  example: string
): Effect.Effect<GivenUrl | undefined, CommandFailure> => {
  const text = Option.isNone(secret) ? "" : Redacted.value(secret.value).trim()
  const expected = `${from}: expected a URL such as ${example}`
  if (text === "") {
    // An unset variable of the shell must not select another store.
    return Option.isSome(secret) && from.startsWith("--")
      ? Effect.fail(new CommandFailure({ code: 1, message: `${expected}, got an empty text` }))
      : Effect.undefined
  }
  const url = URL.parse(text)
  if (url !== null && /^(mysql|mariadb):$/.test(url.protocol)) {
    return Effect.fail(
      new CommandFailure({
        code: 1,
        message: `${from}: this command line has no client for MySQL and MariaDB`,
        advice: "Use effect-fuse/Operator on SqlStore.make with your own SqlClient."
      })
    )
  }
  return Effect.fromResult(
    Result.mapBoth(serverUrl(text, protocols, example), {
      onSuccess: (url) => ({ from, url, text, label: labelOf(url) }),
      onFailure: ({ advice, message }) => new CommandFailure({ code: 1, message: `${from}: ${message}`, advice })
    })
  )
}

const fromEnvironment = (name: string) =>
  Effect.orElseSucceed(Config.option(Config.Redacted(name)), () => Option.none<Redacted.Redacted<string>>())

const redisUrl = (from: string, secret: Option.Option<Redacted.Redacted<string>>) =>
  given(from, secret, protocols, exampleUrl)

/** The Redis of `REDIS_URL`, or of `REDIS_HOST` and the variables beside it. */
const redisOfEnvironment: Effect.Effect<GivenUrl | undefined, CommandFailure> = Effect.flatMap(
  Effect.mapError(fromVariables, (error) => new CommandFailure({ code: 1, message: error.message })),
  (found) => (found === undefined ? Effect.undefined : redisUrl(found.from, Option.some(Redacted.make(found.url))))
)

const databaseOfEnvironment: Effect.Effect<GivenUrl | undefined, CommandFailure> = Effect.suspend(() =>
  Effect.flatMap(fromEnvironment("DATABASE_URL"), (secret) => databaseUrl("DATABASE_URL", secret))
)

/** The stores that `CIRCUIT_BREAKER_STORE` can name, and what to set for each. */
const ofStore = {
  redis: { where: redisOfEnvironment, missing: "Set REDIS_URL or REDIS_HOST, or add --redis URL." },
  database: { where: databaseOfEnvironment, missing: "Set DATABASE_URL, or add --database URL." }
}
type StoreName = keyof typeof ofStore | "memory"
const storeNames: ReadonlyArray<StoreName> = ["memory", "redis", "database"]

const storeOfEnvironment: Effect.Effect<StoreName | undefined, CommandFailure> = Effect.mapError(
  storeName(storeNames),
  (error) => new CommandFailure({ code: 1, message: error.message })
)

const databaseUrl = (from: string, secret: Option.Option<Redacted.Redacted<string>>) =>
  given(from, secret, ["postgres:", "postgresql:", "sqlite:", "file:"], "postgres://localhost/shop or sqlite:./shop.db")

/** Where the circuits are. Flags come before variables. */
const whereCircuits = (settings: CommandSettings): Effect.Effect<GivenUrl, CommandFailure> =>
  Effect.gen(function* () {
    const found = (yield* redisUrl("--redis", settings.redis)) ?? (yield* databaseUrl("--database", settings.database))
    if (found !== undefined) return found
    const chosen = yield* storeOfEnvironment
    if (chosen === "memory") {
      return yield* new CommandFailure({
        code: 1,
        message:
          "CIRCUIT_BREAKER_STORE: the circuits are in the memory of each process, where no command can reach them",
        advice: "Add --redis URL or --database URL for a store that processes share."
      })
    }
    if (chosen !== undefined) {
      const { missing, where } = ofStore[chosen]
      const one = yield* where
      if (one !== undefined) return one
      return yield* new CommandFailure({
        code: 1,
        message: `CIRCUIT_BREAKER_STORE: no ${chosen} given`,
        advice: missing
      })
    }
    const any = (yield* redisOfEnvironment) ?? (yield* databaseOfEnvironment)
    if (any !== undefined) return any
    return yield* new CommandFailure({
      code: 1,
      message: "No store given. Add --redis URL or --database URL, or set REDIS_URL, REDIS_HOST or DATABASE_URL."
    })
  })

/** Where the trail is; `undefined` if neither the flag nor the variable is set. */
export const whereTrail = (settings: CommandSettings): Effect.Effect<GivenUrl | undefined, CommandFailure> =>
  Effect.gen(function* () {
    const said = yield* databaseUrl("--database", settings.database)
    return said ?? (yield* databaseOfEnvironment)
  })

// ---- Errors ---------------------------------------------------------------------------------------------------------

/** The text of an error, with each occurrence of the URL's password replaced. */
const withoutPassword = (error: unknown, { url }: GivenUrl): string => {
  const passwords = [url.password, decoded(url.password) ?? "", url.searchParams.get("password") ?? ""]
  return passwords
    .filter((one) => one !== "")
    .reduce((text, secret) => text.replaceAll(secret, "***"), foreignMessage(error))
}

const forbidden = /NOPERM|denied/i

/** Whether a server denies a right to the user. */
export const isForbidden = (said: string): boolean => forbidden.test(said)

/** The advice for errors of a server that answers but cannot be used. */
const remedies: ReadonlyArray<readonly [said: RegExp, advice: string]> = [
  [forbidden, "effect-fuse doctor shows which rights the user needs."],
  [/\bREADONLY\b|read-only/i, "This server is a replica, which takes no writes. Use the URL of the primary."],
  [/\bMASTERDOWN\b/, "This server is a replica that has lost its primary. Use the URL of the primary."],
  [/\bLOADING\b|is starting up/, "The server is still starting. Try again in a moment."],
  [/\b(?:NOAUTH|WRONGPASS)\b|password authentication failed/, "Check the user and the password in the URL."]
]

const failed = (where: GivenUrl, error: unknown, advice?: string): CommandFailure => {
  const said = withoutPassword(error, where)
  const remedy = remedies.find(([pattern]) => pattern.test(said))
  return new CommandFailure({
    code: 2,
    message: `${where.label}: ${said || "failed without a message"}`,
    advice: remedy?.[1] ?? advice
  })
}

const noAnswer = ({ label }: GivenUrl, millis: number): CommandFailure =>
  new CommandFailure({ code: 2, message: `${label}: no answer within ${lasting(millis)}` })

/** Waits at most `millis` for an answer, and turns an error into a message. */
const ask = <A, E, R>(
  where: GivenUrl,
  millis: number,
  asking: Effect.Effect<A, E, R>,
  advice?: string
): Effect.Effect<A, CommandFailure, R> =>
  Effect.timeoutOrElse(
    Effect.mapError(asking, (error) => (error instanceof CommandFailure ? error : failed(where, error, advice))),
    { duration: millis, orElse: () => Effect.fail(noAnswer(where, millis)) }
  )

const packageMissing = (name: string): CommandFailure =>
  new CommandFailure({
    code: 1,
    message: `The package ${name} is not installed.`,
    advice: `Install it beside effect-fuse: npm install ${name}`
  })

/** Loads a package that is installed only if users need it. */
const optional = <A>(name: string, load: () => Promise<A>): Effect.Effect<A, CommandFailure> =>
  Effect.tryPromise({ try: load, catch: () => packageMissing(name) })

// ---- Servers --------------------------------------------------------------------------------------------------------

const onRedis = (where: GivenUrl, millis: number): Effect.Effect<OnRedis, CommandFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const wrong = databaseProblem(where.url)
    if (wrong !== undefined) return yield* new CommandFailure({ code: 1, message: `${where.from}: ${wrong}` })
    const found = yield* optional("redis", load)
    // The timeout of `ask` comes first.
    const connecting = connect(found, where.text, { connectTimeoutMillis: millis + 1_000 })
    const { redis } = yield* ask(
      where,
      millis,
      Effect.mapError(connecting, ({ cause }) => cause)
    )
    return { kind: "Redis", label: where.label, redis }
  })

/** The file of a URL: `sqlite:shop.db`, `sqlite:///var/shop.db`, `file:///var/shop.db`. */
const fileOf = ({ from, url }: GivenUrl): Effect.Effect<string, CommandFailure> =>
  Effect.try({
    try: () => (url.protocol === "file:" ? fileURLToPath(url) : decodeURIComponent(url.pathname)),
    catch: (error) => new CommandFailure({ code: 1, message: `${from}: ${foreignMessage(error)}` })
  })

const clientLayer = (where: GivenUrl): Effect.Effect<Layer.Layer<SqlClient.SqlClient, SqlError>, CommandFailure> => {
  if (where.url.protocol === "sqlite:" || where.url.protocol === "file:") {
    // SQLite would create a missing file.
    return Effect.gen(function* () {
      const file = yield* fileOf(where)
      if (!existsSync(file))
        return yield* new CommandFailure({ code: 2, message: `${where.label}: the file does not exist` })
      // Some versions of Node print a warning when this module is loaded, so it is loaded only for SQLite.
      const { DatabaseSync } = yield* Effect.promise(() => import("node:sqlite"))
      return sqlite(() => new DatabaseSync(file, { timeout: 5_000 }))
    })
  }
  return Effect.map(
    optional("@effect/sql-pg", () => import("@effect/sql-pg")),
    ({ PgClient }) =>
      PgClient.layer({ url: Redacted.make(where.text), maxConnections: 2, applicationName: "effect-fuse" })
  )
}

const onSql = (
  where: GivenUrl,
  { prefix, schema, timeout }: CommandSettings
): Effect.Effect<OnSql, CommandFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const options = { prefix: Option.getOrUndefined(prefix), schema: Option.getOrUndefined(schema) }
    const location = tableLocation(yield* checkedFlags(tableLocationFields, options))
    const layer = yield* clientLayer(where)
    const opened = Effect.gen(function* () {
      const client = yield* Layer.build(layer)
      const found = yield* Effect.provideContext(database(location), client)
      yield* found.run(found.sql`SELECT 1`)
      return {
        kind: found.dialect === "pg" ? "PostgreSQL" : "SQLite",
        label: where.label,
        database: found,
        client
      } as const
    })
    return yield* ask(where, timeout, opened)
  })

/** Options that flags have set. */
const checkedFlags = <F extends OptionFields>(fields: F, options: unknown): Effect.Effect<Decoded<F>, CommandFailure> =>
  Effect.fromResult(
    Result.mapError(
      decodeFields(fields, options, ""),
      (problems) =>
        new CommandFailure({
          code: 1,
          message: problems.map(({ message, path }) => `--${path}: ${message}`).join("\n")
        })
    )
  )

/** Runs `body`, and then closes everything that it opened, without waiting long for a server that hangs. */
const use = <A, E, R>(body: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.acquireUseRelease(Scope.make(), (scope) => Scope.provide(body, scope), closeSoon)

export interface OpenedServer<S extends Server = Server> {
  readonly server: S
  /** Turns an error of the server into a message. */
  readonly failed: (error: unknown, advice?: string) => CommandFailure
  /** Waits for an answer for `--timeout` at most, and turns an error into a message. */
  readonly ask: <A, E, R>(asking: Effect.Effect<A, E, R>, advice?: string) => Effect.Effect<A, CommandFailure, R>
}

const opened = <S extends Server>(server: S, where: GivenUrl, { timeout }: CommandSettings): OpenedServer<S> => ({
  server,
  failed: (error, advice) => failed(where, error, advice),
  ask: (asking, advice) => ask(where, timeout, asking, advice)
})

export const withServer = <A, R>(
  settings: CommandSettings,
  body: (opened: OpenedServer) => Effect.Effect<A, CommandFailure, R>
) =>
  use(
    Effect.flatMap(whereCircuits(settings), (where) => {
      const isRedis = where.url.protocol.startsWith("redis")
      const opening: Effect.Effect<Server, CommandFailure, Scope.Scope> = isRedis
        ? onRedis(where, settings.timeout)
        : onSql(where, settings)
      return Effect.flatMap(opening, (server) => body(opened(server, where, settings)))
    })
  )

/** The database that has the trail. */
export const withDatabase = <A, R>(
  settings: CommandSettings,
  body: (opened: OpenedServer<OnSql>) => Effect.Effect<A, CommandFailure, R>
) =>
  use(
    Effect.gen(function* () {
      const where = yield* whereTrail(settings)
      if (where === undefined) {
        return yield* new CommandFailure({
          code: 1,
          message: "No database with a trail given. Add --database URL, or set DATABASE_URL."
        })
      }
      return yield* body(opened(yield* onSql(where, settings), where, settings))
    })
  )

const noTables =
  "If the tables do not exist, create them with effect-fuse migrate. --prefix and --schema say where they are."

/** Checks that the tables exist and have the right columns. It does not create them. */
export const checkTables = (
  { ask, server }: OpenedServer<OnSql>,
  tables: Parameters<typeof migrations.check>[1]
): Effect.Effect<void, CommandFailure> => ask(migrations.check(server.database, tables), noTables)

/** The store on a server. */
export const storeOn = (of: OpenedServer, { prefix }: CommandSettings): Effect.Effect<SharedStore, CommandFailure> => {
  const { server } = of
  if (server.kind === "Redis") {
    const options = Option.match(prefix, { onNone: () => ({}), onSome: (prefix) => ({ prefix }) })
    const made = Effect.flatMap(checkedFlags(redisFields, options), (options) => redisStore(server.redis, options))
    return Effect.map(made, (store) => withTimeout(store, of))
  }
  const { database } = server
  const found = Effect.andThen(
    checkTables({ ...of, server }, migrations.ofStore),
    Effect.mapError(database.named, of.failed)
  )
  return Effect.map(found, () => withTimeout(sqlStore(database).store, of))
}

/** A store whose operations time out after `--timeout`. */
const withTimeout = (store: SharedStore, { ask }: OpenedServer): SharedStore =>
  wrapped(store, ({ operation, send }) =>
    Effect.mapError(
      ask(Effect.mapError(send(store), ({ cause }) => cause)),
      (cause) => new StoreError({ operation, cause })
    )
  )

/** The store that has the circuits. */
export const withStore = <A, R>(
  settings: CommandSettings,
  body: (store: SharedStore, opened: OpenedServer) => Effect.Effect<A, CommandFailure, R>
) => withServer(settings, (opened) => Effect.flatMap(storeOn(opened, settings), (store) => body(store, opened)))
