import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { chownSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Redacted, type Scope } from "effect"
import type { SqlClient } from "effect/sql"
import { endedWithTests, folderOf, hasExited, installed, notRoot, onPath } from "./programs.ts"
import { freePort } from "./redisServer.ts"

/** A PostgreSQL of the test's own, on a free port and in a temporary folder. */
export interface PostgresServer {
  readonly port: number
  readonly url: string
  /** Ends it at once, with all connections, as a crash would. */
  readonly kill: Effect.Effect<void>
  /** Starts it again on the same port, with what was committed. */
  readonly start: Effect.Effect<void>
}

/** Folders that may hold the programs, the newest version first. */
const folders = (): ReadonlyArray<string> => {
  const debian = "/usr/lib/postgresql"
  const versions = (() => {
    try {
      return readdirSync(debian).sort((a, b) => Number(b) - Number(a))
    } catch {
      return []
    }
  })()
  return [...onPath(), ...versions.map((version) => join(debian, version, "bin"))]
}

/** Where the programs are. */
const programs = installed(
  () => folderOf(["initdb", "postgres"], folders()),
  "postgresql",
  "These tests need PostgreSQL: install it (apt-get install postgresql, brew install postgresql), or name one of your own " +
    "in DATABASE_URL"
)

const user = () => notRoot(["postgres", "nobody"])

const started = endedWithTests("SIGQUIT")

/** Starts it on a port, if nothing else has that; when it says that it is ready. */
const tryStart = (folder: string, port: number): Promise<ChildProcess | undefined> =>
  new Promise((resolve) => {
    const settings = [
      "listen_addresses=127.0.0.1",
      `unix_socket_directories=${folder}`,
      "fsync=off",
      "max_connections=200",
      "log_min_messages=warning",
      "logging_collector=off"
    ]
    const args = ["-D", join(folder, "data"), "-p", String(port), ...settings.flatMap((one) => ["-c", one])]
    const child = spawn(join(programs(), "postgres"), args, { stdio: ["ignore", "ignore", "pipe"], ...user() })
    started.add(child)
    child.stderr?.on("data", (data) => {
      if (/ready to accept connections/.test(String(data))) resolve(child)
    })
    child.once("exit", () => {
      started.delete(child)
      resolve(undefined)
    })
  })

/** A server that lives as long as the scope. */
export const postgresServer: Effect.Effect<PostgresServer, never, Scope.Scope> = Effect.gen(function* () {
  const folder = mkdtempSync(join(tmpdir(), "postgres-"))
  let child: ChildProcess | undefined
  const kill = Effect.promise(async () => {
    const running = child
    if (running === undefined || hasExited(running)) return
    running.kill("SIGQUIT")
    await new Promise<void>((resolve) => running.once("exit", () => resolve()))
  })
  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      kill,
      Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
  )
  const { gid, uid } = user()
  if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid)
  const initdb = ["-D", join(folder, "data"), "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"]
  execFileSync(join(programs(), "initdb"), initdb, { stdio: "ignore", ...user() })
  const startOn = (port: number) =>
    Effect.map(
      Effect.promise(() => tryStart(folder, port)),
      (started) => {
        child = started
        return started !== undefined
      }
    )
  let port = 0
  for (let i = 0; i < 20 && child === undefined; i++) {
    port = yield* freePort
    yield* startOn(port)
  }
  if (child === undefined) return yield* Effect.die(new Error("PostgreSQL does not start"))
  return {
    port,
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    kill,
    start: Effect.gen(function* () {
      for (let i = 0; i < 50; i++) {
        if (yield* startOn(port)) return
        yield* Effect.sleep(100)
      }
      return yield* Effect.die(new Error(`PostgreSQL does not start again on port ${port}`))
    })
  }
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
