#!/usr/bin/env node
import { readFileSync } from "node:fs"
import * as Command from "effect/cli/Command"
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

Command.run(command, { version: version() }).pipe(
  Effect.provide(Layer.merge(services.layer, Layer.succeed(Logger.LogToStderr, true))),
  runtime.runMain
)
