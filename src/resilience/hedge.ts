import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { count, decodeOptions, field, millisWhere, optional, positiveMillis, refused } from "../core/fields.ts"
import { nowOf, type Time } from "../engine/time.ts"
import { alarm } from "../engine/timeout.ts"
import { deadlineOf } from "../shapes/currentDeadline.ts"
import { CurrentCopies } from "./copies.ts"
import { isRepeated, leftOf } from "./deadlines.ts"
import { type BudgetOf, budgetField } from "./retry.ts"
import { Usual } from "./usual.ts"

/** When the copies of a call start, and how many may start. */
export interface Hedge {
  readonly delay: HedgeDelay
  /** The maximum number of additional copies of one call. */
  readonly copies: number
  /** Whether one more copy may start now. */
  readonly allowed: Effect.Effect<boolean>
  /** The median duration of the calls, if a circuit has measured it. */
  readonly usualOf?: ((fiber: Fiber.Fiber<unknown, unknown>) => number | undefined) | undefined
}

interface HedgeDelay {
  /** Milliseconds until the next copy starts; `undefined` for never. Called once for each call. */
  readonly begin: () => number | undefined
  /** Records the duration of a copy. An `Interrupted` copy would have taken longer. */
  readonly ended: ((millis: number, how: "Success" | "Interrupted", delay: number | undefined) => void) | undefined
}

/** The share of calls that a hedge with a percentile and without a budget may copy. */
const extraShare = 0.05
const mostSaved = 10
const defaultMin = 10

// ---- The options ----------------------------------------------------------------------------------------------------

interface Quantile {
  readonly _tag: "Quantile"
  readonly share: number
}

const percentile = /^p(\d{1,2}(?:\.\d+)?)$/

const durationOf = millisWhere((millis) => millis > 0 && millis < Infinity)

const afterField = field<number | Quantile>(
  'a duration above 0 such as "30s" or "30 seconds", or a percentile such as "p95"',
  (input) => {
    const found = typeof input === "string" ? percentile.exec(input)?.[1] : undefined
    return found !== undefined && Number(found) > 0
      ? { _tag: "Quantile", share: Number(found) / 100 }
      : durationOf(input)
  }
)

const hedgeFields = {
  after: afterField,
  min: optional(positiveMillis),
  max: optional(positiveMillis),
  copies: optional(count),
  budget: optional(budgetField)
}

export const hedging = (
  operation: string,
  options: unknown
): { readonly hedge: Hedge; readonly budget: BudgetOf | false } => {
  const { after, budget, copies = 1, max, min } = decodeOptions(operation, hedgeFields, options)
  if (typeof after !== "number") {
    if (max !== undefined && max < (min ?? defaultMin)) {
      throw refused(operation, "max", `expected a duration of at least min (${min ?? defaultMin} ms), got ${max} ms`)
    }
    const extra = budget === undefined ? new ExtraCalls() : undefined
    const delay = new UsualDelay(after.share, min ?? defaultMin, max, extra)
    return { hedge: { delay, copies, allowed: extra?.allowed ?? always }, budget: budget ?? false }
  }
  const other = min === undefined ? (max === undefined ? undefined : "max") : "min"
  if (other !== undefined) throw refused(operation, other, "expected nothing, as after is a duration, got a duration")
  return {
    hedge: { delay: { begin: () => after, ended: undefined }, copies, allowed: always },
    budget: budget ?? false
  }
}

// ---- The delay of a percentile --------------------------------------------------------------------------------------

const always = Effect.succeed(true)

/** Allows additional calls as a share of the calls so far. */
class ExtraCalls {
  private saved = 0

  call(): void {
    this.saved = Math.min(mostSaved, this.saved + extraShare)
  }

  readonly allowed = Effect.sync(() => {
    // A sum of twenty shares may be slightly less than 1.
    if (this.saved < 1 - 1e-9) return false
    this.saved--
    return true
  })
}

/** A delay that is a percentile of the durations so far. */
class UsualDelay implements HedgeDelay {
  private readonly usual: Usual
  private readonly min: number
  private readonly max: number | undefined
  private readonly extra: ExtraCalls | undefined

  constructor(share: number, min: number, max: number | undefined, extra: ExtraCalls | undefined) {
    this.usual = new Usual(share)
    this.min = min
    this.max = max
    this.extra = extra
  }

  begin(): number | undefined {
    this.extra?.call()
    const { millis } = this.usual
    if (millis === undefined) return this.max
    return Math.max(this.min, Math.min(millis, this.max ?? Infinity))
  }

  ended(millis: number, how: "Success" | "Interrupted", delay: number | undefined): void {
    // If a copy is interrupted before the delay, its duration is unknown. After the delay, its duration is above the percentile.
    if (how === "Success" || millis >= (delay ?? this.max ?? Infinity)) this.usual.record(millis)
  }
}

// ---- The race -------------------------------------------------------------------------------------------------------

/** Returns how a copy ended, or `undefined` for a failure. A failure may be much faster than an answer, so its duration does not count. */
const howOf = (exit: Exit.Exit<unknown, unknown>): "Success" | "Interrupted" | undefined => {
  if (exit._tag === "Success") return "Success"
  return Cause.hasInterruptsOnly(exit.cause) ? "Interrupted" : undefined
}

/**
 * Runs an effect, and starts another copy after each `delay`, up to `copies` of them. The first success is the result and interrupts the
 * other copies. A failed copy is not repeated. If all copies fail, the result is the failure of the first copy.
 */
export const hedged = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  { allowed, copies: more, delay, usualOf }: Hedge
): Effect.Effect<A, E, R> =>
  Effect.withFiber((parent) => {
    const now = delay.ended === undefined ? undefined : nowOf(parent.getRef(Clock.Clock))
    const deadline = deadlineOf(parent)
    const afterMillis = delay.begin()
    // If a caller is already retrying, nothing below it is repeated.
    if (afterMillis === undefined || (deadline !== undefined && isRepeated(deadline))) {
      return now === undefined ? self : measured(self, delay, now)
    }
    const context = Context.add(parent.context, CurrentCopies, { called: [] })
    const run = Effect.runForkWith(context as Context.Context<R>)
    return Effect.callback<A, E>((resume) => {
      const running = new Set<Fiber.Fiber<unknown, unknown>>()
      let failure: { readonly copy: number; readonly exit: Exit.Exit<A, E> } | undefined
      let copies = 0
      /** The fiber that runs `allowed`. */
      let asking: Fiber.Fiber<unknown, unknown> | undefined
      let done = false

      const all = () => {
        wait.stop()
        return Fiber.interruptAll(asking === undefined ? running : [...running, asking])
      }
      const end = (exit: Exit.Exit<A, E>) => {
        done = true
        resume(Effect.andThen(all(), exit))
      }
      const start = () => {
        const copy = copies++
        const begun = now?.() ?? 0
        const fiber = run(self)
        running.add(fiber)
        fiber.addObserver((exit) => {
          running.delete(fiber)
          if (now !== undefined) {
            const how = howOf(exit)
            if (how !== undefined) delay.ended?.(now() - begun, how, afterMillis)
          }
          if (done) return
          if (exit._tag === "Success") return end(exit)
          if (failure === undefined || copy < failure.copy) failure = { copy, exit }
          if (running.size === 0) end(failure.exit)
        })
        if (!done && copies <= more && hasTime()) wait.start()
      }
      const ask = () => {
        const fiber = run(allowed)
        asking = fiber
        fiber.addObserver((exit) => {
          asking = undefined
          if (!done && exit._tag === "Success" && exit.value) start()
        })
      }
      const hasTime = () => deadline === undefined || afterMillis + (usualOf?.(parent) ?? 0) < leftOf(deadline, parent)
      const wait = alarm(parent, afterMillis, ask)
      start()
      return Effect.suspend(() => {
        done = true
        return all()
      })
    })
  })

/** Runs a call without copies, and records its duration. */
const measured = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  delay: HedgeDelay,
  now: Time["now"]
): Effect.Effect<A, E, R> => {
  const begun = now()
  return Effect.onExitPrimitive(self, (exit) => {
    const how = howOf(exit)
    if (how !== undefined) delay.ended?.(now() - begun, how, undefined)
    return undefined
  })
}
