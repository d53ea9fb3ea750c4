import { type AttributeValue, DeleteItemCommand, PutItemCommand, ScanCommand } from "@aws-sdk/client-dynamodb"
import { Effect, Exit, Layer, Scope } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker, SharedStore } from "effect-fuse"
import * as DynamoStore from "effect-fuse/DynamoStore"
import * as RedisStore from "effect-fuse/RedisStore"
import { type Database, on, onOwn, ours, type Server } from "./databases.ts"
import { circuitsTable, dynamoClient, dynamoTable } from "./dynamoServer.ts"
import { exchange } from "./fleet.ts"
import type { OwnServer } from "./ownServer.ts"
import { type Connection, connection, type Replica, send, sharedStore, standing, until } from "./redisFleet.ts"
import { type RedisProxy, redisProxy } from "./redisProxy.ts"
import { client, redisServer } from "./redisServer.ts"
import * as sqlFleet from "./sqlFleet.ts"
import { wired } from "./wired.ts"

/** A store of a real server, which several processes use, for tests that are the same for all stores. */
export interface Place {
  /** The store as one more process has it, on a connection of its own. */
  readonly store: Effect.Effect<SharedStore.SharedStore, never, Scope.Scope>
  /** The store as an administrator has it: nothing makes it slow. */
  readonly admin: SharedStore.SharedStore
}

/** A place that processes reach through a wire. */
export interface WiredPlace extends Place {
  readonly wire: RedisProxy
}

type Make<P extends Place = Place> = Effect.Effect<P, never, Scope.Scope>

/** Commands that a test sends by itself. */
export interface RedisPlace extends WiredPlace {
  readonly redis: Connection
  readonly server: Effect.Success<typeof redisServer>
}

/** A Redis of the test's own. `user` is a rule of its access list. */
export const onRedis = (
  options: RedisStore.RedisOptions & { readonly user?: string; readonly delay?: number } = {}
): Make<RedisPlace> =>
  Effect.gen(function* () {
    const { delay = 0, user, ...rest } = options
    const server = yield* redisServer
    const redis = yield* connection(server.url)
    const wire = yield* redisProxy(server.port)
    if (user !== undefined) yield* send(redis, `ACL SETUSER member on >secret ${user}`)
    yield* wire.delay(delay)
    const url = user === undefined ? wire.url : wire.url.replace("//", "//member:secret@")
    const store = Effect.flatMap(connection(url), (one) => sharedStore(one, rest))
    return { store, wire, admin: yield* sharedStore(redis), redis, server }
  })

/** The store as a process has it that connects in the background. */
export const connecting = ({ wire }: WiredPlace): Effect.Effect<SharedStore.SharedStore, never, Scope.Scope> =>
  Effect.orDie(RedisStore.connect(client(wire.url)))

/** A database of the test's own, reached through a wire. */
export const onServer = (
  database: Server,
  delay = 0
): (() => Make<WiredPlace & { readonly sql: sqlFleet.Connection }>) => {
  const ground = onOwn(database)
  return () =>
    Effect.gen(function* () {
      const { admin: sql, open, wire } = yield* wired(ground)
      const admin = yield* sqlFleet.sharedStore(sql)
      yield* admin.load([]).pipe(Effect.orDie)
      yield* wire.delay(delay)
      return { store: Effect.flatMap(open, sqlFleet.sharedStore), wire, admin, sql }
    })
}

/** A database of the test's own. */
export const onDatabase = (database: Database): (() => Make<Place & { readonly sql: sqlFleet.Connection }>) => {
  const ground = on(database)
  return () =>
    Effect.gen(function* () {
      const { open } = yield* ground.place
      const sql = yield* open
      const admin = yield* sqlFleet.sharedStore(sql)
      yield* admin.load([]).pipe(Effect.orDie)
      return { store: Effect.flatMap(open, sqlFleet.sharedStore), admin, sql }
    })
}

/** Makes a table in the test's own emulator. Processes connect through a proxy. */
export interface DynamoPlace extends WiredPlace {
  readonly server: OwnServer
  readonly client: DynamoStore.DynamoClient
}

export const onDynamo = ({ delay = 0 }: { readonly delay?: number } = {}): Make<DynamoPlace> =>
  Effect.gen(function* () {
    const server = yield* dynamoTable
    const wire = yield* redisProxy(server.port)
    const made = (endpoint: string) =>
      Effect.flatMap(dynamoClient(endpoint, 1), (client) =>
        Effect.map(DynamoStore.make({ client, table: circuitsTable, pollInterval: 200 }), (store) => ({
          client,
          store
        }))
      )
    const { client, store: admin } = yield* made(server.url)
    yield* wire.delay(delay)
    return {
      store: Effect.map(made(wire.url.replace("redis:", "http:")), ({ store }) => store),
      wire,
      admin,
      server,
      client
    }
  })

interface ReplicaOptions extends BreakerStore.SharedOptions {
  readonly policy?: BreakerPolicy.Input
}

/** The circuits of one more process. */
export const replicaOn = (
  store: SharedStore.SharedStore,
  { policy = {}, ...options }: ReplicaOptions = {}
): Effect.Effect<Replica, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const end = Scope.close(scope, Exit.void)
    yield* Effect.addFinalizer(() => end)
    const layer = BreakerStore.layerShared(store, { syncInterval: 200, ...options })
    const whole = Layer.provideMerge(layer, BreakerPolicy.layer({ default: policy }))
    const context = yield* Effect.orDie(Layer.buildWithScope(Layer.fresh(whole), scope))
    return { run: (effect) => Effect.provideContext(effect, context), end }
  })

export const replicasOn = (
  { store }: Place,
  count: number,
  options: ReplicaOptions = {}
): Effect.Effect<ReadonlyArray<Replica>, never, Scope.Scope> =>
  Effect.all(
    Array.from({ length: count }, () => Effect.flatMap(store, (one) => replicaOn(one, options))),
    { concurrency: "unbounded" }
  )

/** Waits until this many processes live, and the store is old enough to know all of them. */
export const areKnown = ({ admin }: Place, count: number): Effect.Effect<void> =>
  until(
    `${count} processes live, and the store knows all that do`,
    Effect.map(Effect.orDie(exchange(admin)), ({ live, liveFor }) => live === count && liveFor > 1_000)
  )

/** The record of a circuit, as text. */
export const bodyOf = ({ admin }: Place, circuit: string): Effect.Effect<string | undefined> =>
  Effect.map(Effect.orDie(admin.load([circuit])), ({ records: [record] }) => record?.body)

/** Opens many circuits for all: writes the record of one under other names. */
export const openMany = (place: Place, by: Replica, names: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.gen(function* () {
    yield* by.run(CircuitBreaker.open("pattern", { for: "1 hour" }))
    yield* until(
      "the store has the opening",
      Effect.map(bodyOf(place, "pattern"), (body) => body !== undefined)
    )
    const body = (yield* bodyOf(place, "pattern")) ?? ""
    for (let i = 0; i < names.length; i += SharedStore.limits.swaps) {
      const part = names.slice(i, i + SharedStore.limits.swaps)
      const swaps = part.map((circuit) => ({ circuit, expectedEpoch: 0, body, ttl: 3_600_000, listed: true }))
      yield* Effect.orDie(exchange(place.admin, { swaps }))
    }
  })

/** How many of these circuits stand like this in a process. */
export const counted = (one: Replica, expected: string): Effect.Effect<number> =>
  Effect.map(
    one.run(CircuitBreaker.list),
    (all) => all.filter(({ scope, state }) => `${state} (${scope})` === expected).length
  )

/** Remembers all that a Redis has; what it returns gives it back, as a restart from an older dump does. */
export const dumpOf = (redis: Connection): Effect.Effect<Effect.Effect<void>> =>
  Effect.gen(function* () {
    const dump = `local all = {}
      for _, key in ipairs(redis.call('KEYS', '*')) do
        all[#all + 1] = { key, redis.call('PTTL', key) }
        redis.call('COPY', key, 'saved:' .. key, 'DB', 1, 'REPLACE')
      end
      return #all`
    yield* send(redis, "EVAL", dump, "0")
    const restore = `redis.call('FLUSHDB')
      redis.call('SELECT', 1)
      for _, key in ipairs(redis.call('KEYS', 'saved:*')) do redis.call('COPY', key, string.sub(key, 7), 'DB', 0) end
      redis.call('SELECT', 0)`
    return Effect.asVoid(send(redis, "EVAL", restore, "0"))
  })

/** The same for the tables of a database. */
export const copyOf = (sql: sqlFleet.Connection): Effect.Effect<Effect.Effect<void>> =>
  Effect.gen(function* () {
    const tables = ours.filter((name) => /^circuit_breakers$|_(ballots|boxes|rolls|store|voters)$/.test(name))
    for (const table of tables) yield* sqlFleet.say(sql, `CREATE TABLE saved_${table} AS SELECT * FROM ${table}`)
    const restore = Effect.forEach(
      tables,
      (table) =>
        Effect.andThen(
          sqlFleet.say(sql, `DELETE FROM ${table}`),
          sqlFleet.say(sql, `INSERT INTO ${table} SELECT * FROM saved_${table}`)
        ),
      { discard: true }
    )
    return Effect.orDie(sqlFleet.transaction(sql, restore))
  })

type Item = Record<"pk" | "sk", AttributeValue> & Record<string, AttributeValue>

/** Copies a table of DynamoDB. Returns an effect that restores the copy. */
export const copyOfTable = ({ client }: DynamoPlace): Effect.Effect<Effect.Effect<void>> => {
  const all = Effect.map(
    Effect.promise(() => client.send(new ScanCommand({ TableName: circuitsTable, ConsistentRead: true }))),
    ({ Items = [] }): ReadonlyArray<Item> => Items
  )
  const each = <A>(items: ReadonlyArray<A>, command: (item: A) => unknown) =>
    Effect.forEach(items, (item) => Effect.promise(() => client.send(command(item))), { discard: true })
  return Effect.map(all, (saved) =>
    Effect.gen(function* () {
      yield* each(yield* all, ({ pk, sk }) => new DeleteItemCommand({ TableName: circuitsTable, Key: { pk, sk } }))
      yield* each(saved, (Item) => new PutItemCommand({ TableName: circuitsTable, Item }))
    })
  )
}

/** Waits until each of these stands like this in all replicas. */
export const allStand = (replicas: ReadonlyArray<Replica>, expected: ReadonlyArray<readonly [string, string]>) =>
  until(
    "all replicas know all circuits",
    Effect.map(
      Effect.forEach(replicas, (one) => Effect.forEach(expected, ([circuit]) => standing(one, { circuit }))),
      (seen) => seen.every((one) => one.every((state, i) => state === expected[i]?.[1]))
    )
  )
