import { type ChildProcess, execFileSync } from "node:child_process"
import { accessSync, constants, readdirSync, readFileSync } from "node:fs"
import { delimiter, join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { Effect } from "effect"

/** The folders where programs are looked for. */
export const onPath = (): ReadonlyArray<string> => (process.env["PATH"] ?? "").split(delimiter)

/** Whether a file is there and can be run. */
const isProgram = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** The first of the folders that has all of the programs. */
export const folderOf = (names: ReadonlyArray<string>, folders: ReadonlyArray<string>): string | undefined =>
  folders.find((folder) => names.every((name) => isProgram(join(folder, name))))

/** The first program of one of these names in any of the folders. */
export const programOf = (names: ReadonlyArray<string>, folders: ReadonlyArray<string>): string | undefined =>
  folders.flatMap((folder) => names.map((name) => join(folder, name))).find(isProgram)

const install = (name: string): void => {
  const run = (...args: ReadonlyArray<string>) =>
    // Test files run side by side: who waits for the other's lock finds it installed.
    execFileSync("apt-get", ["-o", "DPkg::Lock::Timeout=120", ...args], {
      stdio: "ignore",
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" }
    })
  try {
    run("install", "-y", "--no-install-recommends", name)
  } catch {
    run("update")
    run("install", "-y", "--no-install-recommends", name)
  }
}

/** What is there, or is once Debian's package is installed, where that is possible; or an error that says what to do. */
export const installed = <A>(find: () => A | undefined, name: string, otherwise: string): (() => A) => {
  let found: A | undefined
  return () => {
    found ??= find()
    if (found !== undefined) return found
    try {
      install(name)
    } catch {
      // What is missing is said below.
    }
    found = find()
    if (found !== undefined) return found
    throw new Error(otherwise)
  }
}

/** Some servers refuse to run as root: then they run as somebody else, the first of these that there is. */
export const notRoot = (names: ReadonlyArray<string>): { readonly uid?: number; readonly gid?: number } => {
  if (process.getuid?.() !== 0) return {}
  for (const name of names) {
    try {
      const id = (flag: string) => Number(execFileSync("id", [flag, name], { encoding: "utf8" }))
      return { uid: id("-u"), gid: id("-g") }
    } catch {
      // Not on this machine.
    }
  }
  throw new Error(`It does not run as root, and there is no user ${names.join(" or ")}`)
}

/** Processes of tests: those of one that never came to its end are ended with the process that ran it. */
export const endedWithTests = (signal: NodeJS.Signals): Set<ChildProcess> => {
  const started = new Set<ChildProcess>()
  process.once("exit", () => {
    for (const child of started) child.kill(signal)
  })
  return started
}

export const hasExited = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

/** Whether all threads of a program stand still; true where a system does not say so. */
const standsStill = (pid: number): boolean => {
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) =>
      /^ T /.test(readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8").replace(/^.*\)/s, ""))
    )
  } catch {
    return true
  }
}

/**
 * Halts a program, and has it go on. The signal is one thread's to pass on to the others, which answer until it does:
 * so it is waited for that they stand still.
 */
export const halted = (program: () => ChildProcess | undefined) => ({
  pause: Effect.gen(function* () {
    const child = program()
    if (child?.pid === undefined || !child.kill("SIGSTOP")) return
    while (!standsStill(child.pid)) yield* Effect.promise(() => setTimeout(1))
  }),
  resume: Effect.sync(() => void program()?.kill("SIGCONT"))
})
