import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { circuitName } from "../breaker/options.ts"
import { guard, guardBeyond, leaseOf, type Subject, subject } from "../breaker/protect.ts"
import { makeTimeoutOrElse } from "../engine/timeout.ts"
import * as Backoff from "../resilience/Backoff.ts"
import * as Bulkhead from "../resilience/Bulkhead.ts"
import { type Retrying, retryingAs } from "../resilience/retry.ts"
import {
  count,
  countOrZero,
  decodeOrThrow,
  functionField,
  onlyFields,
  positiveMillis,
  shareOrZero,
  word
} from "../shapes/fields.ts"
import { TimeoutError, toPlain } from "./errors.ts"
import { held } from "./held.ts"
import { picked, policyFields, probeTimeoutOf, toPolicy } from "./policies.ts"
import { readingResponses } from "./responses.ts"
import { watchedStream } from "./streams.ts"
import type { Protection, RetryOptions } from "./types.ts"

type AnyEffect = Effect.Effect<unknown, unknown>

const callFields = ["timeout", "retry", "bulkhead", "fallback", "until", "isFailure", "isIgnored"] as const

const retryFields = {
  times: Schema.optional(countOrZero),
  minDelay: Schema.optional(positiveMillis),
  maxDelay: Schema.optional(positiveMillis),
  backoff: Schema.optional(word("exponential", "linear")),
  jitter: Schema.optional(shareOrZero),
  while: Schema.optional(functionField),
  waitForCircuit: Schema.optional(positiveMillis)
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
  } = decodeOrThrow(`${operation}: retry`, retryFields, typeof retry === "number" ? { times: retry } : retry)
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
    guardBeyond(self, of, leaseOf("until", undefined), (answer, permit) =>
      watchedStream(answer, (end) => {
        const settled = permit.settle(end)
        if (settled !== undefined) Effect.runForkWith(context)(settled)
      })
    )
  )

const bulkheadFields = {
  concurrency: count,
  queue: Schema.optional(countOrZero),
  holdUntil: Schema.optional(word("settled"))
}

/** Adds the bulkhead to a call. */
const toLimited = (operation: string, name: string, options: Protection<never, unknown>["bulkhead"]) => {
  if (options === undefined) return (call: AnyEffect) => call
  const { holdUntil, ...places } = decodeOrThrow(`${operation}: bulkhead`, bulkheadFields, options)
  const bulkhead = Bulkhead.makeUnsafe({ name, ...places })
  return holdUntil === undefined
    ? (call: AnyEffect): AnyEffect => Bulkhead.limit(call, bulkhead)
    : (call: AnyEffect, running: () => PromiseLike<unknown> | undefined) => held(bulkhead, call, running)
}

/** What is done with each call, its options checked. */
export interface Checked {
  readonly name: string
  /** The time limit of a probe. */
  readonly probeTimeoutMillis: (key: string | undefined) => number
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
  const { fallback, isFailure, isIgnored, until } = decodeOrThrow(
    operation,
    {
      fallback: Schema.optional(functionField),
      until: Schema.optional(word("stream end")),
      isFailure: Schema.optional(functionField),
      isIgnored: Schema.optional(functionField)
    },
    picked(given, ["fallback", "until", "isFailure", "isIgnored"])
  )
  const { timeout = 10_000 } = given
  const timeoutMillis =
    timeout === false ? Infinity : decodeOrThrow(operation, { timeout: positiveMillis }, { timeout }).timeout
  const read = subject(operation, circuit, {
    policy: toPolicy(operation, given),
    ...(isFailure === undefined ? {} : { isFailure: (error: unknown) => isFailure(toPlain(error)) === true }),
    ...(isIgnored === undefined ? {} : { isIgnored: (error: unknown) => isIgnored(toPlain(error)) === true })
  })
  const of = { ...read, classify: readingResponses(read.classify) }
  const limited = toLimited(operation, circuit, given.bulkhead)
  const withTimeout = makeTimeoutOrElse(timeoutMillis)
  const timed = (call: AnyEffect, onLate: (error: TimeoutError) => void): AnyEffect => {
    if (timeoutMillis === Infinity) return call
    return withTimeout(call, () => {
      const error = new TimeoutError(circuit, timeoutMillis)
      // This runs before the call is interrupted, so that the signal of the call is aborted with this error.
      onLate(error)
      return Effect.fail(error)
    })
  }
  const retry = toRetry(operation, given.retry)
  const again: Retrying =
    retry === undefined ? () => (call: AnyEffect) => call : retryingAs(`${operation}: retry`, retry)
  const unkeyed = again(of)
  const guarded = until === undefined ? guard : guardStream
  return {
    name: circuit,
    probeTimeoutMillis: (key) => probeTimeoutOf(of.inline, key),
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
