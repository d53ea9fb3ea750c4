import { readFileSync } from "node:fs"
import { text } from "node:stream/consumers"
import * as Effect from "effect/Effect"
import { foreignMessage } from "../core/foreign.ts"
import { printable } from "../core/printable.ts"
import { CommandFailure } from "./messages.ts"

/** The name of a file in messages. */
export const fileLabel = (file: string): string => (file === "-" ? "the input" : printable(file))

/** Reads or writes a file. Errors name the file. */
export const inFile = <A>(file: string, access: () => A | Promise<A>): Effect.Effect<A, CommandFailure> =>
  Effect.tryPromise({
    try: async () => access(),
    catch: (error) =>
      new CommandFailure({
        code: 1,
        message: `${fileLabel(file)}: ${foreignMessage(error)}`
      })
  })

/** The text of a file, or of the input for `-`. */
export const readText = (file: string): Effect.Effect<string, CommandFailure> =>
  inFile(file, () => (file === "-" ? text(process.stdin) : readFileSync(file, "utf8")))
