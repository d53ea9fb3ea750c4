import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { closeSoon } from "../connection/connecting.ts"
import { exampleUrl, fromVariables, protocols } from "../redis/environment.ts"
import { storeName } from "../store/options.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { databaseServer } from "./databaseServer.ts"
import { dynamoServer } from "./dynamoServer.ts"
import { CommandFailure } from "./messages.ts"
import { redisServer } from "./redisServer.ts"
import { type DatabaseServer, type OpenedServer, opened, type Place, storeOn } from "./server.ts"
import type { CommandSettings } from "./settings.ts"
import { emptyText, givenUrl } from "./urls.ts"

// ---- The kinds of stores --------------------------------------------------------------------------------------------

type Lookup<P = Place> = Effect.Effect<P | undefined, CommandFailure>

/** Finds a store of one kind in flags and variables. */
interface StoreKind {
  readonly ofFlag: (settings: CommandSettings) => Lookup
  readonly ofEnvironment: Lookup
  /** Messages advise the user to add this flag, or to set one of these variables. */
  readonly flag: string
  readonly variables: ReadonlyArray<string>
}

const fromEnvironment = (name: string) =>
  Effect.orElseSucceed(Config.option(Config.Redacted(name)), () => Option.none<Redacted.Redacted<string>>())

const wrongVariable = (error: { readonly message: string }) => new CommandFailure({ code: 1, message: error.message })

const redisPlace = (from: string, secret: Option.Option<Redacted.Redacted<string>>): Lookup =>
  Effect.map(
    givenUrl(from, secret, protocols, exampleUrl),
    (where) => where && { from, open: (settings) => redisServer(where, settings) }
  )

interface DatabasePlace extends Place {
  readonly open: (settings: CommandSettings) => Effect.Effect<DatabaseServer, CommandFailure, Scope.Scope>
}

const databasePlace = (from: string, secret: Option.Option<Redacted.Redacted<string>>): Lookup<DatabasePlace> =>
  Effect.map(
    givenUrl(
      from,
      secret,
      ["postgres:", "postgresql:", "sqlite:", "file:"],
      "postgres://localhost/shop or sqlite:./shop.db"
    ),
    (where) => where && { from, open: (settings) => databaseServer(where, settings) }
  )

const dynamoPlace = (from: string, table: string): Lookup =>
  table.trim() === ""
    ? emptyText(from, "the name or the ARN of a table")
    : Effect.succeed({ from, open: (settings) => dynamoServer(from, table.trim(), settings) })

const tableVariable = "CIRCUITS_TABLE"

const kinds = {
  redis: {
    ofFlag: ({ redis }) => redisPlace("--redis", redis),
    // REDIS_URL, or REDIS_HOST and the variables beside it.
    ofEnvironment: Effect.flatMap(Effect.mapError(fromVariables, wrongVariable), (found) =>
      found === undefined ? Effect.undefined : redisPlace(found.from, Option.some(Redacted.make(found.url)))
    ),
    flag: "--redis URL",
    variables: ["REDIS_URL", "REDIS_HOST"]
  },
  dynamo: {
    ofFlag: ({ dynamo }) => (Option.isNone(dynamo) ? Effect.undefined : dynamoPlace("--dynamo", dynamo.value)),
    ofEnvironment: Effect.flatMap(fromEnvironment(tableVariable), (table) =>
      Option.isNone(table) ? Effect.undefined : dynamoPlace(tableVariable, Redacted.value(table.value))
    ),
    flag: "--dynamo TABLE",
    variables: [tableVariable]
  },
  database: {
    ofFlag: ({ database }) => databasePlace("--database", database),
    ofEnvironment: Effect.suspend(() => databaseOfEnvironment),
    flag: "--database URL",
    variables: ["DATABASE_URL"]
  }
} satisfies Record<string, StoreKind>

const databaseOfEnvironment: Lookup<DatabasePlace> = Effect.flatMap(fromEnvironment("DATABASE_URL"), (secret) =>
  databasePlace("DATABASE_URL", secret)
)

const all: ReadonlyArray<StoreKind> = Object.values(kinds)

/** These stores have only circuits. A database can have the trail of the circuits. */
const withoutTrail: ReadonlyArray<StoreKind> = [kinds.redis, kinds.dynamo]

const oneOf = (words: ReadonlyArray<string>): string => words.join(", ").replace(/, ([^,]*)$/, " or $1")

const flags = oneOf(all.map(({ flag }) => flag))

// ---- Which store is meant -------------------------------------------------------------------------------------------

/** Returns the first store that the user has named. All circuits are in one store, so a second store without a trail is an error. */
const oneStore = (find: (kind: StoreKind) => Lookup, advice: string): Lookup =>
  Effect.gen(function* () {
    const [found, second] = (yield* Effect.forEach(withoutTrail, find)).filter((one) => one !== undefined)
    if (found === undefined) return yield* find(kinds.database)
    if (second === undefined) return found
    return yield* new CommandFailure({
      code: 1,
      message: `${found.from} and ${second.from} name two stores, and circuits are in one of them`,
      advice
    })
  })

const names = ["memory", ...(Object.keys(kinds) as ReadonlyArray<keyof typeof kinds>)] as const

/** Finds the store of the circuits. A flag overrides variables. */
const whereCircuits = (settings: CommandSettings): Effect.Effect<Place, CommandFailure> =>
  Effect.gen(function* () {
    const found = yield* oneStore((kind) => kind.ofFlag(settings), "Leave one of the flags out.")
    if (found !== undefined) return found
    const chosen = yield* Effect.mapError(storeName(names), wrongVariable)
    if (chosen === "memory") {
      return yield* new CommandFailure({
        code: 1,
        message:
          "CIRCUIT_BREAKER_STORE: the circuits are in the memory of each process, where no command can reach them",
        advice: `Add ${flags} for a store that processes share.`
      })
    }
    if (chosen !== undefined) {
      const { flag, ofEnvironment, variables } = kinds[chosen]
      const one = yield* ofEnvironment
      if (one !== undefined) return one
      return yield* new CommandFailure({
        code: 1,
        message: `CIRCUIT_BREAKER_STORE: no ${chosen} given`,
        advice: `Set ${oneOf(variables)}, or add ${flag}.`
      })
    }
    const any = yield* oneStore(
      ({ ofEnvironment }) => ofEnvironment,
      "Set CIRCUIT_BREAKER_STORE to redis or dynamo, or add --redis or --dynamo."
    )
    if (any !== undefined) return any
    return yield* new CommandFailure({
      code: 1,
      message: `No store given. Add ${flags}, or set ${oneOf(all.flatMap(({ variables }) => variables))}.`
    })
  })

/** Finds the trail. Returns `undefined` if the user has set neither the flag nor the variable. */
export const whereTrail = (settings: CommandSettings): Lookup<DatabasePlace> =>
  Effect.gen(function* () {
    return (yield* databasePlace("--database", settings.database)) ?? (yield* databaseOfEnvironment)
  })

// ---- Opening --------------------------------------------------------------------------------------------------------

/** Runs `body`, and then closes everything that it opened, but does not wait long for a server that hangs. */
const use = <A, E, R>(body: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.acquireUseRelease(Scope.make(), (scope) => Scope.provide(body, scope), closeSoon)

export const withServer = <A, R>(
  settings: CommandSettings,
  body: (opened: OpenedServer) => Effect.Effect<A, CommandFailure, R>
) =>
  use(
    Effect.gen(function* () {
      const place = yield* whereCircuits(settings)
      return yield* body(opened(yield* place.open(settings), settings))
    })
  )

/** Opens the database with the trail. */
export const withDatabase = <A, R>(
  settings: CommandSettings,
  body: (opened: OpenedServer<DatabaseServer>) => Effect.Effect<A, CommandFailure, R>
) =>
  use(
    Effect.gen(function* () {
      const place = yield* whereTrail(settings)
      if (place === undefined) {
        return yield* new CommandFailure({
          code: 1,
          message: "No database with a trail given. Add --database URL, or set DATABASE_URL."
        })
      }
      return yield* body(opened(yield* place.open(settings), settings))
    })
  )

/**
 * Runs `body` on the database with the trail: the database of the circuits, or the database that is configured in addition to another
 * store. Without a trail, the result is `undefined`.
 */
export const withTrail = <A>(
  settings: CommandSettings,
  { ask, failed, server }: OpenedServer,
  body: (opened: OpenedServer<DatabaseServer>) => Effect.Effect<A, CommandFailure>
): Effect.Effect<A | undefined, CommandFailure> =>
  server.database === undefined
    ? Effect.flatMap(whereTrail(settings), (place) =>
        place === undefined ? Effect.undefined : withDatabase(settings, body)
      )
    : body({ ask, failed, server })

/** Opens the store with the circuits. */
export const withStore = <A, R>(
  settings: CommandSettings,
  body: (store: SharedStore, opened: OpenedServer) => Effect.Effect<A, CommandFailure, R>
) => withServer(settings, (opened) => Effect.flatMap(storeOn(opened), (store) => body(store, opened)))
