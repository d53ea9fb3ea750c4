import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import { Arbitrary, Cause, Context, Effect, Exit, Schema } from "effect"
import { makeTimeout } from "../src/engine/timeout.ts"

/*
 * `Resilience.timeout` and `Effect.timeout` run the same generated programs, and must do the same at the same time. Fake timers make
 * this exact: both use the live clock, whose time they control.
 */

type Program = Effect.Effect<unknown, unknown>
type Timeout = (self: Program, millis: number) => Program

const Service = Context.Reference<number>("timeout.property.test/Service", { defaultValue: () => 0 })

/** What ends a program, and what a program does first or has around it. */
const ends = ["succeed", "fail", "die", "interrupt", "never"] as const
const steps = [
  "sleep",
  "sleep",
  "sleep",
  "yield",
  "log",
  "ensuring",
  "onInterrupt",
  "release",
  "uninterruptible",
  "interruptible",
  "timeout",
  "timeout",
  "provide",
  "span",
  "catch",
  "fork",
  "then"
] as const
const millis = Arbitrary.schema(Schema.Literals([1, 2, 3, 5, 8, 13]))
const token = (ops: ReadonlyArray<Op>) => Arbitrary.all({ op: Arbitrary.schema(Schema.Literals(ops)), millis })
// Few of them end early.
const programs = Arbitrary.array(token([...steps, ...steps, ...steps, ...steps, ...ends]), {
  minLength: 6,
  maxLength: 18
})

type Op = (typeof ends)[number] | (typeof steps)[number]

interface Token {
  readonly op: Op
  readonly millis: number
}

/** What an error or a cause is, without the numbers of fibers. */
const shown = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.isSuccess(exit)
    ? ["Success", exit.value]
    : exit.cause.reasons.map((reason) => {
        if (Cause.isFailReason(reason)) {
          return reason.error instanceof Cause.TimeoutError ? ["TimeoutError", reason.error.message] : reason.error
        }
        return Cause.isDieReason(reason) ? ["Die", String(reason.defect)] : "Interrupt"
      })

/** Makes a program of tokens. It logs what it does, and what a fiber sees of its services and of its span. */
const build = (tokens: ReadonlyArray<Token>, timeout: Timeout, log: (entry: string) => void): Program => {
  const rest = [...tokens]
  const say = (what: string): Effect.Effect<void> =>
    Effect.gen(function* () {
      const service = yield* Service
      const span = yield* Effect.option(Effect.currentSpan)
      log(`${what} service=${service} span=${span._tag === "Some" ? span.value.name : ""}`)
    })
  const next = (): Program => {
    const one = rest.shift()
    if (one === undefined) return Effect.as(say("end"), "end")
    const { millis, op } = one
    const id = `${op} ${tokens.length - rest.length}`
    switch (op) {
      case "succeed":
        return Effect.as(say(id), id)
      case "fail":
        return Effect.andThen(say(id), Effect.fail(id))
      case "die":
        return Effect.andThen(say(id), Effect.die(id))
      case "interrupt":
        return Effect.andThen(say(id), Effect.interrupt)
      case "never":
        return Effect.never
      case "sleep":
        return Effect.andThen(Effect.sleep(3 * millis), next())
      case "yield":
        return Effect.andThen(Effect.yieldNow, next())
      case "log":
        return Effect.andThen(say(id), next())
      case "ensuring":
        return Effect.ensuring(next(), Effect.andThen(say(id), Effect.andThen(Effect.sleep(millis), say(`${id} over`))))
      case "onInterrupt":
        return Effect.onInterrupt(next(), () => say(id))
      case "release":
        return Effect.acquireUseRelease(
          Effect.andThen(Effect.sleep(millis), say(id)),
          () => next(),
          (_, exit) => say(`${id} released ${JSON.stringify(shown(exit))}`)
        )
      case "uninterruptible":
        return Effect.uninterruptible(next())
      case "interruptible":
        return Effect.interruptible(next())
      case "timeout":
        return timeout(next(), millis - 1)
      case "provide":
        return Effect.provideService(next(), Service, millis)
      case "span":
        return Effect.withSpan(next(), id)
      case "catch":
        return Effect.matchCauseEffect(next(), {
          onFailure: (cause) => Effect.andThen(say(`${id} ${JSON.stringify(shown(Exit.failCause(cause)))}`), next()),
          onSuccess: (value) => Effect.as(say(id), value)
        })
      case "fork":
        return Effect.flatMap(Effect.forkChild(next()), () => next())
      case "then": {
        const first = next()
        return Effect.andThen(first, next())
      }
      default:
        return op satisfies never
    }
  }
  return next()
}

const realImmediate = globalThis.setImmediate
/** Lets all fibers run that can. */
const settle = async () => {
  for (let i = 0; i < 8; i++) await new Promise<void>((resolve) => realImmediate(resolve))
}

/** Runs a program until it ends, and at most as long as any of these programs takes. */
const run = async (
  tokens: ReadonlyArray<Token>,
  timeout: Timeout,
  interruptAt: number
): Promise<ReadonlyArray<unknown>> => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] })
  try {
    const entries: Array<unknown> = []
    const from = Date.now()
    const log = (entry: unknown) => void entries.push(`${Date.now() - from}: ${entry}`)
    const fiber = Effect.runFork(timeout(build(tokens, timeout, log), 30))
    fiber.addObserver((exit) => log(JSON.stringify(shown(exit))))
    for (let now = 0; now < 200 && fiber.pollUnsafe() === undefined; now++) {
      await settle()
      if (now === interruptAt) {
        log("interrupt")
        fiber.interruptUnsafe()
        await settle()
      }
      vi.advanceTimersByTime(1)
    }
    await settle()
    entries.push(`timers: ${vi.getTimerCount()}`)
    return entries
  } finally {
    vi.useRealTimers()
  }
}

const ofEffect: Timeout = (self, millis) => Effect.timeout(self, millis)
const ofUs: Timeout = (self, millis) => makeTimeout(millis)(self)

afterEach(() => void vi.useRealTimers())

describe("A timeout does what Effect.timeout does", () => {
  it.effect.prop(
    "in generated programs that succeed, fail, die, hang, fork and are interrupted",
    { tokens: programs, interruptAt: Arbitrary.schema(Schema.Literals([-1, -1, -1, -1, 0, 3, 6, 11])) },
    ({ interruptAt, tokens }) =>
      Effect.promise(async () => {
        const expected = await run(tokens, ofEffect, interruptAt)
        assert.deepStrictEqual(await run(tokens, ofUs, interruptAt), expected)
      }),
    { arbitrary: { runs: 400, size: 18, seed: "timeout" }, timeout: 120_000 }
  )
})
