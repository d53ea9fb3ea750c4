import { Effect, type Scope } from "effect"
import type { Invocation, Result, Setup } from "./serverlessWorker.ts"
import { startWorker, type Worker } from "./worker.ts"

/** An instance of a function runs in its own process. A platform freezes the instance between invocations. */
export interface Instance extends Omit<Worker, "ask"> {
  readonly invoke: (invocation: Partial<Invocation>) => Effect.Effect<Result>
}

export const startInstance = (setup: Setup): Effect.Effect<Instance, never, Scope.Scope> =>
  Effect.map(startWorker("./serverlessWorker.ts", setup), ({ ask, ...worker }) => ({
    ...worker,
    invoke: (invocation) => {
      const whole: Invocation = { circuit: "api", finds: "up", calls: 1, ...invocation }
      return Effect.map(ask(whole), (answer) => answer as Result)
    }
  }))
