import * as OtelMetrics from "@effect/opentelemetry/OtelMetrics"
import * as OtelTracer from "@effect/opentelemetry/OtelTracer"
import * as Resource from "@effect/opentelemetry/Resource"
import { assert, describe, it } from "@effect/vitest"
import { SpanStatusCode } from "@opentelemetry/api"
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  PeriodicExportingMetricReader
} from "@opentelemetry/sdk-metrics"
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Effect, Layer, Metric } from "effect"
import { TestClock } from "effect/testing"
import { BreakerMetrics, BreakerPolicy, BreakerStore, CircuitBreaker, MemoryStore, Trip } from "effect-fuse"
import { fail, hang, pass, play, quick, reject, scenario, succeed, times } from "./support/verbs.ts"

const resource = Resource.layer({ serviceName: "shop" })

/** What an exporter of OpenTelemetry's own SDK was given, each series by its name and its labels in order. */
const exported = (exporter: InMemoryMetricExporter) => {
  const last = exporter.getMetrics().at(-1) ?? assert.fail("nothing was exported")
  const metrics = last.scopeMetrics.flatMap((scope) => scope.metrics)
  const label = (name: string, attributes: object) =>
    `${name} ${Object.entries(attributes)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => `${key}=${value}`)
      .join(" ")}`.trim()
  const values: Record<string, number> = {}
  const histograms: Record<string, unknown> = {}
  for (const metric of metrics) {
    const { descriptor, dataPointType } = metric
    for (const { attributes, value } of metric.dataPoints) {
      const series = label(descriptor.name.replace(/^circuit_breaker_/, ""), attributes)
      assert.notProperty(values, series, "a series comes once")
      if (dataPointType === DataPointType.HISTOGRAM) histograms[series] = value
      else values[series] = value as number
    }
  }
  return { last, metrics, values, histograms }
}

/** A program with an OpenTelemetry exporter for its metrics. */
const sending = (
  temporality: OtelMetrics.TemporalityPreference,
  store: Layer.Layer<BreakerStore.BreakerStore>,
  policy: BreakerPolicy.Input = {}
) => {
  const exporter = new InMemoryMetricExporter(
    temporality === "delta" ? AggregationTemporality.DELTA : AggregationTemporality.CUMULATIVE
  )
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const layer = BreakerMetrics.layer({ durations: ["10 millis", "1 second"] }).pipe(
    Layer.provideMerge(
      Layer.provide(
        OtelMetrics.layer(() => reader, { temporality }),
        resource
      )
    ),
    Layer.provideMerge(store),
    Layer.provideMerge(Layer.orDie(BreakerPolicy.layer({ default: policy }))),
    Layer.provideMerge(Layer.succeed(Metric.MetricRegistry, new Map()))
  )
  const flush = Effect.map(
    Effect.promise(() => reader.forceFlush()),
    () => exported(exporter)
  )
  return { layer, flush }
}

const states = ["Closed", "Open", "HalfOpen", "Isolated", "Disabled"]

/** A value for each state: 0 where none is named. */
const byState = (name: string, label: string, values: Readonly<Record<string, number>>) =>
  Object.fromEntries(states.map((state) => [`${name} name=api ${label}=${state}`, values[state] ?? 0]))

describe("what the exporters of OpenTelemetry are given", () => {
  it.effect("is every series, with its labels, its kind and its value", () => {
    const memory = Layer.unwrap(Effect.map(MemoryStore.make, (store) => BreakerStore.layerShared(store)))
    const policy = { trip: Trip.consecutive(3), cooldown: "10 seconds", slowCall: "1 second" } as const
    const { flush, layer } = sending("cumulative", Layer.orDie(memory), policy)
    return Effect.gen(function* () {
      yield* play("SSFS")
      const slow = yield* Effect.forkChild(CircuitBreaker.protect(Effect.sleep("2 seconds"), "api"), {
        startImmediately: true
      })
      yield* TestClock.adjust("2 seconds")
      assert.isDefined(slow.pollUnsafe())
      const hanging = yield* hang({ key: "b" })
      yield* play("FFF")
      yield* times(2, reject())
      yield* CircuitBreaker.disable("api", { key: "c" })
      yield* pass({ key: "c" })
      const { histograms, last, metrics, values } = yield* flush
      assert.deepStrictEqual(values, {
        "calls_total name=api outcome=success": 4,
        "calls_total name=api outcome=failure": 4,
        "calls_total name=api outcome=ignored": 0,
        "slow_calls_total name=api": 1,
        "rejections_total name=api": 2,
        "passed_total name=api": 1,
        "down_seconds name=api": 0,
        "outages_total name=api": 1,
        "openings_total name=api": 1,
        "in_flight name=api": 1,
        "limit name=api": 0,
        ...byState("circuits", "state", { Closed: 1, Open: 1, Disabled: 1 }),
        ...byState("transitions_total", "to", { Open: 1, Disabled: 1 }),
        known: 3,
        evictions_total: 0,
        overflows_total: 0,
        store_up: 1
      })
      assert.deepStrictEqual(histograms, {
        "call_duration_seconds name=api": {
          buckets: { boundaries: [0.01, 1], counts: [7, 0, 1] },
          count: 8,
          min: 0,
          max: 2,
          sum: 2
        }
      })
      for (const { dataPointType, descriptor, ...more } of metrics) {
        const { name } = descriptor
        const kind = name.endsWith("_total") ? "SUM" : name.endsWith("_duration_seconds") ? "HISTOGRAM" : "GAUGE"
        assert.strictEqual(DataPointType[dataPointType], kind, name)
        assert.notStrictEqual(descriptor.description, "", name)
        if ("isMonotonic" in more) assert.isTrue(more.isMonotonic, name)
      }
      assert.strictEqual(last.resource.attributes["service.name"], "shop")
      yield* hanging.interrupt
      const next = yield* flush
      assert.strictEqual(next.values["in_flight name=api"], 0)
      assert.strictEqual(next.values["calls_total name=api outcome=ignored"], 1)
    }).pipe(Effect.provide(layer))
  })

  it.effect("is what has been added since it was given last, where it wants that", () => {
    const { flush, layer } = sending("delta", BreakerStore.layerMemory)
    return Effect.gen(function* () {
      yield* play("SSF")
      const first = yield* flush
      assert.strictEqual(first.values["calls_total name=api outcome=success"], 2)
      yield* play("SFF")
      const second = yield* flush
      assert.strictEqual(second.values["calls_total name=api outcome=success"], 1)
      assert.strictEqual(second.values["calls_total name=api outcome=failure"], 2)
      assert.strictEqual(second.values["circuits name=api state=Closed"], 1)
      assert.deepInclude(second.histograms["call_duration_seconds name=api"], { count: 3 })
      const third = yield* flush
      assert.strictEqual(third.values["calls_total name=api outcome=failure"], 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("has a series for each key where that is wanted, and none for one that was forgotten", () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
    const flush = Effect.promise(() => reader.forceFlush())
    return Effect.gen(function* () {
      yield* succeed({ key: "a" })
      yield* flush
      yield* flush // keys are met at a look
      assert.strictEqual(exported(exporter).values["calls_total key=a name=api outcome=success"], 1)
      yield* succeed({ key: "b" })
      yield* succeed({ key: "c" })
      yield* flush
      yield* flush
      const { values } = exported(exporter)
      assert.notProperty(values, "calls_total key=a name=api outcome=success")
      assert.strictEqual(values["calls_total key=c name=api outcome=success"], 1)
      assert.strictEqual(values["evictions_total"], 1)
    }).pipe(
      Effect.provide(
        BreakerMetrics.layer({ keys: true }).pipe(
          Layer.provideMerge(
            Layer.provide(
              OtelMetrics.layer(() => reader),
              resource
            )
          ),
          Layer.provideMerge(Layer.orDie(BreakerStore.layerMemoryWith({ maxCircuits: 2 }))),
          Layer.provideMerge(Layer.succeed(Metric.MetricRegistry, new Map()))
        )
      )
    )
  })
})

const began = 1_767_225_600_000

/** Runs an effect in a span inside another span. Returns the spans from an OpenTelemetry exporter. */
const traced = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const exporter = new InMemorySpanExporter()
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
    const tracer = OtelTracer.layerWithoutOtelTracer.pipe(
      Layer.provide(Layer.succeed(OtelTracer.OtelTracer, provider.getTracer("test")))
    )
    yield* Effect.exit(Effect.withSpan(effect, "charge")).pipe(Effect.withSpan("request"), Effect.provide(tracer))
    yield* Effect.promise(() => provider.forceFlush())
    const of = (name: string) => {
      const span = exporter.getFinishedSpans().find((one) => one.name === name) ?? assert.fail(`no span ${name}`)
      return {
        status: span.status,
        attributes: Object.fromEntries(
          Object.entries(span.attributes).filter(([key]) => key.startsWith("circuit_breaker"))
        ),
        events: span.events
          .filter((event) => event.name.startsWith("circuit_breaker"))
          .map(({ attributes, name, time: [seconds, nanos] }) => ({
            name,
            attributes,
            at: seconds * 1_000 + nanos / 1_000_000 - began
          }))
      }
    }
    assert.deepStrictEqual(
      exporter.getFinishedSpans().map(({ name }) => name),
      ["charge", "request"]
    )
    const { attributes, events } = of("request")
    assert.deepStrictEqual({ attributes, events }, { attributes: {}, events: [] }, "not the span around the caller's")
    return of("charge")
  })

describe("the span of a caller, as the exporters of OpenTelemetry are given it", () => {
  scenario("is unchanged by calls that pass", quick, function* () {
    const { attributes, events } = yield* traced(succeed())
    assert.deepStrictEqual({ attributes, events }, { attributes: {}, events: [] })
  })

  scenario("shows that its call opened the circuit, and when", quick, function* () {
    yield* TestClock.setTime(began)
    const { attributes, events } = yield* traced(Effect.andThen(TestClock.adjust(250), fail({ key: "eu" })))
    assert.deepStrictEqual(attributes, { "circuit_breaker.name": "api", "circuit_breaker.state": "Open" })
    assert.deepStrictEqual(events, [
      {
        name: "circuit_breaker.transition",
        attributes: {
          "circuit_breaker.name": "api",
          "circuit_breaker.key": "eu",
          "circuit_breaker.from": "Closed",
          "circuit_breaker.to": "Open",
          "circuit_breaker.why": "Tripped",
          "circuit_breaker.detail": "1 failure in a row (limit 1)"
        },
        at: 250
      }
    ])
  })

  scenario("shows that its call was rejected, and why", quick, function* () {
    yield* TestClock.setTime(began)
    yield* fail({ key: "eu" })
    yield* TestClock.adjust(1_500)
    const { attributes, events, status } = yield* traced(CircuitBreaker.protect(Effect.void, "api", { key: "eu" }))
    const said = {
      "circuit_breaker.name": "api",
      "circuit_breaker.key": "eu",
      "circuit_breaker.state": "Open",
      "circuit_breaker.scope": "local",
      "circuit_breaker.reason": "Cooldown",
      "circuit_breaker.detail": "1 failure in a row (limit 1)"
    }
    assert.deepStrictEqual(attributes, said)
    assert.deepStrictEqual(events, [{ name: "circuit_breaker.rejected", attributes: said, at: 1_500 }])
    assert.deepStrictEqual(status, {
      code: SpanStatusCode.ERROR,
      message: 'Circuit "api" ["eu"] is open (1 failure in a row (limit 1)), retry after 8s 500ms'
    })
  })

  scenario("shows what its probe found", quick, function* () {
    yield* TestClock.setTime(began)
    yield* fail()
    yield* TestClock.adjust("10 seconds")
    const { attributes, events } = yield* traced(succeed())
    assert.deepStrictEqual(attributes, { "circuit_breaker.name": "api", "circuit_breaker.state": "Closed" })
    assert.deepStrictEqual(
      events.map(({ at, attributes, name }) => [name, at, attributes?.["circuit_breaker.to"]]),
      [
        ["circuit_breaker.transition", 10_000, "HalfOpen"],
        ["circuit_breaker.transition", 10_000, "Closed"]
      ]
    )
  })
})
