import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import {
  type CallContext,
  CircuitOpenError,
  createBreaker,
  type Protection,
  type Signal,
  trip
} from "effect-fuse/promise"
import { oneOf, runs } from "./support/garbage.ts"

/*
 * A promise breaker makes most calls without a fiber. With a bulkhead it makes all of them as effects. So two breakers that differ only
 * in a bulkhead that is never full must do the same at the same time, whatever happens.
 */

const realImmediate = globalThis.setImmediate

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

/** Advances the fake time. At the end nothing is left to do at that time. */
const advance = async (millis: number): Promise<void> => {
  await vi.advanceTimersByTimeAsync(millis)
  // Some rejections wait for a turn of the real event loop.
  for (let i = 0; i < 2; i++) await new Promise<void>((resolve) => void realImmediate(resolve))
}

// ---- Generators -----------------------------------------------------------------------------------------------------

interface Call {
  readonly _tag: "call"
  /** `argument`: only the function has the signal. `silent`: the signal is aborted without an event. */
  readonly how: "execute" | "run" | "argument" | "silent"
  readonly key: string | undefined
  readonly end:
    | "value"
    | "object"
    | "fail"
    | "answer"
    | "ignored"
    | "overloaded"
    | "rejection"
    | "aborted"
    | "status 503"
    | "response of Effect"
    | "throw"
    | "thenable"
    | "plain value"
    | "never"
  /** How long the function takes; 0 if it settles at once. */
  readonly takes: number
  /** Whether the function rejects when its signal is aborted. */
  readonly listens: boolean
  /** When the caller's signal is aborted; below 0 before the call. */
  readonly abortAfter: number
}

interface OperatorAction {
  readonly _tag: "action"
  readonly action: "isolate" | "disable" | "release" | "open" | "close" | "reset"
  readonly key: string | undefined
  readonly millis: number
}

interface Pause {
  readonly _tag: "pause"
  readonly millis: number
}

type Step = Call | OperatorAction | Pause

const anyCall: Arbitrary.Arbitrary<Call> = Arbitrary.all({
  _tag: oneOf(["call"]),
  how: oneOf(["execute", "execute", "run", "argument", "silent"]),
  key: oneOf([undefined, undefined, undefined, "a", "b"]),
  end: oneOf([
    ...(["value", "value", "object", "fail", "fail", "fail", "fail", "answer", "ignored", "overloaded"] as const),
    ...([
      "rejection",
      "aborted",
      "status 503",
      "response of Effect",
      "throw",
      "thenable",
      "plain value",
      "never"
    ] as const)
  ]),
  takes: oneOf([0, 0, 0, 0, 100, 600, 1_000, 2_000, 2_500, 40_000]),
  listens: oneOf([false, true]),
  abortAfter: oneOf([Infinity, Infinity, Infinity, Infinity, -1, 0, 50, 700])
})
const anyAction: Arbitrary.Arbitrary<OperatorAction> = Arbitrary.all({
  _tag: oneOf(["action"]),
  action: oneOf(["isolate", "disable", "release", "release", "open", "close", "reset"]),
  key: oneOf([undefined, undefined, "a"]),
  millis: oneOf([Infinity, 500, 3_000])
})
const anyPause: Arbitrary.Arbitrary<Pause> = Arbitrary.all({
  _tag: oneOf(["pause"]),
  millis: oneOf([1, 99, 500, 1_000, 1_001, 5_000, 31_000])
})
const steps: Arbitrary.Arbitrary<ReadonlyArray<Step>> = Arbitrary.array(
  Arbitrary.flatMap(
    oneOf<Arbitrary.Arbitrary<Step>>([anyCall, anyCall, anyCall, anyCall, anyCall, anyPause, anyPause, anyAction]),
    (step) => step
  ),
  { minLength: 1, maxLength: 40 }
)

type Options = Protection<Array<unknown>, unknown>

const options: Arbitrary.Arbitrary<Options> = Arbitrary.map(
  Arbitrary.all({
    trip: oneOf([
      trip.consecutive(2),
      trip.consecutive(2),
      trip.failureRate({ threshold: 0.5, minimumCalls: 3, over: "5s" }),
      trip.failures({ atLeast: 2, of: 4 }),
      trip.slowRate({ threshold: 0.5, minimumCalls: 2, over: 4 }),
      trip.any(trip.consecutive(3), trip.stuck({ calls: 2, olderThan: "1s" })),
      trip.custom("broken", () => {
        throw new Error("a rule that throws")
      }),
      undefined
    ]),
    timeout: oneOf([false, false, 1_000, 3_000, undefined] as const),
    cooldown: oneOf([1_000, { exponential: 500, factor: 3 }, undefined] as const),
    slowCall: oneOf([500, undefined]),
    probes: oneOf([1, 2]),
    successesToClose: oneOf([1, 2]),
    probeTimeout: oneOf([700, undefined]),
    ramp: oneOf([undefined, undefined, 2_000]),
    mode: oneOf(["enforce", "enforce", "enforce", "observe"] as const),
    enabled: oneOf([undefined, undefined, undefined, () => true]),
    readsErrors: oneOf([false, true, "throws"] as const),
    fallback: oneOf([undefined, undefined, "value", "throws"] as const)
  }),
  ({ fallback, readsErrors, ...policy }): Options => ({
    ...policy,
    ...(readsErrors === false
      ? {}
      : {
          isFailure: (error: unknown) => {
            if (readsErrors === "throws") throw new Error("a predicate that throws")
            return !(error instanceof Answer)
          },
          isIgnored: (error: unknown) => error instanceof IgnoredError
        }),
    ...(fallback === undefined
      ? {}
      : {
          fallback: (error: unknown, ...args: ReadonlyArray<unknown>) => {
            if (fallback === "throws") throw new Error("a fallback that throws", { cause: error })
            return ["instead of", shown(error), args.length]
          }
        })
  })
)

// ---- How it is played -----------------------------------------------------------------------------------------------

class Answer extends Error {}
class IgnoredError extends Error {}

const ofAnother = new CircuitOpenError({
  message: "another circuit is open",
  circuit: "another",
  state: "Open",
  scope: "local",
  reason: "Cooldown",
  retryAfter: 10,
  openings: 1
})

/** What a caller can see of a value or an error. */
const shown = (value: unknown): unknown => {
  if (value instanceof DOMException) return [value.name, value.message]
  if (!(value instanceof Error)) return value
  const { cause, message, name, ...fields } = { ...value, cause: value.cause, message: value.message, name: value.name }
  return {
    is: value.constructor.name,
    name,
    message,
    ...fields,
    stack: value instanceof CircuitOpenError ? value.stack : undefined,
    cause: shown(cause)
  }
}

const made = ({ end, takes }: Call, signal: AbortSignal | undefined): unknown => {
  const settle = (resolve: (value: unknown) => void, reject: (error: unknown) => void): unknown => {
    switch (end) {
      case "fail":
        return reject(new Error("down"))
      case "answer":
        return reject(new Answer("no such user"))
      case "ignored":
        return reject(new IgnoredError("not your fault"))
      case "overloaded":
        return reject(Object.assign(new Error("overloaded"), { retryAfter: 4_000 }))
      case "rejection":
        return reject(ofAnother)
      case "aborted":
        return reject(new DOMException("aborted", "AbortError"))
      case "response of Effect":
        return resolve({ "~effect/http/HttpClientResponse": 1, status: 503, headers: { "retry-after": "5" } })
      case "status 503":
        return resolve(new Response("later", { status: 503, headers: { "retry-after": "3" } }))
      case "object":
        return resolve({ status: 200 })
      case "never":
        return undefined
      default:
        return resolve("value")
    }
  }
  if (end === "throw") throw new Error("thrown")
  if (end === "plain value") return "a plain value"
  const promise = new Promise((resolve, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason))
    if (takes === 0) settle(resolve, reject)
    else setTimeout(settle, takes, resolve, reject)
  })
  // biome-ignore lint/suspicious/noThenProperty: this is what is tested
  return end === "thenable" ? { then: promise.then.bind(promise) } : promise
}

/** A breaker, and all that can be seen of it. */
const play = (given: Options) => {
  /** What the callers and the functions have seen, each line with its time. Lines of one time have no order. */
  const log: Array<string> = []
  const note = (...what: ReadonlyArray<unknown>) => void log.push(JSON.stringify([Date.now(), ...what]))
  let calls = 0

  const called = (context: CallContext, step: Call, index: number, given?: AbortSignal): unknown => {
    note(index, "is called", calls)
    if (!step.listens) return made(step, undefined)
    const signal = given ?? context.signal
    signal.addEventListener("abort", () => note(index, "is aborted", shown(signal.reason)))
    return made(step, signal)
  }
  const breaker = createBreaker(
    function (this: CallContext, step: Call, index: number, signal?: AbortSignal) {
      return called(this, step, index, signal)
    },
    { name: "api", ...given } as never
  )
  breaker.on("transition", (event) => note("event", event))

  const call = (step: Call): void => {
    const index = calls++
    const control = new AbortController()
    const abort = () => control.abort(step.takes === 600 ? undefined : `left ${index}`)
    if (step.abortAfter < 0) abort()
    else if (step.abortAfter < Infinity) setTimeout(abort, step.abortAfter)
    const silent: Signal & { aborted: boolean } = { aborted: control.signal.aborted, addEventListener: () => {} }
    control.signal.addEventListener("abort", () => {
      silent.aborted = true
    })
    const signal = step.how === "silent" ? silent : control.signal
    const asked = { key: step.key, ...(step.abortAfter < Infinity ? { signal } : {}) }
    const promise =
      step.how === "run"
        ? breaker.run((context) => called(context, step, index), asked)
        : step.how === "argument"
          ? breaker.with({ key: step.key }).execute(step, index, control.signal)
          : step.key === undefined && step.abortAfter === Infinity
            ? breaker.execute(step, index)
            : breaker.with(asked).execute(step, index)
    promise.then(
      (value) => note(index, "answers", value instanceof Response ? value.status : value),
      (error) => note(index, "rejects", shown(error))
    )
  }

  return {
    step: async (step: Step): Promise<void> => {
      if (step._tag === "call") return call(step)
      if (step._tag === "pause") return
      const { action, key, millis } = step
      await breaker[action]({
        key,
        ...(millis < Infinity && action !== "release" && action !== "close" && action !== "reset"
          ? { for: millis }
          : {})
      })
    },
    seen: () => ({ log: [...log].sort(), metrics: [undefined, "a", "b"].map((key) => breaker.inspect(key)) }),
    shutdown: () => breaker.shutdown()
  }
}

const neverFull = { bulkhead: { concurrency: 1_000 } }

describe("A promise breaker that makes calls without a fiber", () => {
  it.live.prop(
    "does the same at the same times as a breaker whose calls are effects",
    [options, steps],
    ([given, steps]) =>
      Effect.promise(async () => {
        const both = [play(given), play({ ...given, ...neverFull })] as const
        const compare = (where: unknown) =>
          assert.deepStrictEqual(both[0].seen(), both[1].seen(), JSON.stringify(where))
        for (const [i, step] of steps.entries()) {
          for (const one of both) await one.step(step)
          await advance(step._tag === "pause" ? step.millis : 0)
          compare([i, step])
        }
        await advance(60_000)
        compare("the end")
        for (const one of both) await one.shutdown()
      }),
    { ...runs("direct", 500), timeout: 120_000 }
  )
})
