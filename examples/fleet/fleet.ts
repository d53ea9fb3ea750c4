/** Starts and stops the processes of the fleet, and collects their reports. */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Effect, type Scope } from "effect"
import type { BreakerEvent } from "effect-fuse"
import type { Command, End, Report } from "./messages.ts"

export interface Call {
  readonly worker: string
  readonly end: End
  readonly millis: number
}

export interface Move {
  readonly worker: string
  readonly event: BreakerEvent.Transition
}

/** All reports, in the order in which they arrived. */
export interface Heard {
  readonly calls: Array<Call>
  readonly moves: Array<Move>
}

export interface Worker {
  readonly name: string
  readonly tell: (command: Command) => Effect.Effect<void>
}

const file = fileURLToPath(new URL("./worker.ts", import.meta.url))

/** Starts a process that calls the shop until the scope closes. */
const start = (name: string, args: ReadonlyArray<string>, hear: (report: Report) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<ChildProcess, Error>((resume) => {
        const child = fork(file, [name, ...args], { stdio: ["ignore", "ignore", "inherit", "ipc"] })
        child.once("exit", (code, signal) => resume(Effect.fail(new Error(`${name} ended (${code ?? signal})`))))
        child.on("message", (report: Report) => {
          hear(report)
          if (report._tag === "Ready") resume(Effect.succeed(child))
        })
        return Effect.sync(() => child.kill("SIGKILL"))
      }),
      (child) => end(child),
      { interruptible: true }
    ),
    (child): Worker => ({
      name,
      tell: (command) => Effect.sync(() => child.send(command))
    })
  )

/** Asks a process to shut down, so that it can leave the fleet. Kills it if that takes too long. */
const end = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    const force = setTimeout(() => child.kill("SIGKILL"), 2_000)
    child.once("exit", () => {
      clearTimeout(force)
      resume(Effect.void)
    })
    child.kill("SIGTERM")
  })

/** Starts one worker for each name. `onMove` receives each transition as it is reported. */
export const startFleet = (
  names: ReadonlyArray<string>,
  args: ReadonlyArray<string>,
  onMove: (move: Move) => void
): Effect.Effect<{ readonly workers: ReadonlyArray<Worker>; readonly heard: Heard }, Error, Scope.Scope> => {
  const heard: Heard = { calls: [], moves: [] }
  const hear = (worker: string) => (report: Report) => {
    if (report._tag === "Call") heard.calls.push({ worker, end: report.end, millis: report.millis })
    if (report._tag !== "Moved") return
    heard.moves.push({ worker, event: report.event })
    onMove({ worker, event: report.event })
  }
  const workers = Effect.forEach(names, (name) => start(name, args, hear(name)), { concurrency: "unbounded" })
  return Effect.map(workers, (workers) => ({ workers, heard }))
}
