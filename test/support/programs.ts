import type { ChildProcess } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { setTimeout } from "node:timers/promises"
import { Effect } from "effect"

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

/** Reads the used CPU time of a process in milliseconds. A tick of the system is 10 milliseconds. */
export const cpuMillis = (pid: number): number => {
  const [, rest = ""] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")
  const fields = rest.split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10
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
