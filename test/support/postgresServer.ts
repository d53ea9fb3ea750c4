import { rmSync } from "node:fs"
import { join } from "node:path"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Redacted, type Scope } from "effect"
import type { SqlClient } from "effect/sql"
import { type OwnServer, ownServer } from "./ownServer.ts"
import { programsOf, userOf } from "./servers.ts"

/** A PostgreSQL of the test's own. */
export type PostgresServer = OwnServer

const settings = (folder: string) =>
  [
    "listen_addresses=127.0.0.1",
    `unix_socket_directories=${folder}`,
    "fsync=off",
    "max_connections=200",
    "log_min_messages=warning",
    "logging_collector=off"
  ].flatMap((one) => ["-c", one])

/** A server that lives as long as the scope. */
export const postgresServer: Effect.Effect<PostgresServer, never, Scope.Scope> = ownServer({
  title: "PostgreSQL",
  programs: () => programsOf("postgres"),
  user: () => userOf("postgres"),
  prepare: ({ initdb }, folder) => [
    initdb,
    ["-D", join(folder, "data"), "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"]
  ],
  serve: ({ postgres }, folder, port) => {
    // A server that was killed leaves this file. If another PostgreSQL has its process id by now, the server would not start again.
    rmSync(join(folder, "data", "postmaster.pid"), { force: true })
    return [postgres, ["-D", join(folder, "data"), "-p", String(port), ...settings(folder)]]
  },
  ready: /ready to accept connections/,
  signal: "SIGQUIT",
  url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`
})

/** The server that `DATABASE_URL` names, for tests that leave it as they found it, or one of the test's own. */
export const postgresUrl: Effect.Effect<string, never, Scope.Scope> = Effect.suspend(() => {
  const url = process.env["DATABASE_URL"]
  return url === undefined || url === "" ? Effect.map(postgresServer, (server) => server.url) : Effect.succeed(url)
})

/** Effect's client for PostgreSQL, with connections of its own. */
export const client = (
  url: string,
  options: Omit<Parameters<typeof PgClient.layer>[0], "url"> = {}
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient> =>
  Layer.orDie(PgClient.layer({ url: Redacted.make(url), maxConnections: 4, ...options }))
