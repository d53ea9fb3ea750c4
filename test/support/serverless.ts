import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Effect, type Scope } from "effect"
import { endedWithTests, halted, hasExited } from "./programs.ts"
import type { Invocation, Result, Setup } from "./serverlessWorker.ts"

/** An instance of a function, in its own process. */
export interface Instance {
  readonly invoke: (invocation: Partial<Invocation>) => Effect.Effect<Result>
  /** Stops the process immediately and without notice, as a platform does between invocations. */
  readonly freeze: Effect.Effect<void>
  readonly thaw: Effect.Effect<void>
  /** Ends the process without notice. */
  readonly kill: Effect.Effect<void>
}

const worker = fileURLToPath(new URL("./serverlessWorker.ts", import.meta.url))
const started = endedWithTests("SIGKILL")

export const startInstance = (setup: Setup): Effect.Effect<Instance, never, Scope.Scope> =>
  Effect.gen(function* () {
    const args = ["--conditions=@effect-fuse/source", "--disable-warning=ExperimentalWarning", worker]
    const child: ChildProcess = spawn(process.execPath, [...args, JSON.stringify(setup)], {
      stdio: ["pipe", "pipe", "inherit"]
    })
    started.add(child)
    const waiting: Array<(line: string) => void> = []
    if (child.stdout === null) return yield* Effect.die(new Error("the process has no output"))
    createInterface({ input: child.stdout }).on("line", (line) => waiting.shift()?.(line))
    const next = () => new Promise<string>((resolve) => waiting.push(resolve))
    const ready = next()
    const kill = Effect.promise(async () => {
      if (hasExited(child)) return
      const over = new Promise((resolve) => child.once("exit", resolve))
      child.kill("SIGKILL")
      await over
      started.delete(child)
    })
    yield* Effect.addFinalizer(() => kill)
    yield* Effect.promise(() => ready)
    const { pause: freeze, resume: thaw } = halted(() => child)
    return {
      invoke: (invocation) =>
        Effect.promise(async () => {
          const answer = next()
          const whole: Invocation = { circuit: "api", finds: "up", calls: 1, ...invocation }
          child.stdin?.write(`${JSON.stringify(whole)}\n`)
          return JSON.parse(await answer) as Result
        }),
      freeze,
      thaw,
      kill
    }
  })
