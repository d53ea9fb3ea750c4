import { type ChildProcess, spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Effect, type Scope } from "effect"
import type { Asks, Setup } from "./processWorker.ts"

/** A process of its own, with circuits on Redis. */
export interface Process {
  readonly ask: <What extends keyof Asks>(what: What, ask: Asks[What]["ask"]) => Effect.Effect<Asks[What]["answer"]>
  /** Ends it at once: it does nothing any more. */
  readonly kill: Effect.Effect<void>
  /** Ends it in good order, and waits until it is gone. */
  readonly end: Effect.Effect<void>
}

const worker = fileURLToPath(new URL("./processWorker.ts", import.meta.url))

/** Those of a test that never came to its end are killed with the process that ran it. */
const started = new Set<ChildProcess>()
process.once("exit", () => {
  for (const child of started) child.kill("SIGKILL")
})

type Settle = { readonly resolve: (answer: never) => void; readonly reject: (error: Error) => void }

/** Starts one, which is there when its circuits are. */
export const startProcess = (setup: Pick<Setup, "url"> & Partial<Setup>): Effect.Effect<Process, never, Scope.Scope> =>
  Effect.gen(function* () {
    const whole: Setup = {
      name: "process",
      replicas: 1,
      syncInterval: 300,
      policy: {},
      callsAtOnce: 0,
      dependency: "up",
      callEvery: undefined,
      ...setup
    }
    const args = ["--conditions=@effect-fuse/source", "--disable-warning=ExperimentalWarning", worker]
    const child = spawn(process.execPath, [...args, JSON.stringify(whole)], { stdio: ["pipe", "pipe", "pipe"] })
    started.add(child)
    const waiting = new Map<number, Settle>()
    let trouble = ""
    const over = new Promise<void>((resolve) => {
      child.once("exit", () => {
        started.delete(child)
        for (const { reject } of waiting.values()) reject(new Error(`the process ${whole.name} is gone: ${trouble}`))
        resolve()
      })
    })
    child.stderr.on("data", (data) => {
      trouble += data
    })
    // Who is killed does not read what was said to it.
    child.stdin.on("error", () => {})
    const answer = <A>(id: number): Promise<A> =>
      new Promise<A>((resolve, reject) => {
        waiting.set(id, { resolve, reject })
      })
    createInterface({ input: child.stdout }).on("line", (line) => {
      const { answer, error, id = 0 } = JSON.parse(line)
      const settle = waiting.get(id)
      waiting.delete(id)
      if (error === undefined) settle?.resolve(answer as never)
      else settle?.reject(new Error(error))
    })
    const ready = answer<void>(0)
    let last = 0
    const ask: Process["ask"] = (what, ask) =>
      Effect.promise(() => {
        const id = ++last
        child.stdin.write(`${JSON.stringify({ id, what, ask })}\n`)
        return answer(id)
      })
    const kill = Effect.promise(() => {
      child.kill("SIGKILL")
      return over
    })
    yield* Effect.addFinalizer(() => kill)
    yield* Effect.promise(() => ready)
    return {
      ask,
      kill,
      end: Effect.andThen(
        ask("end", {}),
        Effect.promise(() => over)
      )
    }
  })

/** Several at once, `setup` telling them apart. */
export const startProcesses = (
  count: number,
  setup: (i: number) => Pick<Setup, "url"> & Partial<Setup>
): Effect.Effect<ReadonlyArray<Process>, never, Scope.Scope> =>
  Effect.all(
    Array.from({ length: count }, (_, i) => startProcess(setup(i))),
    { concurrency: "unbounded" }
  )
