import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { BreakerMetrics, BreakerStore, MemoryStore } from "effect-fuse"
import { succeed } from "./support/verbs.ts"

const docs = fileURLToPath(new URL("../docs", import.meta.url))
const read = (name: string) => readFileSync(join(docs, name), "utf8")

interface Panel {
  readonly id: number
  readonly title: string
  readonly targets: ReadonlyArray<{ readonly expr: string }>
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
}

const dashboard: {
  readonly panels: ReadonlyArray<Panel>
  readonly templating: { readonly list: ReadonlyArray<{ readonly definition?: string }> }
} = JSON.parse(read("grafana-dashboard.json"))

const alerts = Array.from(
  read("prometheus-alerts.yml").matchAll(/- alert: (\w+)\n\s+expr: (?:\|\n((?:\s{10,}.+\n)+)|(.+)\n)/g),
  ([, name = "", block, line]): readonly [name: string, expr: string] => [name, (block ?? line ?? "").trim()]
)

const expressions: ReadonlyArray<readonly [where: string, expr: string]> = [
  ...dashboard.panels.flatMap(({ targets, title }) => targets.map(({ expr }) => [`panel "${title}"`, expr] as const)),
  ...dashboard.templating.list.flatMap(({ definition }) =>
    definition === undefined ? [] : [["variable", definition] as const]
  ),
  ...alerts
]

/** How long each alert must hold before it fires: 0m where its rule says nothing. */
const holds = Array.from(
  read("prometheus-alerts.yml").matchAll(/- alert: (\w+)\n([\s\S]*?)(?=\n +- alert: |$)/g),
  ([, name = "", rule = ""]) => [name, /^ +for: (\w+)$/m.exec(rule)?.[1] ?? "0m"]
)

/** The names of all metrics that there are, with the labels of their series. */
const exported = Effect.gen(function* () {
  yield* succeed()
  yield* PrometheusMetrics.format()
  const page = yield* PrometheusMetrics.format()
  const labels = new Map<string, Set<string>>()
  for (const [, name = "", list = ""] of page.matchAll(/^(\w+)(?:\{(.*)\})? /gm)) {
    const known = labels.get(name) ?? new Set()
    labels.set(name, known)
    for (const [, label = ""] of list.matchAll(/(\w+)="/g)) known.add(label)
  }
  return labels
}).pipe(
  Effect.provide(
    Layer.provideMerge(
      BreakerMetrics.layer(),
      Layer.unwrap(Effect.map(MemoryStore.make, (store) => Layer.orDie(BreakerStore.layerShared(store))))
    )
  ),
  Effect.provideService(Metric.MetricRegistry, new Map())
)

/** What a collector adds to each series. */
const added = ["instance", "job"]

describe("the dashboard and the alerts", () => {
  it("are of some size", () => {
    assert.isAtLeast(dashboard.panels.length, 10)
    assert.isAtLeast(alerts.length, 6)
    assert.strictEqual(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
  })

  it.effect.each(expressions)("%s asks for metrics and labels that there are", ([, expr]) =>
    Effect.gen(function* () {
      const known = yield* exported
      const named = Array.from(expr.matchAll(/(circuit_breaker_\w+)(?:\{([^}]*)\})?/g))
      assert.isAbove(named.length, 0)
      for (const [, metric = "", matchers = ""] of named) {
        assert.isTrue(known.has(metric), `${metric} is not exported`)
        for (const [, label = ""] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)) {
          assert.isTrue(known.get(metric)?.has(label), `${metric} has no label ${label}`)
        }
      }
      const labels = new Set(named.flatMap(([, metric = ""]) => [...(known.get(metric) ?? [])]))
      for (const [, list = ""] of expr.matchAll(/\bby \(([^)]*)\)/g)) {
        for (const label of list.split(",").map((one) => one.trim())) {
          assert.isTrue(labels.has(label) || added.includes(label), `nothing in it has the label ${label}`)
        }
      }
    })
  )

  it.effect("show every metric that there is", () =>
    Effect.gen(function* () {
      const all = expressions.map(([, expr]) => expr).join("\n")
      const families = new Set([...(yield* exported).keys()].map((name) => name.replace(/_(bucket|sum|count)$/, "")))
      const missing = [...families].filter((name) => !all.includes(name))
      assert.deepStrictEqual(missing.sort(), ["circuit_breaker_evictions_total", "circuit_breaker_passed_total"])
    })
  )

  it("are described in alerts.md: each alert has the minimum duration of its condition", () => {
    const rows = read("alerts.md").matchAll(/^\| `(Circuit\w+)` \| [^|]+ \| (\w+) \|/gm)
    assert.deepStrictEqual(
      Array.from(rows, ([, name, hold]) => [name, hold]),
      holds
    )
  })

  it("have panels that do not lie on one another", () => {
    const cells = new Set<string>()
    for (const { gridPos, title } of dashboard.panels) {
      assert.isAtMost(gridPos.x + gridPos.w, 24, title)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.isFalse(cells.has(`${x},${y}`), title)
          cells.add(`${x},${y}`)
        }
      }
    }
  })
})
