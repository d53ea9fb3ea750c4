import { assert, describe } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, Fiber, Layer, pipe, Queue, Stream } from "effect"
import { AiError, LanguageModel, Model, type Response } from "effect/ai"
import { TestClock } from "effect/testing"
import { CircuitBreaker, Deadline, Resilience, Trip } from "effect-fuse"
import { AiBreaker } from "effect-fuse/ai"
import { inspect, quick, scenario } from "./support/verbs.ts"

type Part = Response.StreamPartEncoded
const token: Part = { type: "text-delta", id: "0", delta: "a" }
const finish = { type: "finish", reason: "stop", usage: { inputTokens: {}, outputTokens: {} } } as unknown as Part
const down = AiError.make({
  module: "Provider",
  method: "streamText",
  reason: new AiError.InternalProviderError({ description: "down" })
})

/** A model whose stream is this queue. */
const fromQueue = (queue: Queue.Dequeue<Part, AiError.AiError | Cause.Done>, options?: AiBreaker.Options) =>
  AiBreaker.layer(
    Layer.effect(
      LanguageModel.LanguageModel,
      LanguageModel.make({ generateText: () => Effect.never, streamText: () => Stream.fromQueue(queue) })
    ),
    { name: "api", ...options }
  )
const parts = LanguageModel.streamText({ prompt: "Hello" })
const begin = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })
const breathe = Effect.repeat(Effect.yieldNow, { times: 20 })
const totals = Effect.map(inspect(), ({ state, totals }) => [state, totals.successes, totals.failures, totals.ignored])

const five = { trip: Trip.consecutive(5), cooldown: "10 seconds" } as const

scenario("a stream counts once it has ended, while its scope is still open", five, function* () {
  for (const [last, expected] of [
    [finish, ["Closed", 1, 0, 0]],
    [token, ["Closed", 1, 1, 0]]
  ] as const) {
    const queue = yield* Queue.unbounded<Part, Cause.Done>()
    yield* Queue.offerAll(queue, [token, last])
    yield* Queue.end(queue)
    const reads = Effect.flatMap(Stream.toPull(parts), (pull) => Effect.exit(Effect.forever(pull)))
    yield* Effect.provide(reads, fromQueue(queue))
    assert.deepStrictEqual([yield* totals, (yield* inspect()).inFlight], [expected, 0])
  }
})

scenario("a silent stream is a Failure if the caller's deadline ends it after enough time", five, function* () {
  const queue = yield* Queue.unbounded<Part>()
  for (const deadline of ["100 millis", "10 seconds"] as const) {
    const reads = Deadline.within(Effect.provide(Stream.runDrain(parts), fromQueue(queue)), deadline)
    const fiber = yield* begin(Effect.exit(reads))
    yield* TestClock.adjust(deadline)
    yield* Fiber.join(fiber)
  }
  assert.deepStrictEqual(yield* totals, ["Closed", 0, 1, 1])
})

describe("the timeouts of a stream", () => {
  scenario("the first token has a minute by default, and announcements do not extend it", five, function* () {
    const queue = yield* Queue.unbounded<Part>()
    const fiber = yield* begin(Effect.provide(Stream.runDrain(parts), fromQueue(queue)))
    yield* TestClock.adjust("40 seconds")
    yield* Queue.offer(queue, { type: "text-start", id: "0" })
    yield* breathe
    yield* TestClock.adjust("19 seconds")
    assert.deepStrictEqual(yield* totals, ["Closed", 0, 0, 0])
    yield* TestClock.adjust("1 second")
    assert.include(String(yield* Fiber.await(fiber)), "no token arrived within 1m")
    assert.deepStrictEqual(yield* totals, ["Closed", 0, 1, 0])
  })

  scenario("the time of a slow consumer does not count as a pause between tokens", five, function* () {
    const queue = yield* Queue.unbounded<Part, Cause.Done>()
    yield* Queue.offerAll(queue, [token])
    const slow = Stream.runForEach(parts, () => Effect.sleep("10 minutes"))
    const fiber = yield* begin(Effect.provide(slow, fromQueue(queue)))
    yield* TestClock.adjust("9 minutes")
    yield* Queue.offerAll(queue, [token, finish])
    yield* Queue.end(queue)
    yield* TestClock.adjust("1 hour")
    assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
    assert.deepStrictEqual(yield* totals, ["Closed", 1, 0, 0])
  })

  scenario("false disables them", five, function* () {
    const queue = yield* Queue.unbounded<Part>()
    const options = { firstToken: false, betweenTokens: false, timeout: false } as const
    const stream = yield* begin(Effect.provide(Stream.runDrain(parts), fromQueue(queue, options)))
    const text = yield* begin(
      Effect.provide(LanguageModel.generateText({ prompt: "Hello" }), fromQueue(queue, options))
    )
    yield* TestClock.adjust("1 day")
    assert.deepStrictEqual([stream.pollUnsafe(), text.pollUnsafe()], [undefined, undefined])
    yield* Fiber.interruptAll([stream, text])
    assert.deepStrictEqual(yield* totals, ["Closed", 0, 0, 2])
  })

  scenario(
    "their error has a TimeoutError as its cause, which the limit of a circuit counts",
    { limit: true },
    function* () {
      const queue = yield* Queue.unbounded<Part>()
      const fiber = yield* begin(Effect.provide(Stream.runDrain(parts), fromQueue(queue)))
      yield* TestClock.adjust("1 minute")
      const exit = yield* Fiber.await(fiber)
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.isTrue(AiError.isAiError(error) && Cause.isTimeoutError((error.reason as { cause?: unknown }).cause))
    }
  )
})

describe("a stream that is a probe", () => {
  scenario("closes the circuit at its first token, and a later failure does not count", quick, function* () {
    const queue = yield* Queue.unbounded<Part, AiError.AiError>()
    yield* CircuitBreaker.open("api")
    yield* TestClock.adjust("10 seconds")
    const fiber = yield* begin(Effect.provide(Stream.runDrain(parts), fromQueue(queue)))
    yield* breathe
    assert.strictEqual((yield* inspect()).state, "HalfOpen")
    yield* Queue.offer(queue, token)
    yield* breathe
    assert.strictEqual((yield* inspect()).state, "Closed")
    yield* Queue.fail(queue, down)
    yield* Fiber.await(fiber)
    assert.deepStrictEqual(yield* totals, ["Closed", 1, 0, 0])
  })

  scenario("opens the circuit again if the first token does not arrive", quick, function* () {
    const queue = yield* Queue.unbounded<Part>()
    yield* CircuitBreaker.open("api")
    yield* TestClock.adjust("10 seconds")
    const fiber = yield* begin(Effect.provide(Stream.runDrain(parts), fromQueue(queue)))
    yield* TestClock.adjust("1 minute")
    yield* Fiber.await(fiber)
    assert.strictEqual((yield* inspect()).state, "Open")
  })

  scenario("returns its lease if its consumer is interrupted", quick, function* () {
    const queue = yield* Queue.unbounded<Part>()
    yield* CircuitBreaker.open("api")
    yield* TestClock.adjust("10 seconds")
    const fiber = yield* begin(Effect.provide(Stream.runDrain(parts), fromQueue(queue)))
    yield* breathe
    yield* Fiber.interrupt(fiber)
    yield* CircuitBreaker.protect(Effect.void, "api", { policy: { probeTimeout: "2 minutes" } })
    assert.strictEqual((yield* inspect()).state, "Closed")
  })
})

describe("an AiError of a rejection", () => {
  const failing = AiBreaker.layer(
    Model.make(
      "api",
      "large",
      Layer.effect(
        LanguageModel.LanguageModel,
        LanguageModel.make({ generateText: () => Effect.fail(down), streamText: () => Stream.fail(down) })
      )
    )
  )
  const text = LanguageModel.generateText({ prompt: "Hello" })

  scenario("does not count for a circuit around the call", quick, function* () {
    const outer = CircuitBreaker.protect(Effect.provide(text, failing), "chat")
    yield* CircuitBreaker.isolate("api", { key: "large" })
    yield* Effect.exit(outer)
    const { state, totals } = yield* CircuitBreaker.inspect("chat")
    assert.deepStrictEqual([state, totals.ignored], ["Closed", 1])
  })

  scenario("is not retried if the circuit stays open for longer than a retry may wait", quick, function* () {
    let calls = 0
    const limited = AiError.make({
      module: "Provider",
      method: "generateText",
      reason: new AiError.RateLimitError({ retryAfter: Duration.hours(2) })
    })
    const model = AiBreaker.layer(
      Layer.effect(
        LanguageModel.LanguageModel,
        LanguageModel.make({
          generateText: () =>
            Effect.suspend(() => {
              calls++
              return Effect.fail(limited)
            }),
          streamText: () => Stream.empty
        })
      ),
      { name: "api" }
    )
    const retried = Effect.flip(Effect.provide(pipe(text, Resilience.retry({ times: 3 })), model))
    assert.strictEqual(yield* retried, limited)
    assert.strictEqual(AiBreaker.circuitOpen(yield* retried)?.reason, "Cooldown")
    assert.strictEqual(calls, 1)
  })
})
