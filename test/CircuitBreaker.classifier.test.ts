import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { CircuitBreaker as Effects } from "effect/persistence"
import { TestClock } from "effect/testing"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Outcome, Resilience } from "effect-fuse"
import * as EffectCircuitBreaker from "effect-fuse/EffectCircuitBreaker"
import { HttpClientBreaker } from "effect-fuse/http"
import { JobBreaker, StreamBreaker } from "effect-fuse/queue"
import { call, capture, expectState, fail, inspect, type Line, quick, scenario } from "./support/verbs.ts"

const policies = Layer.orDie(BreakerPolicy.layer({ default: { ...quick, cooldown: "10 seconds", probes: 1 } }))
const services = Layer.provideMerge(EffectCircuitBreaker.layer("api"), Layer.merge(BreakerStore.layerMemory, policies))

type Services = BreakerStore.BreakerStore | Effects.CircuitBreaker
type Classify = () => Effect.Effect<Outcome.Outcome>

const key = "k"
const answer = Effect.succeed("answer")
const seen = Effect.map(CircuitBreaker.inspect("api", { key }), ({ inFlight, probing, totals }) => ({
  inFlight,
  probing,
  calls: totals.calls,
  successes: totals.successes,
  failures: totals.failures,
  ignored: totals.ignored
}))

const client = (classify: Classify) =>
  HttpClient.make((request) =>
    Effect.succeed(
      HttpClientResponse.fromWeb(
        request,
        new Response(
          new ReadableStream({
            start: (stream) => {
              stream.enqueue(new TextEncoder().encode("answer"))
              stream.close()
            }
          })
        )
      )
    )
  ).pipe(HttpClientBreaker.protect("api", { classify, key, body: true }))

/** Every way to make a call whose classifier is an effect. Each call ends at once, so that only its classifier can wait. */
const ways: Readonly<Record<string, (classify: Classify) => Effect.Effect<unknown, unknown, Services>>> = {
  protect: (classify) => CircuitBreaker.protect(answer, "api", { classify, key }),
  "protect around a failure": (classify) => CircuitBreaker.protect(Effect.fail("down"), "api", { classify, key }),
  forEach: (classify) => CircuitBreaker.forEach([1], () => answer, { name: "api", classify, key }),
  "Resilience.breaker": (classify) => Resilience.breaker("api", { classify, key })(answer),
  "JobBreaker.protect": (classify) => JobBreaker.protect(answer, "api", { classify, key, release: () => Effect.void }),
  "StreamBreaker.mapEffect": (classify) =>
    Stream.runDrain(StreamBreaker.mapEffect(Stream.make(1), "api", () => answer, { classify, key })),
  "the service of Effect": (classify) =>
    Effects.CircuitBreaker.use((one) => one.execute(answer, { key, classify: () => classify() as never })),
  "the text of a response": (classify) =>
    Effect.flatMap(client(classify).get("https://a.test"), ({ text }) => text) as Effect.Effect<
      unknown,
      unknown,
      Services
    >,
  "the stream of a response": (classify) =>
    Effect.flatMap(client(classify).get("https://a.test"), ({ stream }) => Stream.runDrain(stream)) as Effect.Effect<
      unknown,
      unknown,
      Services
    >
}

const hanging: Classify = () => Effect.as(Effect.never, Outcome.success)

describe("A classifier that hangs", () => {
  for (const [way, run] of Object.entries(ways)) {
    it.effect(`is interrupted with the caller of ${way}, and the outcome is Ignored`, () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.forkDetach(run(hanging), { startImmediately: true })
        for (let i = 0; i < 50; i++) yield* Effect.yieldNow
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        assert.isUndefined(fiber.pollUnsafe())
        assert.deepInclude(yield* seen, { calls: 1, successes: 0, failures: 0, ignored: 0 })
        const interrupted = yield* Effect.forkDetach(Fiber.interrupt(fiber), { startImmediately: true })
        for (let i = 0; i < 50; i++) yield* Effect.yieldNow
        assert.isDefined(interrupted.pollUnsafe(), "the interruption does not end")
        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
        assert.deepStrictEqual(yield* seen, {
          inFlight: 0,
          probing: 0,
          calls: 1,
          successes: 0,
          failures: 0,
          ignored: 1
        })
      }).pipe(Effect.provide(services))
    )
  }

  it.effect("ends with a timeout around the call", () =>
    Effect.gen(function* () {
      const call = CircuitBreaker.protect(answer, "api", { classify: hanging, key })
      const fiber = yield* Effect.forkDetach(Effect.flip(Effect.timeout(call, "100 millis")), {
        startImmediately: true
      })
      yield* TestClock.adjust("100 millis")
      assert.isDefined(fiber.pollUnsafe())
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "TimeoutError")
      assert.deepInclude(yield* seen, { ignored: 1 })
    }).pipe(Effect.provide(services))
  )

  it.effect("frees the slot of its probe when it is interrupted", () =>
    Effect.gen(function* () {
      yield* CircuitBreaker.open("api", { key })
      yield* TestClock.adjust("10 seconds")
      const call = CircuitBreaker.protect(answer, "api", { classify: hanging, key })
      const fiber = yield* Effect.forkDetach(call, { startImmediately: true })
      assert.deepInclude(yield* seen, { probing: 1 })
      yield* Fiber.interrupt(fiber)
      assert.deepInclude(yield* seen, { probing: 0, ignored: 1 })
      assert.strictEqual(yield* CircuitBreaker.protect(answer, "api", { key }), "answer")
      assert.strictEqual(yield* CircuitBreaker.state("api", { key }), "Closed")
    }).pipe(Effect.provide(services))
  )
})

describe("A classifier inside an uninterruptible region", () => {
  const inside: Readonly<Record<string, (classify: Classify) => Effect.Effect<unknown, unknown, Services>>> = {
    protect: (classify) => Effect.uninterruptible(CircuitBreaker.protect(answer, "api", { classify, key })),
    "the text of a response": (classify) =>
      Effect.flatMap(client(classify).get("https://a.test"), ({ text }) =>
        Effect.uninterruptible(text)
      ) as Effect.Effect<unknown, unknown, Services>
  }
  for (const [way, run] of Object.entries(inside)) {
    it.effect(`runs to its end, as the call itself does: ${way}`, () =>
      Effect.gen(function* () {
        const slow: Classify = () => Effect.as(Effect.sleep("1 second"), Outcome.failure())
        const fiber = yield* Effect.forkDetach(run(slow), { startImmediately: true })
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        yield* Effect.forkDetach(Fiber.interrupt(fiber), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* Fiber.await(fiber)
        assert.deepInclude(yield* seen, { failures: 1, ignored: 0 })
      }).pipe(Effect.provide(services))
    )
  }
})

it.effect("A classifier that interrupts itself is reported, and the circuit reads the exit as by default", () =>
  Effect.gen(function* () {
    const lines: Array<Line> = []
    const call = CircuitBreaker.protect(answer, "api", { classify: () => Effect.interrupt, key })
    assert.strictEqual(yield* capture(lines, call), "answer")
    assert.deepInclude(yield* seen, { successes: 1, ignored: 0 })
    assert.include(lines[0]?.message, 'A classifier of the circuit "api" ["k"] failed')
  }).pipe(Effect.provide(services))
)

describe("A value that is not an Outcome", () => {
  const failure = (fields: object) => ({ _tag: "Failure", weight: 1, ...fields })
  const cases: ReadonlyArray<readonly [what: string, outcome: unknown]> = [
    ["nothing", undefined],
    ["another tag", { _tag: "Failed", weight: 1 }],
    ["a weight of NaN", failure({ weight: Number.NaN })],
    ["an infinite weight", failure({ weight: Infinity })],
    ["a weight above what Outcome.failure takes", failure({ weight: 1_000_001 })],
    ["a retryAfter that is not a duration", failure({ retryAfter: "soon" })],
    ["a scope that there is not", failure({ scope: "tenant" })],
    ["a retryAfter of null", failure({ retryAfter: null })],
    ["a retryAfter with an unknown field", failure({ retryAfter: { minute: 5 } })]
  ]
  for (const [what, outcome] of cases) {
    scenario(
      `from a classifier leaves the result of the call alone and is classified by default: ${what}`,
      quick,
      function* () {
        const lines: Array<Line> = []
        const read = CircuitBreaker.protect(Effect.fail("boom"), "api", { classify: () => outcome as never })
        assert.deepStrictEqual(yield* capture(lines, Effect.exit(read)), Exit.fail("boom"))
        yield* expectState("Open")
        assert.deepStrictEqual(
          lines.filter(({ level }) => level === "Error").map(({ message }) => message.split(";")[0]),
          ['A classifier of the circuit "api" failed']
        )
        yield* TestClock.adjust("10 seconds")
        assert.deepStrictEqual(yield* Effect.exit(read), Exit.fail("boom"))
        const { openings, probing, state } = yield* inspect()
        assert.deepStrictEqual([state, openings, probing], ["Open", 2, 0])
      }
    )

    scenario(`does not settle a permit, which can still be settled: ${what}`, quick, function* () {
      const permit = yield* CircuitBreaker.admit("api")
      const exit = yield* Effect.exit(CircuitBreaker.settle(permit, outcome as never))
      assert.instanceOf(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, TypeError)
      assert.strictEqual((yield* inspect()).inFlight, 1)
      yield* CircuitBreaker.settle(permit, Outcome.failure())
      yield* expectState("Open")
    })
  }
})

const unprintable: ReadonlyArray<readonly [what: string, error: unknown]> = [
  [
    "whose toJSON gives nothing and that has no prototype",
    Object.assign(Object.create(null), { toJSON: () => undefined })
  ],
  [
    "whose toString throws",
    {
      toJSON: () => undefined,
      toString: () => {
        throw new Error("no")
      }
    }
  ],
  ["whose message is a symbol", Object.assign(new Error(), { message: Symbol("x") })]
]
for (const [what, error] of unprintable) {
  scenario(`an error ${what} is a Failure`, quick, function* () {
    const exit = yield* Effect.exit(call(Effect.fail(error)))
    assert.isTrue(Exit.hasFails(exit) && !Exit.hasDies(exit))
    yield* expectState("Open")
  })
}

for (const [what, classify] of [
  ["synchronously", () => undefined as never],
  ["as an effect", () => Effect.succeed({ _tag: "Fine" } as never)]
] as const) {
  scenario(
    `a classifier that returns no outcome ${what} is logged, and the exit is classified by default`,
    quick,
    function* () {
      yield* fail()
      yield* TestClock.adjust("10 seconds")
      const lines: Array<Line> = []
      const exit = yield* capture(lines, Effect.exit(CircuitBreaker.protect(Effect.succeed(1), "api", { classify })))
      assert.deepStrictEqual(exit, Exit.succeed(1))
      assert.isTrue(lines.some(({ message }) => message.includes("classifier")))
      yield* expectState("Closed")
    }
  )
}
