/**
 * Circuits as Effect metrics, for Prometheus, OpenTelemetry, or any other exporter of Effect metrics.
 *
 * ```ts
 * import { Effect, Layer, Metric } from "effect"
 * import { BreakerMetrics, BreakerStore, CircuitBreaker } from "effect-fuse"
 *
 * const Breakers = Layer.provideMerge(BreakerMetrics.layer(), BreakerStore.layerMemory)
 *
 * const program = Effect.gen(function* () {
 *   yield* Effect.succeed("hello").pipe(CircuitBreaker.protect("api"))
 *   const seen = yield* Metric.snapshot
 *   return seen.filter(({ attributes, id }) => id === "circuit_breaker_calls_total" && attributes?.outcome === "success").map(({ state }) => state)
 * })
 * const metered = Effect.provide(program, Breakers).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
 * await Effect.runPromise(metered) // => [{ count: 1, incremental: true }]
 * ```
 *
 * **Cost**
 *
 * Recording its duration costs each call a few nanoseconds, unless `durations` is `false`. All other metrics are read from the circuits'
 * own counters when an exporter takes a snapshot.
 *
 * **Metrics**
 *
 * | metric | labels | |
 * | --- | --- | --- |
 * | `circuit_breaker_calls_total` | `name`, `outcome`: `success`, `failure`, `ignored` | admitted calls that have ended |
 * | `circuit_breaker_slow_calls_total` | `name` | of these, the calls that took at least `slowCall` |
 * | `circuit_breaker_rejections_total` | `name` | rejected calls |
 * | `circuit_breaker_passed_total` | `name` | calls that ran uncounted: the circuit is Disabled, switched off, or only observes |
 * | `circuit_breaker_transitions_total` | `name`, `to` | transitions that this process saw, by the state that was entered |
 * | `circuit_breaker_outages_total` | `name` | outages that have begun: an outage lasts from its first opening until the circuit closes again |
 * | `circuit_breaker_openings_total` | `name` | transitions to `Open`: the first of an outage, and another one for each failed probe |
 * | `circuit_breaker_down_seconds` | `name` | how long the current outage has lasted, or 0. If several circuits of the name are down: the longest outage |
 * | `circuit_breaker_circuits` | `name`, `state` | circuits that are in this state now |
 * | `circuit_breaker_in_flight` | `name` | calls in flight |
 * | `circuit_breaker_limit` | `name` | how many calls may be in flight at once in the circuits that are limited now, or 0 if none is |
 * | `circuit_breaker_call_duration_seconds` | `name` | a histogram of call durations |
 * | `circuit_breaker_known` | | circuits in memory |
 * | `circuit_breaker_evictions_total`, `circuit_breaker_overflows_total` | | circuits evicted to make room; calls whose key found no room |
 * | `circuit_breaker_store_up` | | 1 while the shared store answers; 0 before its first answer, and while this process is cut off. Absent without a shared store |
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { count, decodeOptions, field, flag, optional, positiveMillis, textLike } from "../core/fields.ts"
import { toMillis } from "../core/millis.ts"
import { BreakerStore } from "./BreakerStore.ts"
import { Series } from "./metrics.ts"

/**
 * The options of the metrics.
 *
 * @category options
 */
export interface Options {
  /** The prefix of every metric name: letters, digits and `_`. Default: `circuit_breaker`. */
  readonly prefix?: string | undefined
  /**
   * Whether each key has its own series, with the label `key`. Otherwise all keys of a name share one. Keys may be numerous, and may
   * identify customers. Default: `false`.
   */
  readonly keys?: boolean | undefined
  /** The maximum number of names and keys with their own series. The rest share the series of the name `(others)`. Default: 1,000. */
  readonly maxSeries?: number | undefined
  /**
   * The upper bounds of the histogram's buckets, in increasing order. `false` disables the histogram. Default: 12 bounds from 5
   * milliseconds to 30 seconds.
   */
  readonly durations?: ReadonlyArray<Duration.Input> | false | undefined
  /**
   * How often series for new keys are added, and series of names and keys that no longer exist are removed. Each snapshot does the same. A
   * new name has its series from its first call on. Default: 10 seconds.
   */
  readonly interval?: Duration.Input | undefined
}

const defaultDurations = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000]

const bounds = field<ReadonlyArray<number> | false>(
  "durations above 0, each longer than the one before, or false",
  (input) => {
    if (input === false) return false
    if (!Array.isArray(input) || input.length === 0) return undefined
    const millis = input.map(toMillis)
    const grows = millis.every(
      (one, i) => one !== undefined && one < Infinity && one > (i === 0 ? 0 : (millis[i - 1] ?? Infinity))
    )
    return grows ? (millis as ReadonlyArray<number>) : undefined
  }
)

const fields = {
  prefix: optional(textLike("letters, digits and _, not beginning with a digit", /^[A-Za-z_][A-Za-z0-9_]{0,63}$/)),
  keys: optional(flag),
  maxSeries: optional(count),
  durations: optional(bounds),
  interval: optional(positiveMillis)
}

/**
 * Registers the store's circuits with the program's metrics until the layer's scope closes. Throws a `RangeError` that names the invalid
 * option.
 *
 * @category layers
 */
export const layer = (options: Options = {}): Layer.Layer<never, never, BreakerStore> => {
  const decoded = decodeOptions("BreakerMetrics.layer", fields, options)
  const {
    durations = defaultDurations,
    interval = 10_000,
    keys = false,
    maxSeries = 1_000,
    prefix = "circuit_breaker"
  } = decoded
  return Layer.effectDiscard(
    Effect.gen(function* () {
      const registry = yield* BreakerStore
      const context = yield* Effect.context<never>()
      if (durations !== false) registry.measure(durations)
      const series = yield* Effect.acquireRelease(
        Effect.sync(() => new Series(registry, context, { prefix, keys, maxSeries })),
        (series) => Effect.sync(() => series.remove())
      )
      const look = Effect.andThen(
        Effect.sleep(Duration.millis(interval)),
        Effect.sync(() => series.discover())
      )
      yield* Effect.forkScoped(Effect.forever(look))
    })
  )
}
