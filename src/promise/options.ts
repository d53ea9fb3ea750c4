import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { circuitName } from "../breaker/options.ts"
import { defaultLease, guard, guardBeyond, type Subject, subject } from "../breaker/protect.ts"
import {
  count,
  countOrZero,
  decodeOptions,
  functionField,
  onlyFields,
  optional,
  positiveMillis,
  shareOrZero,
  word
} from "../core/fields.ts"
import { show } from "../core/printable.ts"
import { sleep } from "../engine/eventLoop.ts"
import * as BreakerPolicy from "../policy/BreakerPolicy.ts"
import { defaults as defaultPolicy } from "../policy/policy.ts"
import { opens } from "../policy/schema.ts"
import * as Backoff from "../resilience/Backoff.ts"
import * as Bulkhead from "../resilience/Bulkhead.ts"
import { type Retrying, retrying } from "../resilience/retry.ts"
import { toCooldown } from "./cooldowns.ts"
import { TimeoutError, toPlain } from "./errors.ts"
import { held } from "./held.ts"
import { readingResponses } from "./responses.ts"
import { watchedStream } from "./streams.ts"
import type { Policy, Protection, RetryOptions } from "./types.ts"

type AnyEffect = Effect.Effect<unknown, unknown>

const policyFields = [
  "trip",
  "slowCall",
  "cooldown",
  "maxCooldown",
  "probes",
  "successesToClose",
  "failuresToReopen",
  "probeTimeout",
  "ramp",
  "probe",
  "dependsOn",
  "mode",
  "enabled",
  "fleet"
] as const satisfies ReadonlyArray<keyof Policy>

const callFields = ["timeout", "retry", "bulkhead", "fallback", "until", "isFailure", "isIgnored"] as const

const picked = (options: object, names: ReadonlyArray<string>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(options).filter(([name, value]) => names.includes(name) && value !== undefined))

/** A flag that takes longer counts as on: nobody waits for it for ever. */
const flagMillis = 1_000

const toFlag = (operation: string, enabled: unknown): BreakerPolicy.Flag => {
  if (typeof enabled === "boolean") return enabled
  if (typeof enabled !== "function") {
    throw new RangeError(`${operation}: enabled: expected true, false or a function, got ${show(enabled)}`)
  }
  const ask = enabled as (circuit: object) => unknown
  return (circuit) =>
    Effect.orElseSucceed(
      Effect.timeout(
        Effect.tryPromise(async () => (await ask(circuit)) !== false),
        flagMillis
      ),
      () => true
    )
}

const probeFields = { check: functionField, every: positiveMillis, opens: optional(opens) }

/** A policy as Effect code writes it: what is a promise there is an effect here. */
const toPolicy = (operation: string, options: Policy): BreakerPolicy.Input => {
  const { cooldown, enabled, probe, ...rest } = picked(options, policyFields) as Policy
  const input: Record<string, unknown> = { ...rest }
  if (cooldown !== undefined) input["cooldown"] = toCooldown(operation, cooldown)
  if (enabled !== undefined) input["enabled"] = toFlag(operation, enabled)
  if (probe !== undefined) {
    const checked = decodeOptions(`${operation}: probe`, probeFields, probe)
    input["probe"] = {
      check: Effect.tryPromise(async (signal) => {
        if ((await checked.check(signal)) === false) throw new Error("the check answered false")
      }),
      schedule: Duration.millis(checked.every),
      opens: checked.opens
    }
  }
  Result.getOrThrowWith(
    BreakerPolicy.decode(input),
    ({ message }) => new RangeError(`${operation}: ${message.replaceAll("\n", "; ")}`)
  )
  return input
}

const retryFields = {
  times: optional(countOrZero),
  minDelay: optional(positiveMillis),
  maxDelay: optional(positiveMillis),
  backoff: optional(word("exponential", "linear")),
  jitter: optional(shareOrZero),
  while: optional(functionField),
  waitForCircuit: optional(positiveMillis)
}

/** The options of `Resilience.retry`, or nothing where nothing is to be made again. */
const toRetry = (operation: string, retry: number | RetryOptions | false | undefined) => {
  if (retry === undefined || retry === false) return undefined
  const {
    backoff = "exponential",
    jitter = 0.5,
    maxDelay,
    minDelay,
    times = 2,
    waitForCircuit,
    while: again
  } = decodeOptions(`${operation}: retry`, retryFields, typeof retry === "number" ? { times: retry } : retry)
  const max = maxDelay ?? Math.max(10_000, minDelay ?? 0)
  if (max < (minDelay ?? 0)) {
    throw new RangeError(`${operation}: retry: maxDelay: expected at least minDelay (${minDelay} ms), got ${max} ms`)
  }
  return {
    times,
    waitForCircuit,
    maxRetryAfter: max,
    schedule: (backoff === "linear" ? Backoff.linear : Backoff.exponential)({
      min: minDelay ?? Math.min(100, max),
      max,
      jitter
    }),
    ...(again === undefined ? {} : { while: (error: unknown) => again(toPlain(error)) === true })
  }
}

/** A call that ends when the stream that it returns has been read. */
const guardStream = (self: AnyEffect, of: Subject): AnyEffect =>
  Effect.contextWith((context: Context.Context<never>) =>
    guardBeyond(self, of, defaultLease, (answer, permit) =>
      watchedStream(answer, (end) => {
        const settled = permit.settle(end)
        if (settled !== undefined) Effect.runForkWith(context)(settled)
      })
    )
  )

const bulkheadFields = {
  concurrency: count,
  queue: optional(countOrZero),
  holdUntil: optional(word("settled"))
}

/** Adds the bulkhead to a call. */
const toLimited = (operation: string, name: string, options: Protection<never, unknown>["bulkhead"]) => {
  if (options === undefined) return (call: AnyEffect) => call
  const { holdUntil, ...places } = decodeOptions(`${operation}: bulkhead`, bulkheadFields, options)
  const bulkhead = Bulkhead.makeUnsafe({ name, ...places })
  return holdUntil === undefined
    ? (call: AnyEffect): AnyEffect => Bulkhead.limit(call, bulkhead)
    : (call: AnyEffect, running: () => PromiseLike<unknown> | undefined) => held(bulkhead, call, running)
}

/** What is done with each call, its options checked. */
export interface Checked {
  readonly name: string
  /** The time limit of a probe. */
  readonly probeTimeoutMillis: number
  readonly fallback: ((error: unknown, ...args: ReadonlyArray<unknown>) => unknown) | undefined
  /**
   * Adds timeout, bulkhead, circuit and retry to a call. `onLate` receives the timeout error before the call is interrupted. `running`
   * returns the promise of the function that was called last.
   */
  readonly around: (
    call: AnyEffect,
    key: string | undefined,
    onLate: (error: TimeoutError) => void,
    running: () => PromiseLike<unknown> | undefined
  ) => AnyEffect
  readonly subject: Subject
}

/** The options of a breaker. Throws where one is wrong, before anything is called. */
export const check = (operation: string, name: unknown, options: unknown, more: ReadonlyArray<string>): Checked => {
  const given = onlyFields(operation, [...more, ...callFields, ...policyFields], options) as Protection<never, unknown>
  const circuit = circuitName(operation, name)
  const { fallback, isFailure, isIgnored, until } = decodeOptions(
    operation,
    {
      fallback: optional(functionField),
      until: optional(word("stream end")),
      isFailure: optional(functionField),
      isIgnored: optional(functionField)
    },
    picked(given, ["fallback", "until", "isFailure", "isIgnored"])
  )
  const { timeout = 10_000 } = given
  const timeoutMillis =
    timeout === false ? Infinity : decodeOptions(operation, { timeout: positiveMillis }, { timeout }).timeout
  const read = subject(operation, circuit, {
    policy: toPolicy(operation, given),
    ...(isFailure === undefined ? {} : { isFailure: (error: unknown) => isFailure(toPlain(error)) === true }),
    ...(isIgnored === undefined ? {} : { isIgnored: (error: unknown) => isIgnored(toPlain(error)) === true })
  })
  const of = { ...read, classify: readingResponses(read.classify) }
  const limited = toLimited(operation, circuit, given.bulkhead)
  const timed = (call: AnyEffect, onLate: (error: TimeoutError) => void): AnyEffect => {
    if (timeoutMillis === Infinity) return call
    const late = Effect.suspend(() => {
      const error = new TimeoutError(circuit, timeoutMillis)
      // This runs before the call is interrupted, so that the signal of the call is aborted with this error.
      onLate(error)
      return Effect.fail(error)
    })
    return Effect.raceFirst(call, Effect.andThen(sleep(timeoutMillis), late))
  }
  const retry = toRetry(operation, given.retry)
  const again: Retrying = retry === undefined ? () => (call: AnyEffect) => call : retrying(retry)
  const unkeyed = again(of)
  const guarded = until === undefined ? guard : guardStream
  return {
    name: circuit,
    probeTimeoutMillis: of.inline?.probeTimeoutMillis ?? defaultPolicy.probeTimeoutMillis,
    fallback,
    subject: of,
    around: (call, key, onLate, running) => {
      const inside = limited(timed(call, onLate), running)
      if (key === undefined) return unkeyed(guarded(inside, of))
      const target = { ...of, key }
      return again(target)(guarded(inside, target))
    }
  }
}
