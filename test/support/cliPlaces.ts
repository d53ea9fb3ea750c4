import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Cause, Effect, Exit, Layer, Scope } from "effect"
import { BreakerPolicy, type SharedStore } from "effect-fuse"
import { AuditTrail } from "effect-fuse/audit"
import * as RedisStore from "effect-fuse/RedisStore"
import * as SqlStore from "effect-fuse/SqlStore"
import { afterAll, assert, beforeAll } from "vitest"
import { listed } from "./fleet.ts"
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
  readonly folder: string
}

const orThrow = <A>(exit: Exit.Exit<A>): A => {
  if (Exit.isSuccess(exit)) return exit.value
  const error = Cause.squash(exit.cause)
  remember(error)
  throw error
}

export const servers: Effect.Effect<Servers, never, Scope.Scope> = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "command-line-"))),
    (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
  )
  const [redis, database] = yield* Effect.all([Effect.exit(redisServer), Effect.exit(postgres.postgresServer)])
  return {
    get redis() {
      return orThrow(redis)
    },
    get postgres() {
      return orThrow(database)
    },
    folder
  }
})

/** Circuits and a trail of one test's own. */
export interface Place {
  /** What the command line has to be told to find them. */
  readonly flags: ReadonlyArray<string>
  readonly prefix: string
  /** The operator's store, on a connection of its own. */
  readonly outside: SharedStore.SharedStore
  /** One more process, which keeps the trail. */
  readonly join: Effect.Effect<redis.Replica, never, Scope.Scope>
  /** The database with the trail. */
  readonly trail: sql.Connection
}

export const kinds = ["Redis", "PostgreSQL", "SQLite"] as const
export type Kind = (typeof kinds)[number]

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

/** A new place on the servers. Circuits in Redis have their trail in SQLite. */
export const newPlace = (kind: Kind, servers: Servers) =>
  Effect.gen(function* () {
    const prefix = `place_${++made}`
    const { folder } = servers
    const file = join(folder, `${prefix}.db`)
    const openTrail =
      kind === "PostgreSQL" ? sql.connect(servers.postgres.url) : Layer.build(Layer.suspend(() => sqlite(file)))
    const trail = yield* openTrail
    const database = kind === "PostgreSQL" ? servers.postgres.url : `sqlite:${file}`
    const policies = Layer.orDie(BreakerPolicy.layer({ default: {} }))
    const audit = AuditTrail.layer({ flushInterval: 0, prefix })
    const own = { syncInterval: 200, prefix }
    const connection = kind === "Redis" ? yield* redis.connection(servers.redis.url) : undefined
    const outside =
      connection === undefined
        ? yield* sql.sharedStore(trail, { prefix })
        : yield* redis.sharedStore(connection, { prefix })
    const join_ = Effect.gen(function* () {
      const database = yield* openTrail
      const store =
        kind === "Redis"
          ? RedisStore.layer(own).pipe(Layer.provide(Layer.succeedContext(yield* redis.connection(servers.redis.url))))
          : SqlStore.layer(own).pipe(Layer.provide(Layer.succeedContext(database)))
      const all = audit.pipe(
        Layer.provideMerge(store),
        Layer.provideMerge(policies),
        Layer.provide(Layer.succeedContext(database))
      )
      return yield* joined(all as unknown as Layer.Layer<never, unknown>)
    })
    const place: Place = {
      flags: [...(kind === "Redis" ? ["--redis", servers.redis.url] : []), "--database", database, "--prefix", prefix],
      prefix,
      outside,
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
      get folder() {
        return all().folder
      }
    } satisfies Servers,
    place,
    /** Makes a place with its tables. */
    ready: (kind: Kind) => Effect.tap(place(kind), ({ outside }) => Effect.orDie(listed(outside)))
  }
}
