import { type Context, Effect, Layer, Logger, Metric, type Scope } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import { BreakerMetrics, BreakerPolicy, BreakerStore } from "effect-fuse"

/** A process that Prometheus scrapes: its services, and the name of its address. */
export interface Target {
  readonly instance: string
  readonly context: Context.Context<BreakerStore.BreakerStore>
}

/** Starts a process with circuits and metrics of its own. */
export const target = (
  instance: string,
  options: {
    readonly store?: Layer.Layer<BreakerStore.BreakerStore>
    readonly policies?: BreakerPolicy.Settings
    readonly metrics?: BreakerMetrics.Options
  } = {}
): Effect.Effect<Target, never, Scope.Scope> =>
  BreakerMetrics.layer(options.metrics).pipe(
    Layer.provideMerge(options.store ?? BreakerStore.layerMemory),
    Layer.provideMerge(Layer.orDie(BreakerPolicy.layer(options.policies ?? {}))),
    Layer.provideMerge(Layer.mergeAll(Layer.succeed(Metric.MetricRegistry, new Map()), Logger.layer([]))),
    Layer.fresh,
    Layer.build,
    Effect.map((context) => ({ instance, context }))
  )

/** Runs an effect in the background of a process. */
export const within = <A, E>(
  { context }: Target,
  self: Effect.Effect<A, E, BreakerStore.BreakerStore>
): Effect.Effect<unknown, never, Scope.Scope> =>
  Effect.forkScoped(Effect.provideContext(Effect.ignore(self), context), { startImmediately: true })

const seriesOf = (page: string, instance: string): ReadonlyArray<readonly [series: string, value: number]> =>
  Array.from(page.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm), ([, name = "", labels = "", value]) => [
    `${name}{${[labels, `instance="${instance}"`].filter((one) => one !== "").join(",")}}`,
    Number(value)
  ])

/** Scrapes processes while virtual time passes, as Prometheus does: one value of each series for each scrape. */
export const scrapes = (
  targets: ReadonlyArray<Target>,
  options: { readonly everySeconds: number; readonly forSeconds: number }
): Effect.Effect<Map<string, Array<number | undefined>>> =>
  Effect.gen(function* () {
    const { everySeconds, forSeconds } = options
    const count = Math.floor(forSeconds / everySeconds) + 1
    const found = new Map<string, Array<number | undefined>>()
    for (let scrape = 0; scrape < count; scrape++) {
      for (const { context, instance } of targets) {
        const page = yield* Effect.provideContext(PrometheusMetrics.format(), context)
        for (const [series, value] of seriesOf(page, instance)) {
          let values = found.get(series)
          if (values === undefined) {
            values = new Array<number | undefined>(count).fill(undefined)
            found.set(series, values)
          }
          values[scrape] = value
        }
      }
      yield* TestClock.adjust(everySeconds * 1_000)
    }
    return found
  })
