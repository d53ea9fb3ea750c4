import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { chownSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { endedWithTests, hasExited, notRoot } from "./programs.ts"
import { freePort } from "./redisServer.ts"

/** A database of a test's own, on a free port and in a temporary folder. */
export interface DatabaseServer {
  readonly port: number
  readonly url: string
  /** Ends it at once, with all connections, as a crash would. */
  readonly kill: Effect.Effect<void>
  /** Starts it again on the same port, with what was committed. */
  readonly start: Effect.Effect<void>
}

/** How a server is ended at once with all that it has started; those that are left are ended so with the tests. */
const started = { SIGKILL: endedWithTests("SIGKILL"), SIGQUIT: endedWithTests("SIGQUIT") }

type Run = readonly [program: string, args: ReadonlyArray<string>]

/** What differs between one kind and another. */
export interface Kind {
  readonly name: string
  /** Who runs it, as it refuses to run as root: the first of these that there is. */
  readonly users: ReadonlyArray<string>
  /** Makes an empty database in a folder. */
  readonly prepare: (folder: string) => Run
  readonly serve: (folder: string, port: number) => Run
  readonly env?: Readonly<Record<string, string>>
  /** What it says when it is ready. */
  readonly ready: RegExp
  readonly signal: keyof typeof started
  readonly url: (port: number) => string
}

/** Starts it on a port, if nothing else has that; when it says that it is ready. */
const tryStart = (kind: Kind, folder: string, port: number): Promise<ChildProcess | undefined> =>
  new Promise((resolve) => {
    const [program, args] = kind.serve(folder, port)
    const env = { ...process.env, ...kind.env }
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"], env, ...notRoot(kind.users) })
    started[kind.signal].add(child)
    child.stderr?.on("data", (data) => {
      if (kind.ready.test(String(data))) resolve(child)
    })
    child.once("error", () => resolve(undefined))
    child.once("exit", () => {
      started[kind.signal].delete(child)
      resolve(undefined)
    })
  })

/** A server that lives as long as the scope. */
export const databaseServer = (kind: Kind): Effect.Effect<DatabaseServer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = mkdtempSync(join(tmpdir(), `${kind.name.toLowerCase()}-`))
    let child: ChildProcess | undefined
    const kill = Effect.promise(async () => {
      const running = child
      if (running === undefined || hasExited(running)) return
      const over = new Promise<void>((resolve) => running.once("exit", () => resolve()))
      running.kill(kind.signal)
      await over
    })
    yield* Effect.addFinalizer(() =>
      Effect.andThen(
        kill,
        Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
      )
    )
    const user = notRoot(kind.users)
    if (user.uid !== undefined && user.gid !== undefined) chownSync(folder, user.uid, user.gid)
    const [program, args] = kind.prepare(folder)
    execFileSync(program, args, { stdio: "ignore", cwd: folder, ...user })
    const startOn = (port: number) =>
      Effect.map(
        Effect.promise(() => tryStart(kind, folder, port)),
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
    if (child === undefined) return yield* Effect.die(new Error(`${kind.name} does not start`))
    return {
      port,
      url: kind.url(port),
      kill,
      start: Effect.gen(function* () {
        for (let i = 0; i < 50; i++) {
          if (yield* startOn(port)) return
          yield* Effect.sleep(100)
        }
        return yield* Effect.die(new Error(`${kind.name} does not start again on port ${port}`))
      })
    }
  })
