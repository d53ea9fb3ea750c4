import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { chownSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { endedWithTests, hasExited, installed, notRoot, onPath, programOf } from "./programs.ts"
import { freePort } from "./redisServer.ts"

/** A MariaDB of the test's own, on a free port and in a temporary folder. */
export interface MariadbServer {
  readonly port: number
  readonly url: string
  /** Ends it at once, with all connections, as a crash would. */
  readonly kill: Effect.Effect<void>
  /** Starts it again on the same port, with what was committed. */
  readonly start: Effect.Effect<void>
  /** Answers nobody any more, and keeps all connections. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

const folders = (): ReadonlyArray<string> => [...onPath(), "/usr/sbin", "/usr/bin"]

/** Where the programs are; only they are installed, and no service. */
const programs = installed(
  () => {
    const mariadbd = programOf(["mariadbd"], folders())
    const installer = programOf(["mariadb-install-db"], folders())
    return mariadbd === undefined || installer === undefined ? undefined : { mariadbd, installer }
  },
  "mariadb-server-core",
  "These tests need MariaDB: install it (apt-get install mariadb-server-core, brew install mariadb), or name one of your own " +
    "in MYSQL_URL"
)

const user = () => notRoot(["mysql", "nobody"])

const started = endedWithTests("SIGKILL")

/** Small, and with the settings of nobody: texts are latin1 where nothing else is said. */
const settings = (folder: string) => [
  "--no-defaults",
  `--datadir=${join(folder, "data")}`,
  "--innodb-log-file-size=8M",
  "--innodb-buffer-pool-size=32M",
  // What was committed is there after a crash of the program.
  "--innodb-flush-log-at-trx-commit=2",
  "--innodb-flush-method=nosync"
]

/** Starts it on a port, if nothing else has that; when it says that it is ready. */
const tryStart = (folder: string, port: number): Promise<ChildProcess | undefined> =>
  new Promise((resolve) => {
    const args = [
      ...settings(folder),
      `--port=${port}`,
      `--socket=${join(folder, "socket")}`,
      `--pid-file=${join(folder, "pid")}`,
      "--bind-address=127.0.0.1",
      "--skip-name-resolve",
      "--max-connections=200"
    ]
    // The time zone of a place where hours come twice.
    const env = { ...process.env, TZ: "Europe/Berlin" }
    const child = spawn(programs().mariadbd, args, { stdio: ["ignore", "ignore", "pipe"], env, ...user() })
    started.add(child)
    child.stderr?.on("data", (data) => {
      if (/ready for connections/.test(String(data))) resolve(child)
    })
    child.once("error", () => resolve(undefined))
    child.once("exit", () => {
      started.delete(child)
      resolve(undefined)
    })
  })

/** A server that lives as long as the scope. */
export const mariadbServer: Effect.Effect<MariadbServer, never, Scope.Scope> = Effect.gen(function* () {
  const folder = mkdtempSync(join(tmpdir(), "mariadb-"))
  let child: ChildProcess | undefined
  const signal = (name: NodeJS.Signals) => Effect.sync(() => void child?.kill(name))
  const kill = Effect.promise(async () => {
    const running = child
    if (running === undefined || hasExited(running)) return
    const over = new Promise<void>((resolve) => running.once("exit", () => resolve()))
    running.kill("SIGKILL")
    await over
  })
  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      kill,
      Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    )
  )
  const { gid, uid } = user()
  if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid)
  const make = [...settings(folder), "--auth-root-authentication-method=normal", "--skip-test-db"]
  execFileSync(programs().installer, make, { stdio: "ignore", cwd: folder, ...user() })
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
  if (child === undefined) return yield* Effect.die(new Error("MariaDB does not start"))
  return {
    port,
    url: `mysql://root@127.0.0.1:${port}/`,
    kill,
    start: Effect.gen(function* () {
      for (let i = 0; i < 50; i++) {
        if (yield* startOn(port)) return
        yield* Effect.sleep(100)
      }
      return yield* Effect.die(new Error(`MariaDB does not start again on port ${port}`))
    }),
    pause: signal("SIGSTOP"),
    resume: signal("SIGCONT")
  }
})

/** The server that `MYSQL_URL` names, for tests that leave it as they found it, or one of the test's own. */
export const mariadbUrl = (own: MariadbServer): string => process.env["MYSQL_URL"] || own.url
