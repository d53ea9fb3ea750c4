import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Effect, type Scope } from "effect"
import { endedWithTests, halted, hasExited, installed, onPath, programOf } from "./programs.ts"

/** A `redis-server` of the test's own, on a free port and in a temporary folder. */
export interface RedisServer {
  readonly port: number
  readonly url: string
  /** Ends it at once, as a crash would. */
  readonly kill: Effect.Effect<void>
  /** Starts it again on the same port, empty. */
  readonly start: Effect.Effect<void>
  /** Neither answers nor closes its connections, until it is resumed. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

/** The server's program. */
export const program = installed(
  () => programOf(["redis-server", "valkey-server"], [...onPath(), "/usr/bin", "/usr/local/bin"]),
  "redis-server",
  "These tests need a Redis: install redis-server (apt-get install redis-server, brew install redis) or valkey-server, " +
    "so that it is on the PATH"
)

export const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    server.close(() => resume(Effect.succeed(port)))
  })
})

/** The process that answers on a port, if any does. */
const whoAnswers = (port: number): Promise<number | undefined> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    let text = ""
    const end = () => {
      socket.destroy()
      const pid = /process_id:(\d+)/.exec(text)?.[1]
      resolve(pid === undefined ? undefined : Number(pid))
    }
    socket.once("connect", () => socket.write("INFO server\r\n"))
    socket.on("data", (data) => {
      text += data.toString()
      if (/process_id:\d+\r/.test(text)) end()
    })
    socket.once("error", end)
    socket.setTimeout(1_000, end)
  })

const exited = (child: ChildProcess): Promise<void> =>
  hasExited(child) ? Promise.resolve() : new Promise((resolve) => child.once("exit", () => resolve()))

const sleep = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

const started = endedWithTests("SIGKILL")

/** Starts it on a port; nothing where another came first: test files run side by side. */
const tryStart = async (port: number, folder: string): Promise<ChildProcess | undefined> => {
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
  const child = spawn(program(), args, { stdio: "ignore" })
  started.add(child)
  child.once("exit", () => started.delete(child))
  while (!hasExited(child)) {
    if ((await whoAnswers(port)) === child.pid) return child
    await sleep(10)
  }
  return undefined
}

/** A server that lives as long as the scope. */
export const redisServer: Effect.Effect<RedisServer, never, Scope.Scope> = Effect.gen(function* () {
  const folder = mkdtempSync(join(tmpdir(), "redis-"))
  let child: ChildProcess | undefined
  const kill = Effect.promise(async () => {
    child?.kill("SIGKILL")
    if (child !== undefined) await exited(child)
  })
  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      kill,
      Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
  )
  const startOn = (port: number) =>
    Effect.map(
      Effect.promise(() => tryStart(port, folder)),
      (started) => {
        child = started
        return started !== undefined
      }
    )
  const attempts = 20
  let port = 0
  for (let i = 0; i < attempts && child === undefined; i++) {
    port = yield* freePort
    yield* startOn(port)
  }
  if (child === undefined) return yield* Effect.die(new Error("redis-server does not start"))
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    kill,
    start: Effect.gen(function* () {
      for (let i = 0; i < attempts; i++) {
        if (yield* startOn(port)) return
        yield* Effect.sleep(100)
      }
      return yield* Effect.die(new Error(`redis-server does not start again on port ${port}`))
    }),
    ...halted(() => child)
  }
})

/** The server that `REDIS_URL` names, for tests that leave it as they found it, or one of the test's own. */
export const redisUrl: Effect.Effect<string, never, Scope.Scope> = Effect.suspend(() => {
  const url = process.env["REDIS_URL"]
  return url === undefined || url === "" ? Effect.map(redisServer, (server) => server.url) : Effect.succeed(url)
})

/** Effect's Redis service on a server, as the README says to make it. */
export const client = (
  url: string,
  options: NonNullable<Parameters<typeof NodeRedis.layer>[0]> = {}
): ReturnType<typeof NodeRedis.layer> => NodeRedis.layer({ url, disableOfflineQueue: true, ...options })
