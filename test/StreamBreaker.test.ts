import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Queue, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import { type BreakerStore, CircuitBreaker, type CircuitOpen } from "effect-fuse"
import { StreamBreaker } from "effect-fuse/queue"
import { expectState, quick, rejectionIn, scenario } from "./support/verbs.ts"

/** A source that says what was pulled from it, one element at a time. */
const source = (n: number) => {
  const pulled: Array<number> = []
  return {
    pulled,
    stream: Stream.range(1, n).pipe(
      Stream.rechunk(1),
      Stream.tap((i) => Effect.sync(() => pulled.push(i)))
    )
  }
}

/** Something that is down for a while. */
const dependency = () => {
  const calls: Array<number> = []
  const self = {
    down: false,
    calls,
    save: (n: number) =>
      Effect.suspend(() => {
        calls.push(n)
        return self.down ? Effect.fail("down") : Effect.succeed(n * 10)
      })
  }
  return self
}

const tens = (n: number) => Array.from({ length: n }, (_, i) => (i + 1) * 10)

describe("a stream under a circuit", () => {
  scenario("gives what its function gives, in order", quick, function* () {
    const { stream } = source(5)
    const { save } = dependency()
    assert.deepStrictEqual(yield* Stream.runCollect(StreamBreaker.mapEffect(stream, "api", save)), tens(5))
  })

  scenario("pulls no further item while the circuit is open, and continues afterwards", quick, function* () {
    const { pulled, stream } = source(5)
    const { calls, save } = dependency()
    yield* CircuitBreaker.open("api")
    const fiber = yield* Effect.forkChild(Stream.runCollect(stream.pipe(StreamBreaker.mapEffect("api", save))), {
      startImmediately: true
    })
    yield* TestClock.adjust("9999 millis")
    assert.deepStrictEqual([pulled, calls], [[1], []])
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* Fiber.join(fiber), tens(5))
    assert.deepStrictEqual(calls, [1, 2, 3, 4, 5])
  })

  scenario("keeps the element in hand when the circuit opens, and loses none", quick, function* () {
    const queue = yield* Queue.unbounded<number>()
    const { calls, save } = dependency()
    const seen: Array<number> = []
    const fiber = yield* Effect.forkChild(
      Stream.fromQueue(queue).pipe(
        StreamBreaker.mapEffect("api", save),
        Stream.runForEach((n) => Effect.sync(() => seen.push(n)))
      ),
      { startImmediately: true }
    )
    yield* Queue.offer(queue, 1)
    yield* TestClock.adjust("1 millis")
    // It waits for an element by now: the next one meets an open circuit.
    yield* CircuitBreaker.isolate("api", { for: "1 minute" })
    yield* Queue.offerAll(queue, [2, 3, 4])
    yield* TestClock.adjust("59 seconds")
    assert.deepStrictEqual([seen, calls], [[10], [1]])
    yield* TestClock.adjust("2 seconds")
    assert.deepStrictEqual(seen, tens(4))
    assert.deepStrictEqual(calls, [1, 2, 3, 4])
    yield* Fiber.interrupt(fiber)
  })

  scenario("ends with its source, though the circuit is open", quick, function* () {
    const isolating = (n: number) => (n === 2 ? Effect.as(CircuitBreaker.isolate("api"), n) : Effect.succeed(n))
    const ran = Stream.runCollect(StreamBreaker.mapEffect(Stream.make(1, 2), "api", isolating))
    assert.deepStrictEqual(yield* ran, [1, 2])
  })

  scenario(
    "pulls in every state if a flag switches the circuit off",
    {
      ...quick,
      enabled: Effect.succeed(false)
    },
    function* () {
      yield* CircuitBreaker.protect(Effect.void, "api")
      yield* CircuitBreaker.isolate("api")
      const { save } = dependency()
      assert.deepStrictEqual(yield* Stream.runCollect(StreamBreaker.mapEffect(source(2).stream, "api", save)), tens(2))
    }
  )

  scenario("wakes when an operator closes the circuit, however long it was open", quick, function* () {
    yield* CircuitBreaker.isolate("api")
    const { stream } = source(2)
    const { save } = dependency()
    const fiber = yield* Effect.forkChild(Stream.runCollect(StreamBreaker.mapEffect(stream, "api", save)), {
      startImmediately: true
    })
    yield* TestClock.adjust("3 days")
    yield* CircuitBreaker.release("api")
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(yield* Fiber.join(fiber), tens(2))
  })

  scenario("waits as well for another circuit that its function passes", quick, function* () {
    yield* CircuitBreaker.isolate("inner", { for: "1 minute" })
    const { stream } = source(3)
    const { calls, save } = dependency()
    const fiber = yield* Effect.forkChild(
      Stream.runCollect(StreamBreaker.mapEffect(stream, "api", (n) => CircuitBreaker.protect(save(n), "inner"))),
      { startImmediately: true }
    )
    yield* TestClock.adjust("59 seconds")
    assert.deepStrictEqual(calls, [])
    yield* TestClock.adjust("2 seconds")
    assert.deepStrictEqual(yield* Fiber.join(fiber), tens(3))
    yield* expectState("Closed")
  })

  scenario("ends with the failure of an element, as other streams do", quick, function* () {
    const { stream } = source(3)
    const ran = StreamBreaker.mapEffect(stream, "api", (n) => (n === 2 ? Effect.fail("boom") : Effect.succeed(n)))
    assert.deepStrictEqual(yield* Effect.exit(Stream.runCollect(ran)), Exit.fail("boom"))
    yield* expectState("Open")
  })

  scenario("retries an element through an outage, by its schedule: each result once, in order", quick, function* () {
    const { stream } = source(20)
    const outage = dependency()
    const answered: Array<number> = []
    const fiber = yield* Effect.forkChild(
      stream.pipe(
        StreamBreaker.mapEffect("api", outage.save, { retry: { schedule: Schedule.spaced("100 millis") } }),
        Stream.runForEach((n) =>
          Effect.sync(() => {
            answered.push(n)
            // From here on it is down for a while.
            if (n === 50) outage.down = true
          })
        )
      ),
      { startImmediately: true }
    )
    for (let i = 0; i < 12; i++) yield* TestClock.adjust("5 seconds")
    assert.deepStrictEqual(answered, tens(5))
    assert.isAtMost(outage.calls.length, 5 + 1 + 6, "one call, and one probe every ten seconds")
    outage.down = false
    yield* TestClock.adjust("20 seconds")
    yield* Fiber.join(fiber)
    assert.deepStrictEqual(answered, tens(20))
  })

  scenario("ends when its attempts are used up, and waiting is none of them", quick, function* () {
    const { stream } = source(3)
    const outage = dependency()
    outage.down = true
    const fiber = yield* Effect.forkChild(
      Effect.exit(
        Stream.runCollect(
          stream.pipe(
            StreamBreaker.mapEffect("api", outage.save, { retry: { times: 2, schedule: Schedule.spaced("1 second") } })
          )
        )
      ),
      { startImmediately: true }
    )
    yield* TestClock.adjust("1 hour")
    assert.deepStrictEqual(yield* Fiber.join(fiber), Exit.fail("down"))
    assert.deepStrictEqual(outage.calls, [1, 1, 1])
  })

  scenario("works on many at once, and pulls no more than these while it waits", quick, function* () {
    const { pulled, stream } = source(100)
    const { save } = dependency()
    yield* CircuitBreaker.isolate("inner", { for: "1 minute" })
    const fiber = yield* Effect.forkChild(
      Stream.runCollect(
        StreamBreaker.mapEffect(stream, "api", (n) => CircuitBreaker.protect(save(n), "inner"), { concurrency: 4 })
      ),
      { startImmediately: true }
    )
    yield* TestClock.adjust("30 seconds")
    assert.isAtMost(pulled.length, 6)
    yield* TestClock.adjust("31 seconds")
    assert.deepStrictEqual(yield* Fiber.join(fiber), tens(100))
  })

  scenario(
    "tries a probe again that took too long, where elements are tried again",
    {
      ...quick,
      probeTimeout: "1 second"
    },
    function* () {
      const { stream } = source(1)
      let calls = 0
      const slowFirst = () => (++calls === 1 ? Effect.never : Effect.succeed(calls))
      const run = (options: StreamBreaker.Options<number, never>) =>
        Effect.forkChild(Effect.exit(Stream.runCollect(StreamBreaker.mapEffect(stream, "api", slowFirst, options))), {
          startImmediately: true
        })
      yield* CircuitBreaker.open("api")
      yield* TestClock.adjust("10 seconds")
      const once = yield* run({})
      yield* TestClock.adjust("1 second")
      assert.strictEqual(rejectionIn(yield* Fiber.join(once)).reason, "ProbeTimedOut")
      calls = 0
      yield* TestClock.adjust("1 minute")
      const again = yield* run({ retry: {} })
      yield* TestClock.adjust("1 second")
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* Fiber.join(again), Exit.succeed([2]))
    }
  )

  scenario("leaves nothing behind when it is interrupted", quick, function* () {
    const { stream } = source(3)
    const fiber = yield* Effect.forkChild(
      Stream.runDrain(StreamBreaker.mapEffect(stream, "api", () => Effect.never, { concurrency: 2 })),
      { startImmediately: true }
    )
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* CircuitBreaker.inspect("api")).inFlight, 2)
    yield* Fiber.interrupt(fiber)
    assert.strictEqual((yield* CircuitBreaker.inspect("api")).inFlight, 0)
  })

  it("has the types of both, and names invalid options", () => {
    const stream = Stream.make(1) as Stream.Stream<number, "source">
    const f = (n: number) => (n > 1 ? Effect.fail("boom" as const) : Effect.succeed(String(n)))
    expectTypeOf(stream.pipe(StreamBreaker.mapEffect("api", f))).toEqualTypeOf<
      Stream.Stream<string, "source" | "boom" | CircuitOpen.CircuitOpen, BreakerStore.BreakerStore>
    >()
    const map = StreamBreaker.mapEffect as (...args: ReadonlyArray<unknown>) => unknown
    assert.throws(() => map(stream, "", f), /StreamBreaker.mapEffect: name/)
    assert.throws(() => map(stream, "api", 1), /f: expected a function/)
    assert.throws(() => map(stream, "api", f, { concurrency: 0 }), /concurrency/)
    assert.throws(() => map(stream, "api", f, { unordered: 1 }), /unordered: expected true or false/)
    assert.throws(() => map(stream, "api", f, { retry: { times: -1 } }), /StreamBreaker.mapEffect: retry.times/)
    assert.throws(() => map(stream, "api", f, { retry: { waitForCircuit: "1 second" } }), /waitForCircuit/)
  })

  for (const [what, retry, calls] of [
    ["times", { times: 1, schedule: Schedule.forever }, 2],
    ["schedule", { schedule: Schedule.recurs(3) }, 4],
    ["while", { times: 9, schedule: Schedule.forever, while: () => false }, 1]
  ] as const) {
    scenario(`heeds the option retry.${what}`, {}, function* () {
      let made = 0
      const failing = Effect.suspend(() => {
        made++
        return Effect.fail("boom")
      })
      const mapped = StreamBreaker.mapEffect(Stream.make(1), "calm", () => failing, {
        retry,
        isFailure: () => false
      })
      assert.deepStrictEqual(yield* Effect.exit(Stream.runDrain(mapped)), Exit.fail("boom"))
      assert.strictEqual(made, calls)
    })
  }
})
