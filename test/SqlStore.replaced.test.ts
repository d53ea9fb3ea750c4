import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { BreakerPolicy, CircuitBreaker, type SharedStore } from "effect-fuse"
import * as SqlStore from "effect-fuse/SqlStore"
import { database } from "../src/sql/database.ts"
import { sqlStore } from "../src/sql/store.ts"
import { run } from "./support/commandLine.ts"
import { exchanged } from "./support/exchanged.ts"
import { listener } from "./support/listener.ts"
import { client, type PostgresServer, postgresServer } from "./support/postgresServer.ts"
import { until } from "./support/redisFleet.ts"
import { live } from "./support/redisLive.ts"
import { redisProxy } from "./support/redisProxy.ts"
import { ask, connect, onPostgres, say } from "./support/sqlFleet.ts"
import { capture, type Line } from "./support/verbs.ts"

const through = (url: string, { url: wire }: { readonly url: string }) =>
  url.replace(/:\d+\//, `:${new URL(wire).port}/`)

/** From now on all sessions of a server, also those that there are, take no writes: as those of a primary that was demoted. */
const readOnly = (server: PostgresServer) =>
  Effect.scoped(
    Effect.gen(function* () {
      const admin = yield* connect(server.url)
      yield* say(admin, "ALTER SYSTEM SET default_transaction_read_only = on")
      yield* say(admin, "SELECT pg_reload_conf()")
      yield* until(
        "it takes no writes",
        Effect.map(say(admin, "SHOW default_transaction_read_only"), ([row]) => Object.values(row ?? {})[0] === "on")
      )
    })
  )

const writes = (store: SharedStore.SharedStore) =>
  Effect.map(Effect.exit(Effect.timeout(exchanged(store), 1_000)), Exit.isSuccess)

describe("PostgreSQL", () => {
  live(
    "that was demoted behind its address is left for its successor, with one warning, and no connection stays",
    Effect.gen(function* () {
      const [old, next] = [yield* postgresServer, yield* postgresServer]
      const wire = yield* redisProxy(old.port)
      const lines: Array<Line> = []
      const store = yield* capture(lines, SqlStore.connect(client(through(old.url, wire))))
      yield* until("it writes", writes(store))
      yield* Effect.forkScoped(
        Effect.forever(Effect.andThen(Effect.ignore(Stream.runDrain(store.changes)), Effect.sleep(200)))
      )
      yield* until(
        "it has a connection for statements beside the one that listens",
        Effect.map(writes(store), (isWritten) => isWritten && wire.accepted() === 2)
      )
      yield* readOnly(old)
      yield* wire.moveTo(next.port)
      yield* until("it writes again", writes(store))
      const there = yield* connect(next.url)
      assert.strictEqual(yield* ask(there, "SELECT COUNT(*) FROM circuit_breaker_voters"), 1)
      const admin = yield* connect(old.url)
      yield* until(
        "nothing is connected with the old one",
        Effect.map(
          ask(
            admin,
            "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
          ),
          (n) => n === 0
        )
      )
      const warnings = lines.filter(({ level }) => level === "Warn").map(({ message }) => message)
      assert.lengthOf(warnings, 1)
      assert.match(warnings[0] ?? "", /the connection does not work \(.*read-only/)
    }),
    120_000
  )

  live(
    "that was demoted is reported once where the program made the client",
    Effect.gen(function* () {
      const server = yield* postgresServer
      const sql = yield* connect(server.url)
      const lines: Array<Line> = []
      const store = SqlStore.layer({ syncInterval: 200 }).pipe(Layer.provide(Layer.succeedContext(sql)))
      const said = () => lines.filter(({ message }) => message.includes("so it is not replaced"))
      const program = Effect.gen(function* () {
        yield* CircuitBreaker.isolate("api")
        yield* readOnly(server)
        yield* until(
          "reported",
          Effect.sync(() => said().length > 0)
        )
        yield* Effect.sleep("3 seconds")
      })
      yield* capture(lines, Effect.provide(program, Layer.provideMerge(store, BreakerPolicy.layer({}))))
      assert.lengthOf(said(), 1)
      assert.match(said()[0]?.message ?? "", /read-only.*layerConnect/)
    }),
    120_000
  )

  live(
    "is listened to on another connection when the first one is silent, which takes no place in the pool for ever",
    Effect.gen(function* () {
      const server = yield* postgresServer
      const { open, url } = yield* onPostgres(server.url)
      const wire = yield* redisProxy(server.port)
      const admin = yield* open
      yield* Effect.provideContext(SqlStore.migrate(), admin)
      // Two connections: one for statements, one to listen.
      const sql = yield* connect(through(url, wire), { maxConnections: 2 })
      const found = yield* Effect.provideContext(database({ prefix: "circuit_breaker", schema: undefined }), sql)
      yield* found.named
      const store = sqlStore(found, 1_000, { quietMillis: 200, answerMillis: 500 }).store
      const hearsMore = yield* listener(store, say(admin, `SELECT pg_notify('${found.channel}', 'I 1 api box')`))
      for (let round = 0; round < 3; round++) {
        yield* hearsMore
        yield* wire.silence("subscribers")
      }
      yield* hearsMore
      assert.strictEqual(yield* ask(sql, "SELECT 1"), 1)
      // The client says goodbye when it is closed.
      yield* Effect.addFinalizer(() => wire.cut)
    }),
    120_000
  )

  live(
    "that is read-only is an error of the command line that advises what to do",
    Effect.gen(function* () {
      const server = yield* postgresServer
      const { open, url } = yield* onPostgres(server.url)
      yield* Effect.provideContext(SqlStore.migrate(), yield* open)
      yield* readOnly(server)
      const { code, error } = yield* run(["isolate", "api", "--new", "--yes", "--reason", "drill", "--database", url])
      assert.strictEqual(code, 2)
      assert.include(error, "This server is a replica, which takes no writes. Use the URL of the primary.")
    }),
    120_000
  )
})

describe("SqlStore.connect", () => {
  live(
    "starts without a database, and is used when it comes",
    Effect.gen(function* () {
      const server = yield* postgresServer
      yield* server.kill
      const store = yield* SqlStore.connect(client(server.url))
      assert.isFalse(yield* writes(store))
      yield* server.start
      yield* until("it writes", writes(store))
      const admin = yield* connect(server.url)
      assert.isDefined(Context.getOption(admin, SqlClient.SqlClient))
    }),
    120_000
  )

  it("throws an error that names the invalid option when it is called", () => {
    assert.throws(() => SqlStore.connect(client("postgres://127.0.0.1:1/none"), { prefix: "1" }), /prefix/)
  })
})
