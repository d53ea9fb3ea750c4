import * as Result from "effect/Result"
import { at, type Problem, type Problems } from "../core/fields.ts"
import { defaults, type Policy } from "./policy.ts"

/** A policy with a limit has this default cooldown in milliseconds. A short cooldown is safe: after a close, the limit admits few calls. */
const cooldownWithLimit = 5_000

/** The policies for which no `cooldown` was given. */
const withoutCooldown = new WeakSet<Policy>([defaults])

/** A limit and a ramp are two rules for the time after a close, so only one of them can decide. */
export const limitOrRamp = ({ limit, rampMillis = 0 }: Partial<Policy>, path: string): Problems =>
  limit !== undefined && limit !== false && rampMillis > 0
    ? [
        {
          path: at(path, "limit"),
          message: `expected no limit together with a ramp (ramp: ${rampMillis} ms): a limit already begins with few calls after a close`
        }
      ]
    : []

/** Replaces the given fields of a policy. `path` is the position of the given fields. */
export const merge = (base: Policy, given: Partial<Policy>, path: string): Result.Result<Policy, Problems> => {
  const merged = { ...base, ...given }
  const problems: Array<Problem> = [...limitOrRamp(merged, path)]
  const isConcerned = given.limit !== undefined || given.rampMillis !== undefined || given.keys !== undefined
  if (problems.length === 0 && isConcerned && typeof merged.keys === "object") {
    for (const [key, difference] of merged.keys) {
      problems.push(...limitOrRamp({ ...merged, ...difference }, at(at(path, "keys"), key)))
    }
  }
  if (problems.length > 0) return Result.fail(problems)
  if (given.cooldown !== undefined || !withoutCooldown.has(base)) return Result.succeed(merged)
  const made = { ...merged, cooldown: merged.limit === false ? defaults.cooldown : cooldownWithLimit }
  withoutCooldown.add(made)
  return Result.succeed(made)
}
