import { readFileSync } from "node:fs"
import { text } from "node:stream/consumers"
import * as Effect from "effect/Effect"
import { Failure } from "./words.ts"

/** Reads or writes a file; what goes wrong is said with its name. */
export const inFile = <A>(file: string, access: () => A | Promise<A>): Effect.Effect<A, Failure> =>
  Effect.tryPromise({
    try: async () => access(),
    catch: (error) =>
      new Failure({
        code: 1,
        message: `${file === "-" ? "the input" : file}: ${error instanceof Error ? error.message : error}`
      })
  })

/** The text of a file, or of the input for `-`. */
export const readText = (file: string): Effect.Effect<string, Failure> =>
  inFile(file, () => (file === "-" ? text(process.stdin) : readFileSync(file, "utf8")))
