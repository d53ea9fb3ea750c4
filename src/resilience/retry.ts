import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { callerOf, find, guardAt, locate, registryOf, type Subject } from "../breaker/protect.ts"
import {
  countOrZero,
  type Decoded,
  type Field,
  field,
  functionField,
  optional,
  orFalse,
  positiveMillis,
  share,
  struct,
  text,
  textOrEmpty
} from "../core/fields.ts"
import { answer, isLasting } from "../engine/answer.ts"
import { type Allowance, RetryBudget } from "../engine/budget.ts"
import { forbidsRetry, hintOfError } from "../engine/classify.ts"
import type { LiveCircuit } from "../engine/liveCircuit.ts"
import type { AnyEffect } from "../engine/timeout.ts"
import * as CircuitOpen from "../shapes/CircuitOpen.ts"
import { type CallDeadline, deadlineOf } from "../shapes/currentDeadline.ts"
import { isRaisedByUser, isRejection } from "../shapes/rejections.ts"
import * as Backoff from "./Backoff.ts"
import { asAttempt, isRepeated, leftOf } from "./deadlines.ts"
import { whileRejected } from "./waiting.ts"

/** The decoded options of a retry budget. */
export interface BudgetOf extends Allowance {
  readonly name: string
  readonly key: string | undefined
  readonly overMillis: number
  /** The call's own options for the circuit, if known. */
  readonly subject?: Subject | undefined
}

const budgetFields = {
  name: text,
  key: optional(textOrEmpty),
  share: optional(share),
  floor: optional(countOrZero),
  over: optional(positiveMillis)
}

const defaultBudget = { share: 0.2, floor: 10, overMillis: 10_000 }

/** A retry budget: the circuit's name, options, or `false` for none. */
export const budgetField: Field<BudgetOf | false> = orFalse({
  optional: false,
  decode: (input, path, problems) => {
    const given = typeof input === "string" ? { name: input } : input
    const {
      floor = defaultBudget.floor,
      key,
      name,
      over = defaultBudget.overMillis,
      share = defaultBudget.share
    } = struct(budgetFields).decode(given, path, problems)
    return { name, key, share, floor, overMillis: over }
  }
})

const circuitOf = (fiber: Fiber.Fiber<unknown, unknown>, { key, name, subject }: BudgetOf): LiveCircuit => {
  if (subject !== undefined) return locate(fiber, subject)
  const registry = registryOf(fiber)
  return registry.beside(name, key, registry.callerOf(fiber.context))
}

/** The median duration of the calls of a budget's circuit. The circuit measures it only if calls have deadlines. */
export const medianOf =
  (of: BudgetOf) =>
  (fiber: Fiber.Fiber<unknown, unknown>): number | undefined =>
    circuitOf(fiber, of).durations?.median

const onBudget = <A>(
  fiber: Fiber.Fiber<unknown, unknown>,
  of: BudgetOf,
  f: (budget: RetryBudget, now: number, of: BudgetOf) => A
): A => {
  const registry = registryOf(fiber)
  const circuit = circuitOf(fiber, of)
  circuit.budget ??= new RetryBudget(of.overMillis)
  return f(circuit.budget, registry.runtime.time.now(), of)
}

const noteSuccess = (budget: RetryBudget, now: number): void => budget.success(now)
const askRetry = (budget: RetryBudget, now: number, of: BudgetOf): boolean => budget.retry(now, of)

/**
 * Skips a delay after which the circuit would reject the retry anyway, so that the caller fails at once. The failed attempt may itself have
 * opened the circuit. If the policy has its own `probe`, the circuit may close before its cooldown ends, so the delay is not skipped.
 */
const skippingVainDelay =
  (subject: Subject) =>
  ({ duration }: { readonly duration: Duration.Duration }): Effect.Effect<Duration.Duration> =>
    Effect.withFiber((fiber) => {
      const registry = registryOf(fiber)
      const circuit = locate(fiber, subject)
      const later = answer(registry, circuit, registry.runtime.time.now() + Duration.toMillis(duration))
      // Only calls evaluate an `enabled` that is an effect.
      const vain = circuit.policy.enabled === true && later._tag === "Reject" && isLasting(later)
      return Effect.succeed(vain ? Duration.zero : duration)
    })

/** Whether the delay and another attempt fit into the remaining time. An attempt takes the median duration of the circuit, if known. */
const fits = (
  fiber: Fiber.Fiber<unknown, unknown>,
  deadline: CallDeadline,
  delayMillis: number,
  of: Subject | BudgetOf | undefined
): boolean => {
  const left = leftOf(deadline, fiber)
  if (delayMillis >= left) return false
  const circuit = of === undefined ? undefined : "overMillis" in of ? circuitOf(fiber, of) : locate(fiber, of)
  const median = circuit?.durations?.median
  return median === undefined || delayMillis + median <= left
}

/** Runs a call, and adds its success to the budget. */
export const earning = <A, E, R>(of: BudgetOf, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    Effect.onExitPrimitive(self, (exit) => {
      if (exit._tag === "Success") onBudget(fiber, of, noteSuccess)
      return undefined
    })
  )

/**
 * Use this instead of {@link guard} if the retries of a call use the budget of the call's circuit. This also adds the success of the call
 * to the budget, and costs less than `earning` around the retry. The counts are equal, because a call with retries succeeds at most once.
 */
export const guardEarning = (self: AnyEffect, of: Subject): AnyEffect =>
  Effect.withFiber((fiber) => {
    const caller = callerOf(fiber)
    const circuit = find(of, caller)
    return guardAt(fiber, caller, circuit, self, of, (exit) => {
      if (exit._tag === "Failure") return
      circuit.budget ??= new RetryBudget(defaultBudget.overMillis)
      circuit.budget.success(caller.registry.runtime.time.now())
    })
  })

/** Whether the budget allows a retry. If so, the budget counts it. */
export const mayRepeat = (of: BudgetOf): Effect.Effect<boolean> =>
  Effect.withFiber((fiber) => Effect.succeed(onBudget(fiber, of, askRetry)))

const schedule = field<Schedule.Schedule<unknown, unknown>>("a Schedule", (input) =>
  Schedule.isSchedule(input) ? (input as Schedule.Schedule<unknown, unknown>) : undefined
)

export const retryFields = {
  times: optional(countOrZero),
  schedule: optional(schedule),
  while: optional(functionField),
  budget: optional(budgetField),
  maxRetryAfter: optional(positiveMillis),
  waitForCircuit: optional(positiveMillis)
}

const defaultTimes = 2
const defaultBackoff = Backoff.exponential({ min: "100 millis", max: "10 seconds", jitter: 0.5 })

const defaultMaxRetryAfter = 10_000

/** Extends a delay to the wait that the error asks for. */
const atLeastHint = ({
  duration,
  input
}: {
  readonly duration: Duration.Duration
  readonly input: unknown
}): Effect.Effect<Duration.Duration> =>
  Effect.map(Clock.currentTimeMillis, (now) => Duration.max(duration, Duration.millis(hintOfError(input, now) ?? 0)))

/** Rejections by a policy are not retried unless `again` accepts them. Rejections by a circuit are never retried. */
const mayRetry =
  (again: ((error: unknown) => boolean) | undefined) =>
  (error: unknown): boolean =>
    (!CircuitOpen.isCircuitOpen(error) || isRaisedByUser(error)) &&
    (again === undefined ? !isRejection(error) : again(error))

/** If a circuit rejects a later attempt, the last error of the call itself becomes the `cause` of that rejection. */
const caused = (first: unknown): ((error: unknown) => unknown) => {
  let last = isRejection(first) ? undefined : first
  return (error) => {
    if (!isRejection(error)) last = error
    if (last === undefined || !CircuitOpen.isCircuitOpen(error) || isRaisedByUser(error)) return error
    return error.cause === undefined ? CircuitOpen.make({ ...error, cause: last }) : error
  }
}

/**
 * Adds retries to a call. If there is a `subject` and the options have no budget, the budget of that circuit applies. `earns` says whether
 * the call itself adds its success to the budget.
 */
export type Retrying = (subject?: Subject, earns?: boolean) => (self: AnyEffect) => AnyEffect

/** The options of a retry, or the number of retries. */
export const retryField: Field<Decoded<typeof retryFields>> = {
  optional: false,
  decode: (input, path, problems) =>
    struct(retryFields).decode(typeof input === "number" ? { times: input } : input, path, problems)
}

export const retrying = (decoded: Decoded<typeof retryFields>): Retrying => {
  const { maxRetryAfter = defaultMaxRetryAfter, waitForCircuit } = decoded
  const times = decoded.times ?? (decoded.schedule === undefined ? defaultTimes : Infinity)
  const retryable = mayRetry(decoded.while)
  const bounded = (decoded.schedule ?? defaultBackoff).pipe(
    Schedule.while(({ attempt }) => Effect.succeed(attempt <= times))
  )
  return (subject, earns = false) => {
    const budget =
      subject !== undefined && decoded.budget === undefined
        ? { ...defaultBudget, name: subject.name, key: subject.key, subject }
        : decoded.budget || undefined
    const may = (error: unknown): Effect.Effect<boolean> =>
      Effect.map(
        Clock.currentTimeMillis,
        (now) => retryable(error) && !forbidsRetry(error) && (hintOfError(error, now) ?? 0) <= maxRetryAfter
      )
    // The budget comes last, so that only retries that will be made are charged to it.
    const mayNow = (duration: Duration.Duration): Effect.Effect<boolean> =>
      Effect.withFiber((fiber) => {
        const deadline = deadlineOf(fiber)
        if (deadline !== undefined && !fits(fiber, deadline, Duration.toMillis(duration), subject ?? budget)) {
          return Effect.succeed(false)
        }
        return budget === undefined ? Effect.succeed(true) : mayRepeat(budget)
      })
    const policy = () => {
      const hinted = bounded.pipe(
        Schedule.while(({ input }) => may(input)),
        Schedule.modifyDelay(atLeastHint),
        Schedule.while(({ duration }) => mayNow(duration))
      )
      // The circuit of `subject` is inside the retry. A circuit that only the budget names may not be.
      return subject === undefined ? hinted : Schedule.modifyDelay(hinted, skippingVainDelay(subject))
    }
    /** Creates the schedule only after the first failure. */
    const retried = (call: AnyEffect): AnyEffect =>
      Effect.catch(call, (error) =>
        Effect.withFiber((fiber) => {
          const deadline = deadlineOf(fiber)
          if (deadline !== undefined && isRepeated(deadline)) return givingUp(Effect.fail(error), error, deadline)
          let attempts = 0
          const attempt = Effect.mapError(call, caused(error))
          // The first attempt has already failed.
          const again = Effect.suspend(() => {
            if (++attempts === 1) return Effect.fail(error)
            return deadline === undefined ? attempt : asAttempt(attempt, deadline, attempts)
          })
          const all = Effect.retry(again, policy())
          return deadline === undefined ? all : givingUp(all, error, deadline)
        })
      )
    /** If the call fails after an error that could be retried, marks the deadline, so that the callers above do not retry either. */
    const givingUp = (self: AnyEffect, first: unknown, { shared }: CallDeadline): AnyEffect =>
      Effect.mapError(self, (last) => {
        if (retryable(first)) shared.gaveUp = true
        return last
      })
    return (self) => {
      const all =
        waitForCircuit === undefined
          ? retried(self)
          : Effect.withFiber((fiber) => {
              const deadline = deadlineOf(fiber)
              const millis = deadline === undefined ? waitForCircuit : Math.min(waitForCircuit, leftOf(deadline, fiber))
              return retried(whileRejected(self, { millis }))
            })
      return budget === undefined || earns ? all : earning(budget, all)
    }
  }
}
