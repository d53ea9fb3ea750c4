/** The Redis of the demonstration. It kills a server that it started itself, but not the server of `REDIS_URL`. */
import { type ChildProcess, spawn } from "node:child_process"
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Data, Effect, Schedule, type Scope } from "effect"
import { Redis } from "effect/persistence"

export interface Server {
  readonly url: string
  /** `undefined` for the server of `REDIS_URL`. */
  readonly power: { readonly kill: Effect.Effect<void>; readonly start: Effect.Effect<void> } | undefined
}

export class NoRedis extends Data.TaggedError("NoRedis")<{ readonly message: string }> {}

const program = Effect.suspend(() => {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/local/bin", "/opt/homebrew/bin"]
  const found = folders
    .flatMap((folder) => [join(folder, "redis-server"), join(folder, "valkey-server")])
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
  return found === undefined
    ? Effect.fail(
        new NoRedis({
          message:
            "There is no redis-server or valkey-server on the PATH.\n" +
            "Install one (apt-get install redis-server, brew install redis),\n" +
            "or set REDIS_URL to one that is running, as in redis://localhost:6379."
        })
      )
    : Effect.succeed(found)
})

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

/** Runs one command on a separate connection. */
export const ask = (url: string, command: string, ...args: ReadonlyArray<string>) =>
  Effect.flatMap(Redis.Redis, (redis) => redis.send<string>(command, ...args)).pipe(
    Effect.provide(NodeRedis.layer({ url }))
  )

const exited = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) resume(Effect.void)
    else child.once("exit", () => resume(Effect.void))
  })

const own: Effect.Effect<Server, NoRedis, Scope.Scope> = Effect.gen(function* () {
  const file = yield* program
  const port = yield* freePort
  const url = `redis://127.0.0.1:${port}`
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-fuse-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
  let child: ChildProcess | undefined
  const kill = Effect.suspend(() => {
    if (child === undefined) return Effect.void
    child.kill("SIGKILL")
    return exited(child)
  })
  const start = Effect.suspend(() => {
    child = spawn(file, args, { stdio: "ignore" })
    const answers = Effect.retry(ask(url, "PING"), { schedule: Schedule.spaced("50 millis"), times: 100 })
    return Effect.asVoid(Effect.orDie(answers))
  })
  yield* Effect.acquireRelease(start, () => kill, { interruptible: true })
  return { url, power: { kill, start } }
})

/** A running server. The scope stops it. */
export const server: Effect.Effect<Server, NoRedis, Scope.Scope> = Effect.suspend(() => {
  const url = process.env["REDIS_URL"]
  return url === undefined || url === "" ? own : Effect.succeed({ url, power: undefined })
})
