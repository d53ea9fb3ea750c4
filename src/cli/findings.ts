import * as Effect from "effect/Effect"
import type { CommandFailure } from "./messages.ts"

/** The result of one check of `doctor`. A `warn` may be a problem. A `fail` is a problem that the user must fix. */
export interface Finding {
  readonly check: string
  readonly status: "ok" | "warn" | "fail"
  readonly said: string
  readonly advice?: string
}

export const ok = (check: string, said: string): Finding => ({ check, status: "ok", said })
export const warn = (check: string, said: string, advice: string): Finding => ({ check, status: "warn", said, advice })
export const fail = (check: string, said: string, advice: string): Finding => ({ check, status: "fail", said, advice })

/** Turns the failure of a check into a finding, so that the other checks still run. */
export const orElse = (
  asking: Effect.Effect<Finding, CommandFailure>,
  otherwise: (failure: CommandFailure) => Finding
): Effect.Effect<Finding> => Effect.catch(asking, (failure) => Effect.succeed(otherwise(failure)))

export const noAdvice = "Ignore this if the other checks pass."

/** Compares the version of a server with the oldest tested version. */
export const versionCheck = (
  kind: string,
  oldest: number,
  version: Effect.Effect<string, CommandFailure>
): Effect.Effect<Finding> =>
  orElse(
    Effect.map(version, (text) =>
      Number.parseFloat(text) < oldest
        ? fail("version", `${kind} ${text}`, `Upgrade: ${kind} ${oldest} and later are tested.`)
        : ok("version", `${kind} ${text}`)
    ),
    ({ message }) => warn("version", `unknown: ${message}`, noAdvice)
  )
