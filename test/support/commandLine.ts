import { type ChildProcess, spawn } from "node:child_process"
import { assert } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { root } from "./root.ts"

const program = ["--conditions=@effect-fuse/source", "--disable-warning=ExperimentalWarning"]
const main = `${root}src/cli/main.ts`

/** How it ended. Under a terminal both outputs are one. */
export interface Ended {
  /** 128 and more where a signal ended it, as a shell says it. */
  readonly code: number
  readonly out: string
  readonly error: string
}

/** What it is started with. */
export interface Around {
  /**
   * Adds variables to the environment of the tests, or removes a variable if its value is `undefined`. That environment has no URLs of stores and
   * no choice of colors.
   */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** What its input says, which then ends; under a terminal it does not end. Nothing if nothing is said. */
  readonly input?: string
  /** The input is said so late that it is waited for. */
  readonly late?: boolean
  readonly terminal?: boolean
  /** The columns and rows of the terminal. */
  readonly size?: readonly [columns: number, rows: number]
  /** A user of the machine. */
  readonly uid?: number | undefined
}

export interface Running {
  readonly pid: number
  readonly out: () => string
  readonly error: () => string
  /** Writes to its input. */
  readonly say: (text: string) => Effect.Effect<void>
  readonly signal: (name: NodeJS.Signals) => Effect.Effect<void>
  readonly ended: Effect.Effect<Ended>
}

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`

/** The command line in words of a shell. */
export const inShell = (args: ReadonlyArray<string>): string =>
  [process.execPath, ...program, main, ...args].map(quoted).join(" ")

const environment = (more: NonNullable<Around["env"]>): NodeJS.ProcessEnv => {
  const unset = ["DATABASE_URL", "CIRCUITS_TABLE", "CIRCUIT_BREAKER_STORE", "NO_COLOR", "FORCE_COLOR"]
  const rest = Object.entries(process.env).filter(([name]) => !unset.includes(name) && !name.startsWith("REDIS_"))
  return { ...Object.fromEntries(rest), SHELL: "/bin/sh", TERM: "xterm", ...more }
}

/** Those of a test that never came to its end are killed with the process that ran it. */
const started = new Set<ChildProcess>()
const kill = (child: ChildProcess): void => {
  try {
    // With all that it has started.
    process.kill(-(child.pid ?? Number.NaN), "SIGKILL")
  } catch {
    // It is gone.
  }
}
process.once("exit", () => started.forEach(kill))

const begin = (
  [command = "", ...args]: ReadonlyArray<string>,
  { env = {}, input, late = false, terminal = false, uid }: Around
): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(command, args, {
          cwd: root,
          detached: true,
          env: environment(env),
          stdio: "pipe",
          ...(uid === undefined ? {} : { uid, gid: uid })
        })
      ),
      (child) => Effect.sync(() => kill(child))
    )
    started.add(child)
    const said = { out: "", error: "" }
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said.out += text
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said.error += text
    })
    // Whoever has ended reads no more.
    child.stdin.on("error", () => {})
    const ended = new Promise<Ended>((resolve) =>
      child.once("close", (code, signal) => {
        started.delete(child)
        resolve({ code: code ?? (signal === "SIGINT" ? 130 : 143), ...said })
      })
    )
    const write = () => {
      if (input !== undefined) child.stdin.write(input)
      if (!terminal) child.stdin.end()
    }
    if (late) setTimeout(write, 1_500)
    else write()
    return {
      pid: child.pid ?? Number.NaN,
      out: () => said.out,
      error: () => said.error,
      say: (text) => Effect.sync(() => void child.stdin.write(text)),
      signal: (name) => Effect.sync(() => void child.kill(name)),
      ended: Effect.promise(() => ended)
    }
  })

const sized = ({ size }: Around): string => (size === undefined ? "" : `stty columns ${size[0]} rows ${size[1]}; `)

/** Starts it, and kills it with the scope. */
export const start = (args: ReadonlyArray<string>, around: Around = {}): Effect.Effect<Running, never, Scope.Scope> =>
  around.terminal === true || around.size !== undefined
    ? begin(["script", "-qec", `${sized(around)}${inShell(args)}`, "/dev/null"], { ...around, terminal: true })
    : begin([process.execPath, ...program, main, ...args], around)

/** Starts it, and waits for its end. */
export const run = (args: ReadonlyArray<string>, around: Around = {}): Effect.Effect<Ended> =>
  Effect.scoped(Effect.flatMap(start(args, around), ({ ended }) => ended))

/** A line of a shell, which may have several of it. */
export const shell = (line: string, around: Around = {}): Effect.Effect<Ended> =>
  Effect.scoped(Effect.flatMap(begin(["/bin/bash", "-c", line], around), ({ ended }) => ended))

/** That it ended with a code; what it said is in the error if not. */
export const endsWith = (code: number, ended: Ended): Ended => {
  assert.strictEqual(ended.code, code, `${ended.out}\n${ended.error}`)
  assert.notMatch(ended.out + ended.error, /^\s+at .*(?:file:|node:|\.[jt]s:\d)/m, "a stack trace")
  return ended
}

/** Runs it, and looks how it ended. */
export const runs = (code: number, args: ReadonlyArray<string>, around?: Around): Effect.Effect<Ended> =>
  Effect.map(run(args, around), (ended) => endsWith(code, ended))

/** The one value of JSON that is all of a text. */
// biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of it
export const parsed = (text: string): any => JSON.parse(text)
