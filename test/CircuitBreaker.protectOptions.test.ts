import { assert, describe } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import { PersistedQueue } from "effect/persistence"
import { type BreakerStore, CircuitBreaker, CircuitPool, Outcome, Resilience } from "effect-fuse"
import { JobBreaker, StreamBreaker } from "effect-fuse/queue"
import { expectState, inspect, quick, scenario } from "./support/verbs.ts"

// Options of what stands around the engine that no other test would miss.

type Options = CircuitBreaker.ProtectOptions<unknown, string>
type Made = Effect.Effect<unknown, unknown, BreakerStore.BreakerStore>
const boom = Effect.fail("boom")

/** Every function that makes calls through the circuit `api`, with a call that fails. */
const callers: Readonly<Record<string, (options: Options) => Made>> = {
  "CircuitBreaker.protect": (options) => CircuitBreaker.protect(boom, "api", options),
  "CircuitBreaker.forEach": (options) => CircuitBreaker.forEach([1], () => boom, { name: "api", ...options }),
  "Resilience.breaker": (options) => Resilience.breaker("api", options)(boom),
  "Resilience.standard": (options) =>
    Resilience.standard("api", { breaker: options as Resilience.BreakerOptions<never>, retry: false })(boom),
  "Resilience.cascade": (options) =>
    Resilience.cascade([{ name: "api", call: boom, ...(options as Resilience.BreakerOptions<never>) }]),
  "JobBreaker.protect": (options) => JobBreaker.protect(boom, "api", { release: () => Effect.void, ...options }),
  "JobBreaker.take": (options) => {
    const jobs = PersistedQueue.make({ name: "jobs", schema: Schema.Number, maxAttempts: 1 })
    return Effect.flatMap(jobs, (queue) =>
      Effect.andThen(
        queue.offer(1),
        JobBreaker.take(queue, "api", () => boom, options)
      )
    ).pipe(Effect.provide(Layer.provide(PersistedQueue.layer, PersistedQueue.layerStoreMemory)))
  },
  "StreamBreaker.mapEffect": (options) =>
    Stream.runDrain(StreamBreaker.mapEffect(Stream.make(1), "api", () => boom, options))
}

describe("Every function that makes calls heeds", () => {
  for (const [what, calls] of Object.entries(callers)) {
    scenario(`its key: ${what}`, {}, function* () {
      yield* Effect.exit(calls({ key: "k" }))
      const [own, other] = [yield* inspect({ key: "k" }), yield* inspect()]
      assert.deepStrictEqual([own.totals.failures, other.totals.calls], [1, 0])
    })

    scenario(`its policy: ${what}`, {}, function* () {
      yield* Effect.exit(calls({ policy: quick }))
      yield* expectState("Open")
    })

    for (const [how, reading, counted] of [
      ["classify", { classify: () => Outcome.success }, "successes"],
      ["isFailure", { isFailure: () => false }, "successes"],
      ["isIgnored", { isIgnored: () => true }, "ignored"]
    ] as const) {
      scenario(`its ${how}: ${what}`, {}, function* () {
        yield* Effect.exit(calls(reading))
        assert.strictEqual((yield* inspect()).totals[counted], 1)
      })
    }
  }

  scenario("isFailure, classify and isIgnored: CircuitPool.call", {}, function* () {
    const pool = CircuitPool.make("api", { members: ["a"] })
    for (const reading of [{ isFailure: () => false }, { classify: () => Outcome.success }]) {
      yield* Effect.exit(CircuitPool.call(pool, () => boom, reading))
    }
    yield* Effect.exit(CircuitPool.call(pool, () => boom, { isIgnored: () => true }))
    const { failures, ignored, successes } = (yield* inspect({ key: "a" })).totals
    assert.deepStrictEqual([successes, ignored, failures], [2, 1, 0])
  })

  scenario("its policy: Resilience.breaker around a call", {}, function* () {
    const guarded = Resilience.breaker("api", { policy: quick })
    yield* Effect.exit(guarded(Effect.fail("boom")))
    yield* expectState("Open")
  })
})
