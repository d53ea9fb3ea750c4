import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Metric } from "effect"
import { FetchHttpClient } from "effect/http"
import { Otlp, PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import {
  BreakerMetrics,
  BreakerPolicy,
  BreakerStore,
  CircuitBreaker,
  MemoryStore,
  SharedStore,
  Trip
} from "effect-fuse"
import { capture, fail, hang, type Line, play, reject, succeed, times } from "./support/verbs.ts"

const quick: BreakerPolicy.Input = { trip: Trip.consecutive(3), cooldown: "10 seconds" }

/** A program with metrics of its own. */
const metered = (
  options: BreakerMetrics.Options = {},
  store: Layer.Layer<BreakerStore.BreakerStore> = BreakerStore.layerMemory
) =>
  BreakerMetrics.layer(options).pipe(
    Layer.provideMerge(store),
    Layer.provideMerge(Layer.orDie(BreakerPolicy.layer({ default: quick }))),
    Layer.provideMerge(Layer.succeed(Metric.MetricRegistry, new Map()))
  )

/** What Prometheus would be given. */
const scrape = PrometheusMetrics.format()

/** The value of a series, or nothing where there is no such series. */
const valueOf = (page: string, series: string): number | undefined => {
  const line = page.split("\n").find((one) => one.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

const labelled = (name: string, labels: Readonly<Record<string, string>>) =>
  `circuit_breaker_${name}{${Object.entries(labels)
    .map(([key, value]) => `${key}="${value}"`)
    .join(",")}}`

const read = (name: string, labels: Readonly<Record<string, string>>) =>
  Effect.map(scrape, (page) => {
    // The order of labels means nothing.
    const orders = [labels, Object.fromEntries(Object.entries(labels).reverse())]
    return orders.map((one) => valueOf(page, labelled(name, one))).find((value) => value !== undefined)
  })

describe("what Prometheus is given", () => {
  it.effect("counts calls by their outcome, rejections, openings and moves", () =>
    Effect.gen(function* () {
      yield* play("SSFS")
      yield* play("FFF")
      yield* times(2, reject())
      const hanging = yield* hang({ name: "other" })
      yield* hanging.interrupt
      assert.strictEqual(yield* read("calls_total", { name: "api", outcome: "success" }), 3)
      assert.strictEqual(yield* read("calls_total", { name: "api", outcome: "failure" }), 4)
      assert.strictEqual(yield* read("calls_total", { name: "other", outcome: "ignored" }), 1)
      assert.strictEqual(yield* read("rejections_total", { name: "api" }), 2)
      assert.strictEqual(yield* read("openings_total", { name: "api" }), 1)
      assert.strictEqual(yield* read("transitions_total", { name: "api", to: "Open" }), 1)
      assert.strictEqual(yield* read("transitions_total", { name: "api", to: "Closed" }), 0)
    }).pipe(Effect.provide(metered()))
  )

  it.effect("has the number of circuits of a name in each state, and of calls in flight", () =>
    Effect.gen(function* () {
      yield* succeed({ key: "a" })
      yield* succeed({ key: "b" })
      yield* CircuitBreaker.isolate("api", { key: "c" })
      yield* times(3, fail({ key: "d" }))
      const hanging = yield* hang({ key: "a" })
      const of = (state: string) => read("circuits", { name: "api", state })
      assert.deepStrictEqual(
        yield* Effect.all(["Closed", "Open", "HalfOpen", "Isolated", "Disabled"].map(of)),
        [2, 1, 0, 1, 0]
      )
      assert.strictEqual(yield* read("in_flight", { name: "api" }), 1)
      yield* hanging.interrupt
      assert.strictEqual(yield* read("in_flight", { name: "api" }), 0)
      assert.strictEqual(valueOf(yield* scrape, "circuit_breaker_known"), 4)
    }).pipe(Effect.provide(metered()))
  )

  it.effect("has the durations of calls", () =>
    Effect.gen(function* () {
      for (const millis of [1, 40, 40, 3_000]) {
        const call = yield* Effect.forkChild(CircuitBreaker.protect(Effect.sleep(millis), "api"), {
          startImmediately: true
        })
        yield* TestClock.adjust(millis)
        yield* Fiber.join(call)
      }
      const page = yield* scrape
      const bucket = (le: string) =>
        valueOf(page, `circuit_breaker_call_duration_seconds_bucket{name="api",le="${le}"}`)
      assert.deepStrictEqual(["0.005", "0.025", "0.05", "2.5", "5", "+Inf"].map(bucket), [1, 1, 3, 3, 4, 4])
      assert.strictEqual(valueOf(page, 'circuit_breaker_call_duration_seconds_count{name="api"}'), 4)
      assert.closeTo(valueOf(page, 'circuit_breaker_call_duration_seconds_sum{name="api"}') ?? 0, 3.081, 0.001)
    }).pipe(Effect.provide(metered()))
  )

  it.effect("is of the form that Prometheus reads", () =>
    Effect.gen(function* () {
      yield* succeed({ name: 'a "quoted"\nname' })
      const page = yield* scrape
      for (const line of page.split("\n").filter((one) => one !== "")) {
        assert.match(line, /^(# (HELP|TYPE) [a-z_]+ .*|[a-z_]+(\{([a-z]+="([^"\\]|\\.)*",?)*\})? -?[0-9.e+]+)$/)
      }
      assert.include(page, "# TYPE circuit_breaker_calls_total counter")
      assert.include(page, "# TYPE circuit_breaker_call_duration_seconds histogram")
      assert.include(page, 'name="a \\"quoted\\"\\nname"')
    }).pipe(Effect.provide(metered()))
  )
})

describe("an outage", () => {
  const outages = read("outages_total", { name: "api" })
  const openings = read("openings_total", { name: "api" })
  const down = read("down_seconds", { name: "api" })
  const all = Effect.all([outages, openings, down])

  it.effect("is a single outage until the circuit closes, however many probes fail", () =>
    Effect.gen(function* () {
      yield* succeed()
      assert.deepStrictEqual(yield* all, [0, 0, 0])
      yield* play("FFF")
      assert.deepStrictEqual(yield* all, [1, 1, 0])
      for (let probe = 1; probe <= 20; probe++) {
        yield* TestClock.adjust("10 seconds")
        yield* fail()
        assert.deepStrictEqual(yield* all, [1, 1 + probe, 10 * probe])
      }
      yield* TestClock.adjust("10 seconds")
      const probe = yield* hang()
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* CircuitBreaker.state("api"), "HalfOpen")
      assert.deepStrictEqual(yield* all, [1, 21, 215])
      yield* probe.end(Exit.succeed("ok"))
      assert.deepStrictEqual(yield* all, [1, 21, 0])
      yield* TestClock.adjust("1 hour")
      yield* play("FFF")
      assert.deepStrictEqual(yield* all, [2, 22, 0])
    }).pipe(Effect.provide(metered()))
  )

  it.effect("continues beneath an override, and begins if an operator opens the circuit", () =>
    Effect.gen(function* () {
      yield* play("FFF")
      yield* TestClock.adjust("5 seconds")
      yield* CircuitBreaker.isolate("api")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* Effect.all([outages, down]), [1, 65])
      yield* CircuitBreaker.release("api")
      assert.deepStrictEqual(yield* Effect.all([outages, down]), [1, 65])
      yield* CircuitBreaker.close("api")
      assert.deepStrictEqual(yield* Effect.all([outages, down]), [1, 0])
      yield* CircuitBreaker.open("api")
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(yield* Effect.all([outages, down]), [2, 3])
      yield* CircuitBreaker.isolate("mail")
      assert.strictEqual(yield* read("down_seconds", { name: "mail" }), 0)
      assert.strictEqual(yield* read("outages_total", { name: "mail" }), 0)
    }).pipe(Effect.provide(metered()))
  )

  it.effect("of a name is the longest outage of its keys, and the outage of each key is counted", () =>
    Effect.gen(function* () {
      for (const key of ["a", "b", "c"]) {
        yield* play("FFF", { key })
        yield* TestClock.adjust("2 seconds")
      }
      yield* succeed({ key: "d" })
      assert.deepStrictEqual(yield* Effect.all([outages, down]), [3, 6])
      yield* CircuitBreaker.close("api", { key: "a" })
      assert.deepStrictEqual(yield* Effect.all([outages, down]), [3, 4])
    }).pipe(Effect.provide(metered()))
  )

  it.effect("has a series for each key if the option `keys` is set, and is counted by name", () =>
    Effect.gen(function* () {
      yield* play("FFF", { key: "a" })
      yield* succeed({ key: "b" })
      yield* scrape // the series of a key begins at the first scrape after its first call
      yield* TestClock.adjust("7 seconds")
      assert.strictEqual(yield* read("down_seconds", { name: "api", key: "a" }), 7)
      assert.strictEqual(yield* read("down_seconds", { name: "api", key: "b" }), 0)
      assert.strictEqual(yield* outages, 1)
      assert.strictEqual(yield* down, undefined)
    }).pipe(Effect.provide(metered({ keys: true })))
  )

  it.effect("of a name without its own series counts in the series of the other names", () =>
    Effect.gen(function* () {
      yield* succeed({ name: "first" })
      for (const name of ["second", "third"]) {
        yield* play("FFF", { name })
        yield* TestClock.adjust("2 seconds")
      }
      assert.strictEqual(yield* read("outages_total", { name: "(others)" }), 2)
      assert.strictEqual(yield* read("down_seconds", { name: "(others)" }), 4)
      assert.strictEqual(yield* read("down_seconds", { name: "first" }), 0)
    }).pipe(Effect.provide(metered({ maxSeries: 1 })))
  )

  it.effect("has the same age in every process, also in one that starts during it", () =>
    Effect.gen(function* () {
      const store = yield* MemoryStore.make
      const process = Effect.map(
        Layer.build(Layer.fresh(metered({}, Layer.orDie(BreakerStore.layerShared(store))))),
        (context) =>
          <A, E>(self: Effect.Effect<A, E, BreakerStore.BreakerStore>) =>
            Effect.provideContext(self, context)
      )
      const first = yield* process
      yield* first(play("FFF"))
      yield* TestClock.adjust("4 seconds")
      const second = yield* process
      yield* TestClock.adjust("6 seconds")
      for (const one of [first, second]) {
        assert.closeTo((yield* one(down)) ?? Number.NaN, 10, 0.5)
        assert.strictEqual(yield* one(outages), 1)
      }
    })
  )
})

describe("series", () => {
  it.effect("never become less, though circuits are forgotten", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 50; i++) yield* succeed({ key: `k${i}` })
      assert.isAbove((yield* BreakerStore.stats).evicted, 30)
      assert.strictEqual(yield* read("calls_total", { name: "api", outcome: "success" }), 50)
      assert.isAbove(valueOf(yield* scrape, "circuit_breaker_evictions_total") ?? 0, 30)
    }).pipe(Effect.provide(metered({}, Layer.orDie(BreakerStore.layerMemoryWith({ maxCircuits: 10 })))))
  )

  it.effect(
    "count an opening once, and it is warned of once, though the fleet agrees after the process has opened",
    () => {
      const lines: Array<Line> = []
      const shared = Layer.unwrap(Effect.map(MemoryStore.make, (store) => BreakerStore.layerShared(store)))
      return Effect.gen(function* () {
        // A store that is new does not know yet that this process is alone.
        yield* TestClock.adjust("6 seconds")
        for (let i = 0; i < 5; i++) yield* fail()
        yield* TestClock.adjust("200 millis")
        assert.strictEqual(yield* CircuitBreaker.scope("api"), "fleet")
        const { openings } = yield* CircuitBreaker.inspect("api")
        const page = yield* scrape
        const counted = valueOf(page, labelled("openings_total", { name: "api" }))
        const entered = valueOf(page, labelled("transitions_total", { name: "api", to: "Open" }))
        assert.deepStrictEqual([openings, counted, entered], [1, 1, 1])
        const said = lines.flatMap(({ level, message }) =>
          /open/.test(message) ? [`${level} ${message.split(":")[0]}`] : []
        )
        assert.deepStrictEqual(said, ['Warn Circuit "api" opened', 'Info Circuit "api" stays open for all processes'])
      }).pipe(Effect.provide(metered({}, Layer.orDie(shared))), (self) => capture(lines, self))
    }
  )

  it.effect("have no key unless asked, and then one for each, which ends with its circuit", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 5; i++) yield* succeed({ key: `k${i}` })
      yield* scrape // the series of a key begins at the first scrape after its first call
      assert.strictEqual(yield* read("calls_total", { name: "api", key: "k4", outcome: "success" }), 1)
      const page = yield* scrape
      assert.notInclude(page, 'circuit_breaker_calls_total{name="api",outcome="success"}')
      const keyed = new Set(Array.from(page.matchAll(/circuit_breaker_in_flight\{[^}]*key="(k\d)"/g), ([, key]) => key))
      assert.strictEqual(keyed.size, 3)
      assert.strictEqual(yield* read("transitions_total", { name: "api", to: "Open" }), 0)
    }).pipe(Effect.provide(metered({ keys: true }, Layer.orDie(BreakerStore.layerMemoryWith({ maxCircuits: 3 })))))
  )

  it.effect("are one for the circuit of a name and that of the empty key, as a label that is empty is none", () =>
    Effect.gen(function* () {
      yield* succeed()
      yield* succeed({ key: "" })
      yield* scrape
      assert.strictEqual(yield* read("calls_total", { name: "api", key: "", outcome: "success" }), 2)
    }).pipe(Effect.provide(metered({ keys: true })))
  )

  it.effect("of a key are those of its circuit, though it was forgotten and is another", () =>
    Effect.gen(function* () {
      yield* succeed({ key: "a" })
      yield* scrape
      for (const key of ["b", "c", "a", "a"]) yield* succeed({ key })
      assert.strictEqual((yield* BreakerStore.stats).evicted, 2)
      assert.strictEqual(yield* read("calls_total", { name: "api", key: "a", outcome: "success" }), 2)
    }).pipe(Effect.provide(metered({ keys: true }, Layer.orDie(BreakerStore.layerMemoryWith({ maxCircuits: 2 })))))
  )

  it.effect("are bounded in number: the others are shown together", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 10; i++) yield* succeed({ name: `n${i}` })
      const page = yield* scrape
      const names = new Set(Array.from(page.matchAll(/circuit_breaker_in_flight\{name="([^"]*)"/g), ([, name]) => name))
      assert.deepStrictEqual([...names], ["n0", "n1", "n2", "(others)"])
      assert.strictEqual(valueOf(page, labelled("calls_total", { name: "(others)", outcome: "success" })), 7)
    }).pipe(Effect.provide(metered({ maxSeries: 3 })))
  )

  it.effect("by key are bounded in number, too: what has none of its own is shown with the others", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 5; i++) yield* succeed({ key: `k${i}` })
      yield* fail({ key: "k4" })
      yield* scrape
      const counted = (outcome: string) =>
        Effect.map(scrape, (page) =>
          Array.from(page.matchAll(/^circuit_breaker_calls_total\{(.*)\} (\d+)$/gm), ([, labels = "", value]) => [
            /key="([^"]*)"/.exec(labels)?.[1] ?? "(others)",
            labels.includes(`outcome="${outcome}"`) ? Number(value) : 0
          ]).filter(([, value]) => value !== 0)
        )
      const others = valueOf(yield* scrape, labelled("calls_total", { name: "(others)", outcome: "success" }))
      assert.deepStrictEqual(yield* counted("success"), [
        ["k0", 1],
        ["k1", 1],
        ["(others)", 3]
      ])
      assert.deepStrictEqual([others, yield* counted("failure")], [3, [["(others)", 1]]])
      assert.strictEqual(valueOf(yield* scrape, labelled("circuits", { name: "(others)", state: "Closed" })), 3)
    }).pipe(Effect.provide(metered({ keys: true, maxSeries: 3 })))
  )

  it.effect("of the others by key never become less, though one of them gets series of its own", () =>
    Effect.gen(function* () {
      const others = Effect.map(scrape, (page) =>
        valueOf(page, labelled("calls_total", { name: "(others)", outcome: "success" }))
      )
      for (const key of ["a", "b"]) yield* succeed({ key })
      yield* scrape
      for (let i = 0; i < 9; i++) yield* succeed({ key: "b" })
      const before = yield* others
      assert.strictEqual(before, 10)
      // Its series go with it, and another's have room.
      yield* succeed({ key: "b" })
      yield* succeed({ key: "c" })
      yield* scrape
      yield* scrape
      assert.strictEqual(yield* read("calls_total", { name: "api", key: "b", outcome: "success" }), 11)
      assert.isAtLeast((yield* others) ?? Number.NaN, 10)
    }).pipe(
      Effect.provide(
        metered({ keys: true, maxSeries: 2 }, Layer.orDie(BreakerStore.layerMemoryWith({ maxCircuits: 2 })))
      )
    )
  )

  it.effect("are there from the first call on, and for a key after a while or a look", () =>
    Effect.gen(function* () {
      yield* succeed({ key: "a" })
      const first = yield* scrape
      assert.include(first, 'circuit_breaker_openings_total{name="api"}')
      assert.notInclude(first, 'key="a"')
      assert.include(yield* scrape, 'key="a"')
      yield* succeed({ key: "b" })
      yield* TestClock.adjust("10 seconds")
      assert.include(yield* scrape, 'key="b"')
    }).pipe(Effect.provide(metered({ keys: true })))
  )

  it.effect("end with their layer", () =>
    Effect.gen(function* () {
      const registry = new Map()
      yield* Effect.gen(function* () {
        yield* succeed()
        yield* Metric.snapshot
        assert.isAbove(registry.size, 10)
      }).pipe(
        Effect.provide(Layer.provideMerge(BreakerMetrics.layer(), BreakerStore.layerMemory)),
        Effect.provideService(Metric.MetricRegistry, registry)
      )
      assert.strictEqual(registry.size, 0)
    })
  )

  it.effect("measure no durations where they are not to", () =>
    Effect.gen(function* () {
      yield* succeed()
      assert.notInclude(yield* scrape, "duration")
    }).pipe(Effect.provide(metered({ durations: false })))
  )

  it.effect("show whether the shared store answers", () =>
    Effect.gen(function* () {
      const memory = yield* MemoryStore.make
      let away = false
      const broken = () => Effect.fail(new SharedStore.StoreError({ operation: "exchange", cause: "away" }))
      const store: SharedStore.SharedStore = {
        ...memory,
        exchange: (exchange) => (away ? broken() : memory.exchange(exchange))
      }
      const shared = Layer.orDie(BreakerStore.layerShared(store))
      yield* Effect.gen(function* () {
        assert.strictEqual(valueOf(yield* scrape, "circuit_breaker_store_up"), 1)
        away = true
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(valueOf(yield* scrape, "circuit_breaker_store_up"), 0)
        away = false
        yield* TestClock.adjust("1 minute")
        assert.strictEqual(valueOf(yield* scrape, "circuit_breaker_store_up"), 1)
      }).pipe(Effect.provide(metered({}, shared)))
    })
  )

  it.effect.each(["fails", "never answers"] as const)(
    "do not show the store as up before it answers, if it %s",
    (how) =>
      Effect.gen(function* () {
        const memory = yield* MemoryStore.make
        let there = false
        const away =
          how === "fails" ? Effect.fail(new SharedStore.StoreError({ operation: "page", cause: "away" })) : Effect.never
        const store: SharedStore.SharedStore = {
          ...memory,
          exchange: (exchange) => (there ? memory.exchange(exchange) : away),
          page: (...args) => (there ? memory.page(...args) : away),
          load: (circuits) => (there ? memory.load(circuits) : away)
        }
        const up = Effect.map(scrape, (page) => valueOf(page, "circuit_breaker_store_up"))
        const program = Effect.gen(function* () {
          for (let i = 0; i < 10; i++) {
            assert.strictEqual(yield* up, 0)
            yield* TestClock.adjust("1 second")
          }
          there = true
          yield* TestClock.adjust("10 seconds")
          assert.strictEqual(yield* up, 1)
        }).pipe(Effect.provide(metered({}, Layer.orDie(BreakerStore.layerShared(store)))))
        const running = yield* Effect.forkChild(program, { startImmediately: true })
        // The layer waits for the first answer for a bounded time.
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(running)
      })
  )

  it("name the option that is wrong", () => {
    const layer = BreakerMetrics.layer as (options: unknown) => unknown
    assert.throws(() => layer({ prefix: "a b" }), /BreakerMetrics.layer: prefix/)
    assert.throws(() => layer({ keys: 1 }), /keys/)
    assert.throws(() => layer({ maxSeries: 0 }), /maxSeries/)
    assert.throws(() => layer({ durations: [] }), /durations/)
    assert.throws(() => layer({ durations: ["1 second", "1 second"] }), /durations/)
    assert.throws(() => layer({ interval: 0 }), /interval/)
    assert.throws(() => layer({ labels: {} }), /labels: unknown field/)
  })
})

describe("what OpenTelemetry is sent", () => {
  it.live(
    "has the same metrics, as sums, gauges and histograms",
    () =>
      Effect.gen(function* () {
        const bodies: Array<string> = []
        const collector = yield* Effect.acquireRelease(
          Effect.callback<ReturnType<typeof createServer>>((resume) => {
            const server = createServer((request, answer) => {
              let body = ""
              request.on("data", (data) => {
                body += data
              })
              request.on("end", () => {
                if (request.url === "/v1/metrics") bodies.push(body)
                answer.writeHead(200, { "content-type": "application/json" }).end("{}")
              })
            })
            server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
          }),
          (server) => Effect.sync(() => void server.close())
        )
        const { port } = collector.address() as AddressInfo
        const exporter = Otlp.layerJson({
          baseUrl: `http://127.0.0.1:${port}`,
          resource: { serviceName: "shop" },
          metricsExportInterval: "100 millis"
        }).pipe(Layer.provide(FetchHttpClient.layer))
        const sent = yield* Deferred.make<void>()
        yield* Effect.gen(function* () {
          yield* succeed()
          for (let i = 0; i < 500 && !bodies.some((body) => body.includes("circuit_breaker_calls_total")); i++) {
            yield* Effect.sleep("20 millis")
          }
          yield* Deferred.succeed(sent, undefined)
        }).pipe(Effect.provide(Layer.provideMerge(exporter, metered())))
        const last = JSON.parse(bodies.findLast((body) => body.includes("circuit_breaker_calls_total")) ?? "{}")
        const metrics: ReadonlyArray<Record<string, never>> = last.resourceMetrics[0].scopeMetrics[0].metrics
        const kindOf = (name: string) => Object.keys(metrics.find((one) => one["name"] === name) ?? {})
        assert.include(kindOf("circuit_breaker_calls_total"), "sum")
        assert.include(kindOf("circuit_breaker_circuits"), "gauge")
        assert.include(kindOf("circuit_breaker_call_duration_seconds"), "histogram")
      }).pipe(Effect.scoped),
    30_000
  )
})
