import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Cause, Effect, Exit, Layer, Scope } from "effect"
import { BreakerPolicy, type BreakerStore, type SharedStore } from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import * as DynamoStore from "effect-fuse/DynamoStore"
import * as RedisStore from "effect-fuse/RedisStore"
import * as SqlStore from "effect-fuse/SqlStore"
import { afterAll, assert, beforeAll } from "vitest"
import { circuitsTable, dynamoClient, dynamoTable } from "./dynamoServer.ts"
import { listed } from "./fleet.ts"
import type { OwnServer } from "./ownServer.ts"
import * as postgres from "./postgresServer.ts"
import * as redis from "./redisFleet.ts"
import { type RedisServer, redisServer } from "./redisServer.ts"
import { remember } from "./servers.ts"
import * as sql from "./sqlFleet.ts"
import { sqlite } from "./sqlite.ts"

/** The servers of a test file. If a server cannot be started, a test that asks for it fails or is skipped. */
export interface Servers {
  readonly redis: RedisServer
  readonly postgres: postgres.PostgresServer
  readonly dynamo: OwnServer
  readonly folder: string
}

const orThrow = <A>(exit: Exit.Exit<A>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  const error = Cause.squash(exit.cause)
  remember(error)
  throw error
}

/** With these variables, the AWS client reaches an emulator. */
export const awsVariables = (endpoint: string): Readonly<Record<string, string>> => ({
  AWS_ENDPOINT_URL: endpoint,
  AWS_REGION: "eu-central-1",
  AWS_ACCESS_KEY_ID: "key",
  AWS_SECRET_ACCESS_KEY: "secret"
})

/** Sets environment variables of this process until the scope closes. */
const inEnvironment = (variables: Readonly<Record<string, string>>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => {
        const before = Object.keys(variables).map((name) => [name, process.env[name]] as const)
        Object.assign(process.env, variables)
        return before
      }),
      (before) =>
        Effect.sync(() => {
          for (const [name, value] of before) {
            if (value === undefined) delete process.env[name]
            else process.env[name] = value
          }
        })
    )
  )

export const servers: Effect.Effect<Servers, never, Scope.Scope> = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "command-line-"))),
    (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
  )
  const [redis, database, dynamo] = yield* Effect.all(
    [Effect.exit(redisServer), Effect.exit(postgres.postgresServer), Effect.exit(dynamoTable)],
    { concurrency: 3 }
  )
  // The AWS client reads only the environment. All places of a test file are in one emulator.
  if (Exit.isSuccess(dynamo)) yield* inEnvironment(awsVariables(dynamo.value.url))
  return {
    get redis() {
      return orThrow(redis)
    },
    get postgres() {
      return orThrow(database)
    },
    get dynamo() {
      return orThrow(dynamo)
    },
    folder
  }
})

/** Circuits and a trail of one test's own. */
export interface Place {
  /** What the command line has to be told to find them. */
  readonly flags: ReadonlyArray<string>
  /** These flags omit the trail, unless the trail is in the database of the circuits. */
  readonly circuits: ReadonlyArray<string>
  readonly prefix: string
  /** The operator's store, on a connection of its own. */
  readonly outside: SharedStore.SharedStore
  /** One more process, which keeps the trail. */
  readonly join: Effect.Effect<redis.Replica, never, Scope.Scope>
  /** The database with the trail. */
  readonly trail: sql.Connection
}

export const kinds = ["Redis", "DynamoDB", "PostgreSQL", "SQLite"] as const
export type Kind = (typeof kinds)[number]

/** Whether a kind of store is a database. A database has the circuits and the trail. */
export const isDatabase = (kind: Kind): boolean => kind === "PostgreSQL" || kind === "SQLite"

let made = 0

/** Whoever has the layers of a store and a trail. */
const joined = (store: Layer.Layer<never, unknown>): Effect.Effect<redis.Replica, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const end = Scope.close(scope, Exit.void)
    yield* Effect.addFinalizer(() => end)
    const context = yield* Effect.orDie(Layer.buildWithScope(store, scope))
    return { run: (effect) => Effect.provideContext(effect, context as never), end }
  })

/** Circuits of one prefix in a store. */
interface Circuits {
  /** These flags name the store, but no trail. */
  readonly flags: ReadonlyArray<string>
  readonly outside: Effect.Effect<SharedStore.SharedStore, never, Scope.Scope>
  /** Makes the breaker store of another process with its own connection. `database` also has the trail. */
  readonly layer: (
    trail: sql.Connection
  ) => Effect.Effect<Layer.Layer<BreakerStore.BreakerStore, unknown>, never, Scope.Scope>
}

const circuitsOn = (kind: Kind, servers: Servers, prefix: string, trail: sql.Connection): Circuits => {
  const own = { syncInterval: 200, prefix }
  switch (kind) {
    case "Redis": {
      const open = Effect.suspend(() => redis.connection(servers.redis.url))
      return {
        flags: ["--redis", servers.redis.url],
        outside: Effect.flatMap(open, (connection) => redis.sharedStore(connection, { prefix })),
        layer: () =>
          Effect.map(open, (connection) => Layer.provide(RedisStore.layer(own), Layer.succeedContext(connection)))
      }
    }
    case "DynamoDB": {
      const open = Effect.suspend(() => dynamoClient(servers.dynamo.url))
      const of = { table: circuitsTable, pollInterval: 200 }
      return {
        flags: ["--dynamo", circuitsTable],
        outside: Effect.flatMap(open, (client) => DynamoStore.make({ client, prefix, ...of })),
        layer: () => Effect.map(open, (client) => DynamoStore.layer({ client, ...own, ...of }))
      }
    }
    default:
      return {
        flags: [],
        outside: sql.sharedStore(trail, { prefix }),
        layer: (database) => Effect.succeed(Layer.provide(SqlStore.layer(own), Layer.succeedContext(database)))
      }
  }
}

/** Makes a new place on the servers. If the circuits are not in a database, SQLite has their trail. */
export const newPlace = (kind: Kind, servers: Servers) =>
  Effect.gen(function* () {
    const prefix = `place_${++made}`
    const { folder } = servers
    const file = join(folder, `${prefix}.db`)
    const openTrail =
      kind === "PostgreSQL" ? sql.connect(servers.postgres.url) : Layer.build(Layer.suspend(() => sqlite(file)))
    const trail = yield* openTrail
    const database = kind === "PostgreSQL" ? servers.postgres.url : `sqlite:${file}`
    const circuits = circuitsOn(kind, servers, prefix, trail)
    const policies = Layer.orDie(BreakerPolicy.layer({ default: {} }))
    const audit = AuditTrail.layer({ flushInterval: 0, prefix })
    const join_ = Effect.gen(function* () {
      const database = yield* openTrail
      const all = audit.pipe(
        Layer.provideMerge(yield* circuits.layer(database)),
        Layer.provideMerge(policies),
        Layer.provide(Layer.succeedContext(database))
      )
      return yield* joined(all as unknown as Layer.Layer<never, unknown>)
    })
    const place: Place = {
      flags: [...circuits.flags, "--database", database, "--prefix", prefix],
      circuits: [...(circuits.flags.length === 0 ? ["--database", database] : circuits.flags), "--prefix", prefix],
      prefix,
      outside: yield* circuits.outside,
      join: join_,
      trail
    }
    return place
  })

/** Starts the servers before the tests of a file, and stops them after the last test. */
export const startServers = () => {
  const scope = Effect.runSync(Scope.make())
  let started: Servers | undefined
  beforeAll(async () => {
    started = await Effect.runPromise(Scope.provide(servers, scope))
  }, 180_000)
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  const all = () => started ?? assert.fail("the servers are not started")
  const place = (kind: Kind) => Effect.suspend(() => newPlace(kind, all()))
  return {
    all: {
      get redis() {
        return all().redis
      },
      get postgres() {
        return all().postgres
      },
      get dynamo() {
        return all().dynamo
      },
      get folder() {
        return all().folder
      }
    } satisfies Servers,
    place,
    /** Makes a place with its tables. */
    ready: (kind: Kind) => Effect.tap(place(kind), ({ outside }) => Effect.orDie(listed(outside)))
  }
}
