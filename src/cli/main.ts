#!/usr/bin/env node
import * as module from "node:module"

// Node keeps compiled code between runs, which makes every start faster. It has to be enabled before modules are loaded.
module.enableCompileCache?.()

const { run } = await import("./program.ts")
await run()
