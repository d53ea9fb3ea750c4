import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Logger, Schedule } from "effect"
import { BreakerStore, BulkheadFull, CircuitBreaker, CircuitOpen, Resilience } from "effect-fuse"
import { createBreaker } from "effect-fuse/promise"

const trap = (): never => {
  throw new Error("it must not be looked at")
}
const all: ProxyHandler<object> = { get: trap, has: trap, getPrototypeOf: trap, ownKeys: trap }
const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

/** Values that throw when they are looked at. A promise cannot resolve with most of them, because it reads their `then`. */
const values: ReadonlyArray<readonly [what: string, make: () => object]> = [
  ["a proxy that throws for everything", () => new Proxy({}, all)],
  ["a revoked proxy", revoked],
  [
    "an object whose fields throw",
    () => Object.defineProperties({}, { _tag: { get: trap }, name: { get: trap }, cause: { get: trap } })
  ],
  [
    "a strict proxy, which throws for properties that it does not have",
    () => new Proxy({}, { get: (_, key) => (key === "then" ? undefined : trap()) })
  ]
]
const answers = values.filter(([what]) => what.includes("strict") || what.includes("fields"))

const aborted = { aborted: true, reason: new Error("gone"), addEventListener: () => {} }
const options: ReadonlyArray<object> = [
  {},
  { retry: { times: 1, minDelay: 1 } },
  { retry: { times: 1, minDelay: 1, while: () => true } },
  { isFailure: () => true },
  { bulkhead: { concurrency: 1, holdUntil: "settled" } },
  { until: "stream end" }
]

describe("an error that throws when it is inspected", () => {
  for (const [what, make] of values) {
    for (const option of options) {
      it(`reaches the caller of a promise breaker, and is counted: ${what}, ${JSON.stringify(option)}`, async () => {
        const error = make()
        const breaker = createBreaker(async (_: unknown) => Promise.reject(error), { name: "api", ...option })
        const { caught } = await breaker.execute({ signal: aborted }).then(
          () => assert.fail("it succeeded"),
          // A promise would look at the error.
          (caught: unknown) => ({ caught })
        )
        assert.isTrue(caught === error)
        assert.isAtLeast(breaker.metrics.failures, 1)
        assert.strictEqual(breaker.metrics.inFlight, 0)
        await breaker.shutdown()
      })
    }

    type Around = (call: Effect.Effect<never, object>) => Effect.Effect<never, unknown, BreakerStore.BreakerStore>
    const shapes: ReadonlyArray<readonly [shape: string, around: Around]> = [
      ["protect", CircuitBreaker.protect("api")],
      ["protect with isFailure", CircuitBreaker.protect("api", { isFailure: () => true })],
      ["standard", Resilience.standard("api", { retry: { times: 1, schedule: Schedule.spaced(1) } })]
    ]
    for (const [shape, around] of shapes) {
      it.live(`reaches the caller of an effect, and is counted: ${what}, ${shape}`, () =>
        Effect.gen(function* () {
          const error = make()
          const exit = yield* Effect.exit(around(Effect.fail(error)))
          const found = Exit.findErrorOption(exit)
          assert.isTrue(found._tag === "Some" && found.value === error)
          assert.isAtLeast((yield* CircuitBreaker.inspect("api")).totals.failures, 1)
        }).pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(Logger.layer([])))
      )
    }

    it(`is no rejection: ${what}`, () => {
      assert.isFalse(CircuitOpen.isCircuitOpen(make()))
      assert.isFalse(BulkheadFull.isBulkheadFull(make()))
    })
  }
})

describe("a result that throws when it is inspected", () => {
  for (const [what, make] of answers) {
    it(`of a promise breaker is a success: ${what}`, async () => {
      const answer = make()
      const breaker = createBreaker(async () => answer, { name: "api" })
      assert.isTrue((await breaker.execute()) === answer)
      assert.strictEqual(breaker.metrics.successes, 1)
      await breaker.shutdown()
    })
  }

  for (const [what, make] of values) {
    it.effect(`of an effect is a success: ${what}`, () =>
      Effect.gen(function* () {
        const answer = make()
        assert.isTrue((yield* CircuitBreaker.protect(Effect.succeed({ answer }), "api")).answer === answer)
        const exit = yield* Effect.exit(CircuitBreaker.protect(Effect.succeed(answer), "api"))
        assert.isTrue(Exit.isSuccess(exit) && exit.value === answer)
        assert.strictEqual((yield* CircuitBreaker.inspect("api")).totals.successes, 2)
      }).pipe(Effect.provide(BreakerStore.layerMemory))
    )
  }
})
