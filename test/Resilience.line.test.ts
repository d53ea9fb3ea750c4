import { assert, describe } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { CircuitBreaker, CircuitOpen, Resilience } from "effect-fuse"
import { fail, hang, inspect, quick, scenario } from "./support/verbs.ts"
import { perWave } from "./support/waves.ts"

const { breaker, pipeline, retry } = Resilience

/** Callers that wait for a circuit, each with the time at which its call began. */
const crowd = (
  size: number,
  options: { readonly apart?: number; readonly takes?: number; readonly bound?: "1 minute" } = {}
) =>
  Effect.gen(function* () {
    const { apart = 0, bound = "1 minute", takes = 0 } = options
    const waiting = pipeline(breaker("api"), retry({ times: 0, waitForCircuit: bound }))
    const began: Array<{ readonly who: number; readonly at: number }> = []
    const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
    for (let who = 0; who < size; who++) {
      const call = Effect.flatMap(
        Effect.clockWith((clock) => clock.currentTimeMillis),
        (at) => {
          began.push({ who, at })
          return Effect.sleep(takes)
        }
      )
      fibers.push(yield* Effect.forkChild(waiting(call), { startImmediately: true }))
      if (apart > 0) yield* TestClock.adjust(apart)
    }
    return { began, fibers }
  })

const orderOf = (began: ReadonlyArray<{ readonly who: number }>) => began.map(({ who }) => who)

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i)

describe("callers that wait for a circuit", () => {
  scenario(
    "go in waves after a close, each twice as large as the one before, the oldest first, and all of them go",
    quick,
    function* () {
      yield* CircuitBreaker.open("api", { for: "50 seconds" })
      const { began, fibers } = yield* crowd(500)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(began, [])
      yield* CircuitBreaker.close("api")
      for (let i = 0; i < 20; i++) yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(perWave(began, 10_000), [4, 8, 16, 32, 64, 128, 248])
      assert.deepStrictEqual(orderOf(began), range(0, 500))
      for (const fiber of fibers) assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
    }
  )

  scenario("that leave while they wait cost no other caller its turn", quick, function* () {
    yield* CircuitBreaker.open("api", { for: "50 seconds" })
    const { began, fibers } = yield* crowd(100)
    yield* TestClock.adjust("1 second")
    yield* Fiber.interruptAll(fibers.filter((_, who) => who % 2 === 0 && who < 20))
    yield* CircuitBreaker.close("api")
    yield* TestClock.adjust("150 millis")
    yield* Fiber.interruptAll(fibers.filter((_, who) => who % 2 === 0))
    yield* TestClock.adjust("1 second")
    const left = range(0, 100).filter(
      (who) => who % 2 === 1 || (who >= 20 && orderOf(began.slice(0, 12)).includes(who))
    )
    assert.deepStrictEqual(
      orderOf(began).toSorted((a, b) => a - b),
      left
    )
  })

  scenario(
    "wait again if the circuit opens between two waves, and the waves start again from the smallest",
    quick,
    function* () {
      yield* CircuitBreaker.open("api", { for: "50 seconds" })
      const { began } = yield* crowd(100)
      yield* TestClock.adjust("1 second")
      yield* CircuitBreaker.close("api")
      yield* TestClock.adjust("150 millis")
      assert.strictEqual(began.length, 12)
      yield* CircuitBreaker.open("api", { for: "50 seconds" })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(began.length, 12)
      yield* CircuitBreaker.close("api")
      for (let i = 0; i < 20; i++) yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(perWave(began.slice(12), 11_150), [4, 8, 16, 32, 28])
      assert.deepStrictEqual(orderOf(began), range(0, 100))
    }
  )

  scenario("keep their age if they are rejected again", { ...quick, probeTimeout: "5 seconds" }, function* () {
    yield* fail()
    const { began } = yield* crowd(20, { apart: 1, takes: 500 })
    // At the end of the cooldown, one of them is the probe.
    yield* TestClock.adjust("9980 millis")
    yield* TestClock.adjust("100 millis")
    assert.deepStrictEqual(orderOf(began), [0])
    const late = yield* crowd(1)
    yield* TestClock.adjust("3 seconds")
    assert.deepStrictEqual(orderOf(began), range(0, 20))
    assert.isAtLeast(late.began[0]?.at ?? 0, began.at(-1)?.at ?? Infinity)
  })

  scenario("are hardly rejected while another call probes", { ...quick, probeTimeout: "5 seconds" }, function* () {
    yield* fail()
    yield* crowd(500)
    yield* TestClock.adjust("9990 millis")
    const before = (yield* inspect()).totals.rejected
    yield* TestClock.adjust("10 millis")
    const probe = yield* hang()
    yield* TestClock.adjust("4 seconds")
    assert.isAtMost((yield* inspect()).totals.rejected - before, 10)
    yield* probe.end(Exit.succeed("ok"))
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* inspect()).totals.calls, 502)
  })

  scenario("fail as soon as it is certain that they cannot wait long enough", quick, function* () {
    yield* CircuitBreaker.open("api", { for: "50 seconds" })
    const { began, fibers } = yield* crowd(10)
    yield* TestClock.adjust("1 second")
    yield* CircuitBreaker.open("api", { for: "10 minutes" })
    yield* TestClock.adjust("59 seconds")
    for (const fiber of fibers) {
      const exit = yield* Fiber.await(fiber)
      const error = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
      assert.isTrue(error?._tag === "Fail" && CircuitOpen.isCircuitOpen(error.error))
    }
    assert.deepStrictEqual(began, [])
  })
})
