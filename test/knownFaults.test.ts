import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import { TestClock } from "effect/testing"
import { BreakerMetrics, BreakerPolicy, BreakerStore, CircuitBreaker, CircuitPool } from "effect-fuse"
import { expectState, fail, pass, quick, settings } from "./support/verbs.ts"

// REMARK: what is wrong today, as sentences that should hold. Each of these fails, which is what `fails` expects: who puts
// one right takes the `.fails` away.

const store = Layer.merge(BreakerStore.layerMemory, BreakerPolicy.layer(settings(quick)))

describe("Keys are opaque", () => {
  it.effect.fails("one that reads like the circuit of those without room is a circuit of its own", () =>
    Effect.gen(function* () {
      const key = "(overflow)"
      yield* pass({ key })
      assert.strictEqual((yield* BreakerStore.stats).overflowed, 0)
      // Too long for a circuit of its own, and somebody else's.
      yield* fail({ key: "x".repeat(600) })
      yield* expectState("Closed", { key })
    }).pipe(Effect.provide(store))
  )

  it.effect.fails("metrics by key tell the circuit of the empty key from that of the name", () =>
    Effect.gen(function* () {
      yield* pass()
      yield* fail({ key: "" })
      yield* TestClock.adjust("10 seconds")
      const counted = (yield* Metric.snapshot).flatMap(({ attributes, id, state }) =>
        id === "circuit_breaker_calls_total" && "count" in state && Number(state.count) > 0 ? [attributes] : []
      )
      assert.strictEqual(counted.length, 2)
    }).pipe(Effect.provide(Layer.provideMerge(BreakerMetrics.layer({ keys: true }), store)))
  )
})

describe("An option that there is not is named, and not passed over", () => {
  // As isolate, Resilience.breaker, CircuitPool.make, HttpClientBreaker.protect and others do.
  const wrong = { isFailur: () => false } as object
  const calls: Readonly<Record<string, () => unknown>> = {
    "CircuitBreaker.protect": () => CircuitBreaker.protect("api", wrong),
    "CircuitBreaker.admit": () => CircuitBreaker.admit("api", wrong),
    "CircuitBreaker.forEach": () => CircuitBreaker.forEach([1], () => Effect.void, { name: "api", ...wrong }),
    "CircuitPool.call": () => CircuitPool.call(CircuitPool.make("api", { members: ["a"] }), () => Effect.void, wrong)
  }
  for (const [what, call] of Object.entries(calls)) {
    it.fails(what, () => assert.throws(call, /isFailur: unknown field/))
  }
})
