import { readFileSync } from "node:fs"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { withoutSecrets } from "../core/foreign.ts"
import { printableLines } from "../core/printable.ts"
import { command } from "./command.ts"
import { presentation } from "./settings.ts"

const version = (): string => JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version

const platform = async () => {
  try {
    const [services, runtime] = await Promise.all([
      import("@effect/platform-node/NodeServices"),
      import("@effect/platform-node/NodeRuntime")
    ])
    return { services, runtime }
  } catch (cause) {
    process.stderr.write(
      "The package @effect/platform-node is not installed.\nInstall it beside effect-fuse: npm install @effect/platform-node\n"
    )
    process.exit(1)
    throw cause
  }
}

/** Reports a defect, which is a bug of this program, and exits with 2. */
const reportDefect = (cause: Cause.Cause<unknown>) =>
  Cause.hasDies(cause)
    ? Effect.andThen(
        Console.error(`Unexpected error. Please report it:\n${printableLines(withoutSecrets(Cause.pretty(cause)))}`),
        Effect.sync(() => process.exit(2))
      )
    : Effect.void

/** Runs the command line with the arguments of this process. */
export const run = async (): Promise<void> => {
  // A reader such as `head` closes the pipe when it has enough. That is not an error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0)
    throw error
  })
  const { runtime, services } = await platform()
  Command.run(command, { version: version() }).pipe(
    Effect.tapCause(reportDefect),
    Effect.provide(Layer.mergeAll(services.layer, presentation, Layer.succeed(Logger.LogToStderr, true))),
    runtime.runMain
  )
}
