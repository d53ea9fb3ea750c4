import { AsyncLocalStorage } from "node:async_hooks"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { Resilience } from "effect-fuse"
import { alarm, makeTimeoutOrElse, sleep } from "../src/engine/timeout.ts"
import { ofProcess } from "../src/engine/timers.ts"
import * as clocks from "../src/promise/clock.ts"

const short = "20 millis"
const long = "1 hour"
const turns = Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))

describe("Resilience.timeout on the live clock", () => {
  it.live("ends a call that hangs, after its finalizers, and leaves no timer", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const call = Effect.never.pipe(Effect.onExit(() => Effect.sync(() => log.push("finalizer"))))
      const exit = yield* Effect.exit(Resilience.timeout(short)(call))
      log.push("ended")
      assert.deepStrictEqual(exit, Exit.fail(new Cause.TimeoutError("Operation timed out after '20ms'")))
      assert.deepStrictEqual(log, ["finalizer", "ended"])
      assert.strictEqual(ofProcess.waiting, 0)
    })
  )

  it.live("starts no timer for a call that ends without suspending", () =>
    Effect.gen(function* () {
      const call = Effect.sync(() => ofProcess.waiting)
      assert.strictEqual(yield* Resilience.timeout(long)(call), 0)
      assert.strictEqual(ofProcess.waiting, 0)
    })
  )

  it.live("stops its timer when the call ends, and when the caller is interrupted", () =>
    Effect.gen(function* () {
      yield* Resilience.timeout(long)(turns)
      assert.strictEqual(ofProcess.waiting, 0)
      const fiber = yield* Effect.forkChild(Resilience.timeout(long)(Effect.never), { startImmediately: true })
      assert.strictEqual(ofProcess.waiting, 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(ofProcess.waiting, 0)
    })
  )

  it.live("stops its timer when the caller is interrupted, also while the call cannot be", () =>
    Effect.gen(function* () {
      const end = yield* Deferred.make<void>()
      const call = Effect.uninterruptible(Deferred.await(end))
      const fiber = yield* Effect.forkChild(Resilience.timeout(long)(call), { startImmediately: true })
      fiber.interruptUnsafe()
      assert.strictEqual(ofProcess.waiting, 0)
      assert.isUndefined(fiber.pollUnsafe())
      yield* Deferred.succeed(end, undefined)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
    })
  )

  it.live("holds for each of ten thousand calls at once", () =>
    Effect.gen(function* () {
      const call = Resilience.timeout("50 millis")(Effect.never)
      const fibers = yield* Effect.forEach(Array.from({ length: 10_000 }), () => Effect.forkChild(Effect.flip(call)))
      const errors = yield* Fiber.joinAll(fibers)
      assert.isTrue(errors.every(Cause.isTimeoutError))
      assert.strictEqual(ofProcess.waiting, 0)
    })
  )

  it.live("goes on in the asynchronous context of its caller", () =>
    Effect.gen(function* () {
      const storage = new AsyncLocalStorage<string>()
      const read = Effect.sync(() => storage.getStore())
      const call = Effect.flatMap(Effect.exit(Resilience.timeout(short)(Effect.never)), () => read)
      const seen = storage.run("a request", () => Effect.runPromise(call))
      assert.strictEqual(yield* Effect.promise(() => seen), "a request")
    })
  )
})

describe("A timeout with something in place of its error", () => {
  it.live("makes it before the call is interrupted, and runs it after the call has ended", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const say = (what: string) => Effect.sync(() => void log.push(what))
      const call = Effect.onInterrupt(Effect.never, () => say("interrupted"))
      yield* makeTimeoutOrElse(20)(call, () => {
        log.push("late")
        return say("run")
      })
      assert.deepStrictEqual(log, ["late", "interrupted", "run"])
    })
  )

  it.live("dies with what making it throws, after the call has ended", () =>
    Effect.gen(function* () {
      let interrupted = false
      const call = Effect.onInterrupt(Effect.never, () =>
        Effect.sync(() => {
          interrupted = true
        })
      )
      const exit = yield* Effect.exit(
        makeTimeoutOrElse(20)(call, (): Effect.Effect<never> => {
          throw new Error("thrown")
        })
      )
      assert.deepStrictEqual([exit, interrupted], [Exit.die(new Error("thrown")), true])
    })
  )
})

describe("On any other clock", () => {
  it.effect("a timeout takes the time of that clock", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(Effect.exit(Resilience.timeout("1 hour")(Effect.never)))
      yield* TestClock.adjust("59 minutes")
      assert.isUndefined(fiber.pollUnsafe())
      assert.strictEqual(ofProcess.waiting, 0)
      yield* TestClock.adjust("1 minute")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
    })
  )

  it.effect("so does an alarm, until it is stopped", () =>
    Effect.gen(function* () {
      let rings = 0
      const one = yield* Effect.withFiber((fiber) => Effect.succeed(alarm(fiber, 1_000, () => rings++)))
      one.start()
      yield* TestClock.adjust("1 second")
      one.start()
      yield* TestClock.adjust("999 millis")
      one.stop()
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(rings, 1)
    })
  )
})

describe("A sleep that decides about a call", () => {
  it.live("lasts, and can be interrupted", () =>
    Effect.gen(function* () {
      yield* sleep(10)
      const fiber = yield* Effect.forkChild(sleep(3_600_000), { startImmediately: true })
      assert.strictEqual(ofProcess.waiting, 1)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(ofProcess.waiting, 0)
    })
  )

  it.live("of all time waits for nothing", () =>
    Effect.gen(function* () {
      const fiber = yield* Effect.forkChild(sleep(Infinity), { startImmediately: true })
      assert.strictEqual(ofProcess.waiting, 0)
      yield* Fiber.interrupt(fiber)
    })
  )
})

describe("The timeout of a call keeps the process alive", () => {
  const timers = () => process.getActiveResourcesInfo().filter((one) => one === "Timeout").length
  for (const [what, clock, kept] of [
    ["on the live clock", undefined, 1],
    ["in the foreground of a promise breaker", clocks.foreground, 1],
    ["but not in its background", clocks.background, 0]
  ] as const) {
    it.live(what, () =>
      Effect.gen(function* () {
        const before = timers()
        const call = Resilience.timeout("1 second")(Effect.never)
        const fiber = yield* Effect.forkChild(
          clock === undefined ? call : Effect.provideService(call, Clock.Clock, clock),
          { startImmediately: true }
        )
        assert.strictEqual(timers() - before, kept)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(timers() - before, 0)
      })
    )
  }
})
