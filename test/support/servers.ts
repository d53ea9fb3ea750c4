/**
 * The servers and tools that tests and benchmarks run: how to find them and how to install them. No other file of this repository
 * installs a package of the system.
 */
import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process"
import { accessSync, constants, readdirSync } from "node:fs"
import { createServer, type Server as Lock } from "node:net"
import { delimiter, join } from "node:path"
import type { Readable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"

interface Server {
  readonly title: string
  /** The programs of the server, each with its possible names. */
  readonly programs: Readonly<Record<string, ReadonlyArray<string>>>
  /** Whether all programs must come from one folder, because they belong to one installation. */
  readonly oneFolder?: boolean
  /** The packages of Debian that contain all of these programs. */
  readonly debian: ReadonlyArray<string>
  /** The Homebrew formula that contains the programs. */
  readonly macos: string
  /** The users that run it if the tests run as root: the first that exists. A server without this list runs as root. */
  readonly users?: ReadonlyArray<string>
}

const servers = {
  redis: {
    title: "Redis",
    programs: { server: ["redis-server", "valkey-server"] },
    debian: ["redis-server"],
    macos: "redis"
  },
  postgres: {
    title: "PostgreSQL",
    programs: { initdb: ["initdb"], postgres: ["postgres"] },
    oneFolder: true,
    debian: ["postgresql"],
    macos: "postgresql@17",
    users: ["postgres", "nobody"]
  },
  mariadb: {
    title: "MariaDB",
    // `mariadb-install-db` calls `my_print_defaults`, which is in another package.
    programs: {
      mariadbd: ["mariadbd"],
      installer: ["mariadb-install-db"],
      defaults: ["my_print_defaults"]
    },
    debian: ["mariadb-server-core", "mariadb-client-core"],
    macos: "mariadb",
    users: ["mysql", "nobody"]
  },
  prometheus: {
    title: "Prometheus",
    programs: { promtool: ["promtool"] },
    debian: ["prometheus"],
    macos: "prometheus"
  },
  chromium: {
    title: "Chromium",
    programs: { chromium: ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"] },
    debian: ["chromium"],
    macos: "--cask chromium"
  }
} as const satisfies Record<string, Server>

export type Name = keyof typeof servers
export const names = Object.keys(servers) as ReadonlyArray<Name>

/** The path of each program of a server. */
export type Programs<N extends Name> = Readonly<Record<keyof (typeof servers)[N]["programs"], string>>

// ---- Find ---------------------------------------------------------------------------------------------------------

const versionsOfPostgres = (): ReadonlyArray<string> => {
  const parent = "/usr/lib/postgresql"
  try {
    const versions = readdirSync(parent).sort((a, b) => Number(b) - Number(a))
    return versions.map((version) => join(parent, version, "bin"))
  } catch {
    return []
  }
}

/** Debian keeps some servers off the PATH, and Homebrew keeps a versioned formula off it. */
const folders = (): ReadonlyArray<string> => [
  ...(process.env["PATH"] ?? "").split(delimiter),
  ...versionsOfPostgres(),
  ...["/usr/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"],
  ...["/opt/homebrew", "/usr/local"].map((prefix) => join(prefix, "opt", servers.postgres.macos, "bin"))
]

const isProgram = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const findIn = ({ programs }: Server, places: ReadonlyArray<string>): Record<string, string> | undefined => {
  const found: Record<string, string> = {}
  for (const [program, called] of Object.entries(programs)) {
    const file = places.flatMap((folder) => called.map((name) => join(folder, name))).find(isProgram)
    if (file === undefined) return undefined
    found[program] = file
  }
  return found
}

const find = <N extends Name>(name: N): Programs<N> | undefined => {
  const server: Server = servers[name]
  const places = folders()
  const found = server.oneFolder
    ? places.map((folder) => findIn(server, [folder])).find((one) => one !== undefined)
    : findIn(server, places)
  return found as Programs<N> | undefined
}

/** The servers that this machine does not have, of all servers or of the given ones. */
export const missing = (among: ReadonlyArray<Name> = names): ReadonlyArray<Name> =>
  among.filter((name) => find(name) === undefined)

// ---- Errors -------------------------------------------------------------------------------------------------------

/** An error without a stack trace, because its text has the whole explanation. */
export class ServerError extends Error {
  constructor(name: string, message: string) {
    super(message)
    this.name = name
    this.stack = `${name}: ${message}`
  }
}

/** The error of a test that asks for a server in a run without servers. */
export class LeftOut extends ServerError {
  constructor(title: string) {
    super("LeftOut", `needs ${title}`)
  }
}

/** The errors of the servers that the current test did not get, by text. */
export const askedInVain = new Map<string, ServerError>()

/** Remembers such an error, also of a server that several tests share. */
export const remember = (error: unknown): void => {
  if (error instanceof ServerError) askedInVain.set(error.message, error)
}

/** The end of what a program printed to one stream. */
export const lastLines = (text: string, count = 12): string => text.trimEnd().split("\n").slice(-count).join("\n")

/**
 * The last lines of both streams of a program. Each keeps its own end, because the order between two streams is not known: on a busy
 * machine an error line can arrive before a hundred lines that were printed earlier.
 */
export const ends = (stdout: string, stderr: string): string =>
  [stdout, stderr]
    .map((text) => lastLines(text))
    .filter((text) => text !== "")
    .join("\n")

/** Collects what a running program prints. */
export const collectOutput = (child: ChildProcessByStdio<null, Readable, Readable>, onData?: () => void) => {
  const output = { stdout: "", stderr: "" }
  for (const name of ["stdout", "stderr"] as const) {
    child[name].on("data", (data) => {
      output[name] = (output[name] + data).slice(-10_000)
      onData?.()
    })
  }
  return output
}

/** One message about all missing servers: how to install each, and why the tests did not install it. */
export const howToGet = (absent: ReadonlyArray<Name>, why: string): string => {
  const rows = absent.map((name) => {
    const { debian, macos, title }: Server = servers[name]
    return `  ${title.padEnd(12)}Debian: apt-get install ${debian.join(" ")}\n${" ".repeat(14)}macOS:  brew install ${macos}`
  })
  return [
    `These tests need servers that this machine does not have, and ${why}`,
    ...rows,
    "Install them, or run all tests that need no server: SERVERS=none npm test"
  ].join("\n")
}

// ---- Install ------------------------------------------------------------------------------------------------------

const say = (text: string) => process.stderr.write(`${text}\n`)

/** Why servers could not be installed in this run. The environment passes it on to the workers, so that they do not try again. */
const variable = "SERVERS_NOT_INSTALLED"

/** Runs apt-get. Returns the end of its output if it fails. */
const aptGet = (...args: ReadonlyArray<string>): Promise<string | undefined> =>
  new Promise((resolve) => {
    const child = spawn("apt-get", ["-o", "DPkg::Lock::Timeout=300", ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
    })
    const output = collectOutput(child)
    child.once("error", (error) => resolve(error.message))
    child.once("close", (code, signal) =>
      resolve(code === 0 ? undefined : `apt-get ended with ${code ?? signal}:\n${ends(output.stdout, output.stderr)}`)
    )
  })

/** A lock, so that only one process of the machine installs at a time. The system releases it if the process dies. */
const lock = async (): Promise<Lock> => {
  for (;;) {
    const server = createServer()
    const listens = await new Promise<boolean>((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) =>
        error.code === "EADDRINUSE" ? resolve(false) : reject(error)
      )
      server.listen("\0effect-fuse-servers", () => resolve(true))
    })
    if (listens) return server
    await sleep(200)
  }
}

const cannotInstall = (): string | undefined => {
  if (process.platform !== "linux" || !folders().some((folder) => isProgram(join(folder, "apt-get"))))
    return "this system has no apt-get to install them."
  return process.getuid?.() === 0 ? undefined : "only root can install them."
}

/** Installs the missing servers. Returns the reason if that failed. */
const install = async (wanted: ReadonlyArray<Name>): Promise<string | undefined> => {
  const held = process.env[variable] ?? cannotInstall()
  if (held !== undefined) return held
  const locked = await lock()
  try {
    const absent = missing(wanted)
    if (absent.length === 0) return undefined
    const packages = absent.flatMap((name) => servers[name].debian)
    const titles = absent.map((name) => servers[name].title).join(", ")
    say(`The tests start servers of their own, and this machine does not have ${titles}.`)
    say(`Installing with apt-get, as root: ${packages.join(" ")}`)
    const run = () => aptGet("install", "-y", "--no-install-recommends", ...packages)
    if ((await run()) !== undefined) {
      // The lists of packages may be missing or out of date.
      await aptGet("update")
      const trouble = await run()
      if (trouble !== undefined) return `they cannot be installed: ${trouble}`
    }
    say("Installed.")
    return undefined
  } finally {
    locked.close()
  }
}

let last: Promise<unknown> = Promise.resolve()

/** Makes sure that this machine has these servers. If any is missing, it fails with one message about all that are missing. */
export const prepare = (wanted: ReadonlyArray<Name>): Promise<void> => {
  const next = async () => {
    if (missing(wanted).length === 0) return
    const why = await install(wanted)
    const absent = missing()
    if (missing(wanted).length === 0) return
    const reason = why ?? "their packages do not contain them."
    process.env[variable] = reason
    throw new ServerError("MissingServers", howToGet(absent, reason))
  }
  const mine = last.then(next)
  last = mine.catch(() => undefined)
  return mine
}

/** Whether this run must start no server. */
export const none = (): boolean => process.env["SERVERS"] === "none"

/** Vitest sets the first variable, and vitest.config.ts the second where the servers are installed before the first test. */
const isListed = (): boolean => process.env["VITEST"] === undefined || process.env["WITH_SERVERS"] !== undefined

/** The programs of a server. The server is installed first if this machine does not have it. */
export const programsOf = async <N extends Name>(name: N): Promise<Programs<N>> => {
  if (!isListed())
    throw new ServerError(
      "ServerNotListed",
      "this test file starts a server: add it to withServers in vitest.config.ts"
    )
  try {
    if (none()) throw new LeftOut(servers[name].title)
    await prepare([name])
    const found = find(name)
    if (found === undefined) throw new ServerError("MissingServers", `${servers[name].title} has gone`)
    return found
  } catch (error) {
    remember(error)
    throw error
  }
}

/** The path of `promtool`, which checks and tests rules of Prometheus. */
export const promtool = async (): Promise<string> => (await programsOf("prometheus")).promtool

/** The path of Chromium, which opens pages in tests. */
export const chromium = async (): Promise<string> => (await programsOf("chromium")).chromium

// ---- Users --------------------------------------------------------------------------------------------------------

export interface User {
  readonly uid?: number
  readonly gid?: number
}

const users = new Map<Name, User>()

/**
 * The user that runs all programs of a server, decided once. Call it after `programsOf`, because a package may create the user.
 */
export const userOf = (name: Name): User => {
  const known = users.get(name)
  if (known !== undefined) return known
  const { title, users: accepted }: Server = servers[name]
  const user = accepted === undefined || process.getuid?.() !== 0 ? {} : firstUser(title, accepted)
  users.set(name, user)
  return user
}

const firstUser = (title: string, accepted: ReadonlyArray<string>): User => {
  for (const name of accepted) {
    try {
      const id = (flag: string) =>
        Number(execFileSync("id", [flag, name], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }))
      return { uid: id("-u"), gid: id("-g") }
    } catch {
      // This machine has no such user.
    }
  }
  throw new ServerError("MissingUser", `${title} does not run as root, and there is no user ${accepted.join(" or ")}`)
}
