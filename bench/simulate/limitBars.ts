/** The bars of the adaptive limit, for the worst seed. */
import type { Results } from "./experiment.ts"
import { labelOf, type SettingName } from "./limit.ts"

interface LimitBar {
  readonly bar: string
  readonly least?: number
  readonly most?: number
  /** Compares a figure of several cases with a bar. The worst case must meet the bar. */
  readonly figure: string
  readonly labels: ReadonlyArray<string>
}

export interface JudgedLimit extends LimitBar {
  readonly found: number
  /** The case with the worst figure. */
  readonly at: string
  readonly met: boolean
}

const all = [1, 3, 20]
const each = (names: ReadonlyArray<SettingName>, sizes: ReadonlyArray<number>, rates: ReadonlyArray<number> = [200]) =>
  names.flatMap((name) => rates.flatMap((rate) => sizes.map((n) => labelOf(name, n, { rate }))))

const calm = each(["healthy", "errors5", "gc", "burstRoomy"], all, [20, 200, 2_000])
const browns = ["brown50", "slow50"] as const satisfies ReadonlyArray<SettingName>
const faults = ["brown50", "slow50", "brown20", "brown8"] as const satisfies ReadonlyArray<SettingName>

export const limitBars: ReadonlyArray<LimitBar> = [
  { bar: "healthy, errors5, gc, burstRoomy: of no protection", figure: "of none", least: 0.995, labels: calm },
  { bar: "healthy, errors5, gc, burstRoomy: false rejections", figure: "false rejections", most: 0.001, labels: calm },
  { bar: "heavytail: of no protection", figure: "of none", least: 0.99, labels: each(["heavytail"], all, [20, 200]) },
  {
    bar: "heavytail: false rejections at 200/s",
    figure: "false rejections",
    most: 0.001,
    labels: each(["heavytail"], all)
  },
  {
    bar: "heavytail: false rejections at 20/s",
    figure: "false rejections",
    most: 0.003,
    labels: each(["heavytail"], all, [20])
  },
  { bar: "brown50, slow50 x1, x3", figure: "share", least: 0.9, labels: each(browns, [1, 3]) },
  { bar: "brown50, slow50 x20", figure: "share", least: 0.85, labels: each(browns, [20]) },
  { bar: "brown50, slow50 x1, x3: settled", figure: "settled", least: 0.97, labels: each(browns, [1, 3]) },
  { bar: "brown50, slow50 x20: settled", figure: "settled", least: 0.95, labels: each(browns, [20]) },
  { bar: "brown50, slow50: of a breaker with ramp", figure: "of ramp", least: 1.7, labels: each(browns, all) },
  { bar: "brown20 x3", figure: "share", least: 0.75, labels: each(["brown20"], [3]) },
  { bar: "brown20 x3: settled", figure: "settled", least: 0.95, labels: each(["brown20"], [3]) },
  { bar: "brown8 x3: settled", figure: "settled", least: 0.95, labels: each(["brown8"], [3]) },
  { bar: "brown8 x20: settled", figure: "settled", least: 0.45, labels: each(["brown8"], [20]) },
  {
    bar: "oscillate, gradual, growth x3",
    figure: "share",
    least: 0.9,
    labels: each(["oscillate", "gradual", "growth"], [3])
  },
  { bar: "metastable x3", figure: "share", least: 0.92, labels: each(["metastable"], [3]) },
  {
    bar: "metastable x3: no protection gives nothing",
    figure: "none share",
    most: 0.01,
    labels: each(["metastable"], [3])
  },
  { bar: "coldcache x3", figure: "share", least: 0.7, labels: each(["coldcache"], [3]) },
  { bar: "outage x3", figure: "share", least: 0.8, labels: each(["outage"], [3]) },
  {
    bar: "coldcache, outage x3: from close to full load (s)",
    figure: "after close s",
    most: 10,
    labels: each(["coldcache", "outage"], [3])
  },
  {
    bar: "latency10, latency20 x3: of no protection",
    figure: "of none",
    least: 0.99,
    labels: each(["latency10", "latency20"], [3])
  },
  {
    bar: "latency10 x3, objective 200 ms",
    figure: "share",
    least: 0.8,
    labels: [labelOf("latency10", 3, { objective: 200 })]
  },
  { bar: "limping x1, x3: of no protection", figure: "of none", least: 0.95, labels: each(["limping"], [1, 3]) },
  { bar: "limping x20: of no protection", figure: "of none", least: 0.65, labels: each(["limping"], [20]) },
  { bar: "fast503 x3", figure: "share", least: 0.95, labels: each(["fast503"], [3]) },
  { bar: "quota50, quota8 x3", figure: "share", least: 0.95, labels: each(["quota50", "quota8"], [3]) },
  { bar: "quota8 x3: calls sent, as a multiple of the quota", figure: "sent", most: 4, labels: each(["quota8"], [3]) },
  { bar: "brown50, brown20: wasted work", figure: "wasted", most: 0.1, labels: each(["brown50", "brown20"], all) },
  { bar: "recovery after every brownout (s)", figure: "recovery s", most: 5, labels: each(faults, all) },
  { bar: "brown50 x20: fairness", figure: "fairness", least: 0.93, labels: each(["brown50"], [20]) }
]

/** Judges the bars. A bar with a missing figure is missed. */
export const judgeLimit = (results: Results, bars = limitBars): ReadonlyArray<JudgedLimit> =>
  bars.map((bar) => {
    const found = bar.labels.map((at) => ({ at, value: results[at]?.[bar.figure] ?? Number.NaN }))
    const sorted = found.sort((a, b) => (bar.least === undefined ? b.value - a.value : a.value - b.value))
    const worst = found.find(({ value }) => Number.isNaN(value)) ?? sorted[0] ?? { at: "", value: Number.NaN }
    const { at, value } = worst
    return { ...bar, found: value, at, met: bar.least === undefined ? value <= (bar.most ?? 0) : value >= bar.least }
  })

const shown = (value: number): string => (Number.isNaN(value) ? "-" : String(Number(value.toPrecision(3))))

/** The bars as lines of a table. */
export const limitLines = (judged: ReadonlyArray<JudgedLimit>): ReadonlyArray<string> => {
  const rows = judged.map(({ at, bar, found, least, met, most }) => [
    met ? "met" : "MISSED",
    least === undefined ? `<= ${most}` : `>= ${least}`,
    shown(found),
    bar,
    at
  ])
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd()
  )
}
