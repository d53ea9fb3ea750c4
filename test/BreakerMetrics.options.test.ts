import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import { TestClock } from "effect/testing"
import { BreakerMetrics, BreakerStore } from "effect-fuse"
import { fail, pass } from "./support/verbs.ts"

describe("The options of BreakerMetrics.layer", () => {
  /** Provides an empty registry. The default registry contains the metrics of other tests. */
  const withMetrics = (options: BreakerMetrics.Options) =>
    Effect.provide(
      BreakerMetrics.layer(options).pipe(
        Layer.provideMerge(BreakerStore.layerMemory),
        Layer.provideMerge(Layer.sync(Metric.MetricRegistry, () => new Map()))
      )
    )

  it.effect("keys: each key has its series, also if a name with a line break reads like a name and a key", () =>
    Effect.gen(function* () {
      yield* pass({ name: "a\nb" })
      yield* fail({ name: "a", key: "b" })
      yield* TestClock.adjust("10 seconds")
      const series = (yield* Metric.snapshot).flatMap(({ attributes, id, state }) =>
        id === "circuit_breaker_calls_total" && "count" in state && Number(state.count) > 0 ? [attributes] : []
      )
      assert.sameDeepMembers(series, [
        { name: "a\nb", key: "", outcome: "success" },
        { name: "a", key: "b", outcome: "failure" }
      ])
    }).pipe(withMetrics({ keys: true }))
  )

  it.effect("prefix and durations: the names of the metrics and the bounds of the histogram", () =>
    Effect.gen(function* () {
      yield* pass()
      const all = yield* Metric.snapshot
      assert.isTrue(all.some(({ id }) => id === "shop_calls_total"))
      assert.isFalse(all.some(({ id }) => id.startsWith("circuit_breaker")))
      const durations = all.find(({ id }) => id === "shop_call_duration_seconds")?.state
      assert.deepStrictEqual(durations !== undefined && "buckets" in durations ? durations.buckets : undefined, [
        [0.03, 1],
        [4, 1]
      ])
    }).pipe(withMetrics({ prefix: "shop", durations: ["30 millis", "4 seconds"] }))
  )

  for (const [interval, there] of [
    ["3 seconds", true],
    ["5 seconds", false]
  ] as const) {
    it.effect(`interval ${interval}: after 4 seconds the metrics ${there ? "have" : "do not have"} a new key`, () =>
      Effect.gen(function* () {
        yield* pass({ key: "k" })
        yield* TestClock.adjust("4 seconds")
        const all = yield* Metric.snapshot
        assert.strictEqual(
          all.some(({ attributes }) => attributes !== undefined && JSON.stringify(attributes).includes('"k"')),
          there
        )
      }).pipe(withMetrics({ keys: true, interval }))
    )
  }
})
