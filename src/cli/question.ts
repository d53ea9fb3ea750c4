import * as Prompt from "effect/cli/Prompt"
import * as Effect from "effect/Effect"
import { CommandFailure } from "./messages.ts"
import type { CommandSettings } from "./settings.ts"

/** Asks for confirmation. Without a terminal, or with `--json`, a missing `--yes` is an error. */
export const confirm = (what: string, yes: boolean, { json }: CommandSettings) =>
  Effect.suspend(() => {
    if (yes) return Effect.void
    if (json || process.stdin.isTTY !== true || process.stdout.isTTY !== true) {
      const advice = "There is no terminal to ask for confirmation: add --yes."
      return Effect.fail(new CommandFailure({ code: 1, message: what, advice }))
    }
    const said = Prompt.run(Prompt.Confirm({ message: `${what} Continue?` }))
    return Effect.flatMap(
      Effect.catchTag(said, "QuitError", () => Effect.interrupt),
      (yes) => (yes ? Effect.void : Effect.fail(new CommandFailure({ code: 3, message: "Nothing was changed." })))
    )
  })
