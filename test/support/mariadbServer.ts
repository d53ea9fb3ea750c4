import { type ChildProcess, execFileSync, spawn } from "node:child_process"
import { accessSync, chownSync, constants, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { Effect, type Scope } from "effect"
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

const names = ["mariadbd", "mariadb-install-db"] as const
type Programs = Readonly<Record<(typeof names)[number], string>>

const find = (): Programs | undefined => {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/bin"]
  const paths = names.map((name) =>
    folders
      .map((folder) => join(folder, name))
      .find((path) => {
        try {
          accessSync(path, constants.X_OK)
          return true
        } catch {
          return false
        }
      })
  )
  const [mariadbd, installer] = paths
  return mariadbd === undefined || installer === undefined ? undefined : { mariadbd, "mariadb-install-db": installer }
}

/** Only the programs: no service comes with them. */
const install = (): void => {
  const run = (...args: ReadonlyArray<string>) =>
    execFileSync("apt-get", ["-o", "DPkg::Lock::Timeout=120", ...args], {
      stdio: "ignore",
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
    })
  try {
    run("install", "-y", "--no-install-recommends", "mariadb-server-core")
  } catch {
    run("update")
    run("install", "-y", "--no-install-recommends", "mariadb-server-core")
  }
}

let found: Programs | undefined

/** Where the programs are, installed where that is possible; or an error that says what to do. */
const programs = (): Programs => {
  found ??= find()
  if (found !== undefined) return found
  try {
    install()
  } catch {
    // What is missing is said below.
  }
  found = find()
  if (found !== undefined) return found
  throw new Error(
    "These tests need MariaDB: install it (apt-get install mariadb-server-core, brew install mariadb), or name one " +
      "of your own in MYSQL_URL"
  )
}

/** It refuses to run as root: then it runs as somebody else. */
const user = (): { readonly uid?: number; readonly gid?: number } => {
  if (process.getuid?.() !== 0) return {}
  for (const name of ["mysql", "nobody"]) {
    try {
      const id = (flag: string) => Number(execFileSync("id", [flag, name], { encoding: "utf8" }))
      return { uid: id("-u"), gid: id("-g") }
    } catch {
      // Not on this machine.
    }
  }
  throw new Error("MariaDB does not run as root, and there is no user mysql or nobody")
}

/** Those of a test that never came to its end are ended with the process that ran it. */
const started = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of started) child.kill("SIGKILL")
})

const hasExited = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

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
  execFileSync(programs()["mariadb-install-db"], make, { stdio: "ignore", cwd: folder, ...user() })
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
