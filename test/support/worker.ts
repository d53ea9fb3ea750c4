import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Effect, type Scope } from "effect"
import { endedWithTests, halted, hasExited } from "./programs.ts"

/** A test starts this process. For each line of input, the process prints one line. */
export interface Worker {
  readonly ask: (question: unknown) => Effect.Effect<unknown>
  /** Freezes the process immediately and without notice. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  /** Ends the process without notice. */
  readonly kill: Effect.Effect<void>
}

const started = endedWithTests("SIGKILL")

/** Starts a program of this folder, and waits for its first line. */
export const startWorker = (program: string, setup: object): Effect.Effect<Worker, never, Scope.Scope> =>
  Effect.gen(function* () {
    const file = fileURLToPath(new URL(program, import.meta.url))
    const args = ["--conditions=@effect-fuse/source", "--disable-warning=ExperimentalWarning", file]
    const child = spawn(process.execPath, [...args, JSON.stringify(setup)], { stdio: ["pipe", "pipe", "inherit"] })
    started.add(child)
    const waiting: Array<{ readonly resolve: (line: string) => void; readonly reject: (error: Error) => void }> = []
    createInterface({ input: child.stdout }).on("line", (line) => waiting.shift()?.resolve(line))
    const next = () =>
      new Promise<string>((resolve, reject) => {
        if (hasExited(child)) reject(new Error(`${program} has ended`))
        else waiting.push({ resolve, reject })
      })
    const over = new Promise<void>((resolve) =>
      child.once("exit", () => {
        started.delete(child)
        for (const { reject } of waiting.splice(0)) reject(new Error(`${program} has ended`))
        resolve()
      })
    )
    // A process that was killed does not read its input.
    child.stdin.on("error", () => {})
    const kill = Effect.promise(() => {
      child.kill("SIGKILL")
      return over
    })
    const ready = next()
    yield* Effect.addFinalizer(() => kill)
    yield* Effect.promise(() => ready)
    const { pause: freeze, resume: thaw } = halted(() => child)
    return {
      ask: (question) =>
        Effect.promise(async () => {
          const answer = next()
          child.stdin.write(`${JSON.stringify(question)}\n`)
          return JSON.parse(await answer) as unknown
        }),
      freeze,
      thaw,
      kill
    }
  })
