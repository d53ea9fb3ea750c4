import * as Prompt from "effect/cli/Prompt"
import * as Effect from "effect/Effect"
import type { Settings } from "./settings.ts"
import { Failure } from "./words.ts"

/** Asks whether to go on with what cannot be taken back; where nobody can answer, or reads JSON, it is an error. */
export const confirm = (what: string, yes: boolean, { json }: Settings) =>
  Effect.suspend(() => {
    if (yes) return Effect.void
    if (json || process.stdin.isTTY !== true || process.stdout.isTTY !== true) {
      return Effect.fail(new Failure({ code: 1, message: what, advice: "Nobody is there to say yes: say --yes." }))
    }
    const said = Prompt.run(Prompt.Confirm({ message: `${what} Go on?` }))
    return Effect.flatMap(
      Effect.catchTag(said, "QuitError", () => Effect.interrupt),
      (yes) => (yes ? Effect.void : Effect.fail(new Failure({ code: 3, message: "Nothing was done." })))
    )
  })
