/**
 * What circuits do, as Effect's metrics: for Prometheus, for OpenTelemetry, for whatever reads those.
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
 * **What it costs**
 *
 * A call pays for its duration, a few nanoseconds, where that is measured, and for nothing else: what circuits count anyway is
 * read when somebody looks.
 *
 * **What there is**
 *
 * | metric | labels | |
 * | --- | --- | --- |
 * | `circuit_breaker_calls_total` | `name`, `outcome`: `success`, `failure`, `ignored` | calls that were admitted and have ended |
 * | `circuit_breaker_slow_calls_total` | `name` | of these, those that took as long as `slowCall` |
 * | `circuit_breaker_rejections_total` | `name` | calls that were not made |
 * | `circuit_breaker_passed_total` | `name` | calls that ran uncounted: disabled, switched off, only observed |
 * | `circuit_breaker_transitions_total` | `name`, `to` | transitions, by the state that was entered, as this process saw them |
 * | `circuit_breaker_outages_total` | `name` | outages that have begun: each lasts from its first opening until the circuit closes again |
 * | `circuit_breaker_openings_total` | `name` | transitions to `Open`: the first of an outage, and one more for each probe that failed |
 * | `circuit_breaker_down_seconds` | `name` | how long the outage has lasted so far, or 0. If several circuits of the name are down: the longest outage |
 * | `circuit_breaker_circuits` | `name`, `state` | circuits that are in this state now |
 * | `circuit_breaker_in_flight` | `name` | calls that run now |
 * | `circuit_breaker_call_duration_seconds` | `name` | a histogram |
 * | `circuit_breaker_known` | | circuits in memory |
 * | `circuit_breaker_evictions_total`, `circuit_breaker_overflows_total` | | circuits forgotten to make room; calls for which there was none |
 * | `circuit_breaker_store_up` | | 1 while the shared store answers; 0 before its first answer, and while this process is on its own. Absent without a shared store |
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { count, decodeOptions, field, flag, optional, positiveMillis, textLike } from "../core/fields.ts"
import { toMillis } from "../core/millis.ts"
import { BreakerStore } from "./BreakerStore.ts"
import { Series } from "./metrics.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Begins each name: letters, digits and `_`. Default `circuit_breaker`. */
  readonly prefix?: string | undefined
  /**
   * Whether there is a series for each key, with the label `key`, in place of one for all keys of a name. Keys may be many, and may
   * be customers. Default `false`.
   */
  readonly keys?: boolean | undefined
  /** How many names and keys have series of their own; the others share those of the name `(others)`. Default 1,000. */
  readonly maxSeries?: number | undefined
  /** Up to how long calls take that are counted together, or `false` to measure none. Default from 5 milliseconds to 30 seconds. */
  readonly durations?: ReadonlyArray<Duration.Input> | false | undefined
  /**
   * How often it is seen to which keys are new, and which names are gone, if nobody reads metrics meanwhile. Names have their series
   * from their first call on. Default 10 seconds.
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
 * Shows the circuits of the store among the metrics of the program, for as long as the layer lives. Throws a `RangeError` that
 * names the option that is wrong.
 *
 * @category layers
 * @since 0.1.0
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
