import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import type { Policy } from "../policy/policy.ts"

/** Later openings in a row have the delay of this one. */
const maxSteps = 1_000

/**
 * How many milliseconds the `opening`-th opening in a row lasts: the cooldown of the policy, or the `retryAfter` of the dependency if
 * it is longer. Schedules and `retryAfter` are limited to `maxCooldown`.
 *
 * The schedule is run from its beginning on a simulated clock that advances by its delays, so that `upTo` and `during` measure the time
 * that the circuit was open. After the schedule has ended, its last delay is used.
 */
export const openFor = (policy: Policy, opening: number, hintMillis: number): Effect.Effect<number> => {
  const { cooldown, maxCooldownMillis } = policy
  const hint = Math.min(maxCooldownMillis, hintMillis)
  if (typeof cooldown === "number") return Effect.succeed(Math.max(cooldown, hint))
  return Effect.map(nthDelay(toSchedule(cooldown), Math.min(opening, maxSteps)), (millis) =>
    Math.max(Math.min(maxCooldownMillis, millis), hint)
  )
}

const toSchedule = (cooldown: Exclude<Policy["cooldown"], number>): Schedule.Schedule<unknown, number> => {
  if (Schedule.isSchedule(cooldown)) return cooldown
  const growing = Schedule.exponential(cooldown.exponential, cooldown.factor)
  return cooldown.jittered ? Schedule.jittered(growing) : growing
}

const nthDelay = Effect.fnUntraced(function* (schedule: Schedule.Schedule<unknown, number>, n: number) {
  const step = yield* Schedule.toStep(schedule)
  let now = yield* Clock.currentTimeMillis
  let millis = 0
  for (let opening = 1; opening <= n; opening++) {
    const next = yield* Effect.exit(step(now, opening))
    if (Exit.isFailure(next)) {
      if (Pull.isDoneCause(next.cause)) break
      return yield* Effect.failCause(next.cause as Cause.Cause<never>)
    }
    millis = Duration.toMillis(next.value[1])
    now += millis
  }
  return millis
})
