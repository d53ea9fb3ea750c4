import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { defaultLease, guard, guardBeyond, type Subject, toSubject } from "../breaker/protect.ts"
import { type AnyEffect, makeTimeoutOrElse } from "../engine/timeout.ts"
import { Delay } from "../engine/timers.ts"
import * as Bulkhead from "../resilience/Bulkhead.ts"
import { type Retrying, retrying } from "../resilience/retry.ts"
import type { Direct } from "./direct.ts"
import { TimeoutError } from "./errors.ts"
import type { FallbackFunction } from "./failing.ts"
import { type DecodedProtection, policyOf } from "./fields.ts"
import { held } from "./held.ts"
import { toPlain } from "./plainErrors.ts"
import { readingResponses } from "./responses.ts"
import { watchedStream } from "./streams.ts"

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

const toLimited = (name: string, options: DecodedProtection["bulkhead"]) => {
  if (options === undefined) return (call: AnyEffect) => call
  const { holdUntil, ...slots } = options
  const bulkhead = Bulkhead.makeUnsafe({ name, ...slots })
  return holdUntil === undefined
    ? (call: AnyEffect): AnyEffect => Bulkhead.limit(call, bulkhead)
    : (call: AnyEffect, running: () => PromiseLike<unknown> | undefined) => held(bulkhead, call, running)
}

/** The checked options of a breaker, in the form that calls use. */
export interface Checked {
  readonly name: string
  readonly fallback: FallbackFunction | undefined
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
  /** The options for calls without a fiber; `undefined` if every call needs one. */
  readonly direct: Direct | undefined
  /** Whether the errors of rejections have a stack trace. */
  readonly rejectionStack: boolean
}

/** Checks decoded options, and builds the wrapper of calls. */
export const check = (operation: string, circuit: string, given: DecodedProtection): Checked => {
  const { fallback, isFailure, isIgnored, rejectionStack = false, retry = false, timeout = 10_000, until } = given
  const timeoutMillis = timeout === false ? Infinity : timeout
  const read = toSubject(operation, circuit, {
    policy: policyOf(given),
    ...(isFailure === undefined ? {} : { isFailure: (error: unknown) => isFailure(toPlain(error)) === true }),
    ...(isIgnored === undefined ? {} : { isIgnored: (error: unknown) => isIgnored(toPlain(error)) === true })
  })
  const of = { ...read, classify: readingResponses(read.classify) }
  const limited = toLimited(circuit, given.bulkhead)
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
  const again: Retrying = retry === false ? () => (call: AnyEffect) => call : retrying(retry)
  const unkeyed = again(of)
  const delay = timeoutMillis === Infinity ? undefined : new Delay(timeoutMillis)
  const guarded = until === undefined ? guard : guardStream
  return {
    name: circuit,
    fallback,
    subject: of,
    rejectionStack,
    direct:
      retry === false && given.bulkhead === undefined && until === undefined
        ? { subject: of, timeoutMillis, delay, fallback, rejectionStack, single: undefined }
        : undefined,
    around: (call, key, onLate, running) => {
      const inside = limited(timed(call, onLate), running)
      if (key === undefined) return unkeyed(guarded(inside, of))
      const target = { ...of, key }
      return again(target)(guarded(inside, target))
    }
  }
}
