import * as Command from "effect/cli/Command"
import { doctor } from "./doctor.ts"
import { history, list, show, watch } from "./looking.ts"
import { cleanup, exporting, importing, migrate } from "./moving.ts"
import { root } from "./settings.ts"
import { simulate } from "./simulate.ts"
import { close, disable, isolate, open, release, reset } from "./steering.ts"

/** The command line. */
export const command = root.pipe(
  Command.withSubcommands([
    { group: "Look", commands: [list, show, watch, history, doctor] },
    { group: "Steer", commands: [isolate, disable, release, open, close, reset] },
    { group: "Choose", commands: [simulate] },
    { group: "Keep", commands: [exporting, importing, cleanup, migrate] }
  ])
)
