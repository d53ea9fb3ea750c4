#!/usr/bin/env node
import { readFileSync } from "node:fs"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { command } from "./command.ts"

/** Whoever reads no more, as `head` does when it has enough, ends this in good order. */
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0)
  throw error
})

const version = (): string =>
  JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")).version

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

const { runtime, services } = await platform()

/** The wizard says again what was said to it, passwords too. */
const config = CliConfig.layer({ builtIns: GlobalFlag.BuiltIns.filter((one) => one !== GlobalFlag.Wizard) })

const withoutSecrets = (text: string): string => text.replaceAll(/(\w:\/\/)[^\s"]*@/g, "$1***@")

/** Who asks wrongly is told so where answers are not, and in few words; a URL in the wrong place is not said again. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Effect.flatMap(CliOutput.Formatter, ({ formatErrors }) =>
          Console.error(
            `${withoutSecrets(formatErrors(event.errors)).trim()}\n\n${event.commandPath.join(" ")} --help says what it takes.`
          )
        )
      : CliOutput.defaultPresenter.present(event)
}

/** What nobody thought of is no answer either. */
const surprised = (cause: Cause.Cause<unknown>) =>
  Cause.hasDies(cause)
    ? Effect.andThen(
        Console.error(`This should not have happened, please report it:\n${withoutSecrets(Cause.pretty(cause))}`),
        Effect.sync(() => process.exit(2))
      )
    : Effect.void

Command.run(command, { version: version() }).pipe(
  Effect.tapCause(surprised),
  Effect.provide(
    Layer.mergeAll(services.layer, config, Layer.succeed(Logger.LogToStderr, true), CliOutput.layerPresenter(presenter))
  ),
  runtime.runMain
)
