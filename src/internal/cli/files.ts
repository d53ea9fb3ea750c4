import * as Effect from "effect/Effect"
import { Failure } from "./words.ts"

/** Reads or writes a file; what goes wrong is said with its name. */
export const inFile = <A>(file: string, access: () => A): Effect.Effect<A, Failure> =>
  Effect.try({
    try: access,
    catch: (error) =>
      new Failure({
        code: 1,
        message: `${file === "-" ? "the input" : file}: ${error instanceof Error ? error.message : error}`
      })
  })
