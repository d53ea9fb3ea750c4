import type * as Circuit from "../core/Circuit.ts"
import { toMillis } from "../core/millis.ts"
import { type Chart, type Row, toSvg } from "./chart.ts"
import type { PlayReport } from "./figures.ts"
import type { Scenario } from "./scenarios.ts"

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`

const caption = (report: PlayReport): string => {
  const { falseRejections, p99, recovery, share, wasted } = report
  const parts = [`answered ${percent(share)} of what is possible`]
  if (falseRejections >= 0.005) parts.push(`rejected ${percent(falseRejections)} needlessly`)
  if (wasted >= 0.005) parts.push(`wasted ${percent(wasted)} of the work`)
  if (p99 !== undefined) parts.push(`p99 ${p99.toFixed(0)} ms`)
  if (recovery !== undefined) {
    parts.push(recovery === Infinity ? "no recovery" : `recovered after ${(recovery / 1_000).toFixed(0)} s`)
  }
  return parts.join(", ")
}

type Writable<A> = { -readonly [K in keyof A]: A[K] }

const order: ReadonlyArray<Circuit.State | "Limited"> = ["Closed", "Limited", "HalfOpen", "Open"]

/** The share of circuits in each state, in each second. */
const stripOf = ({ circuits, moves, seconds }: PlayReport): Row["strip"] => {
  if (circuits === 0) return []
  const states = new Map<string, Circuit.State>()
  const strip: Array<Writable<Row["strip"][number]>> = []
  let next = 0
  seconds.forEach(({ limited }, second) => {
    const from = second * 1_000
    for (let move = moves[next]; move !== undefined && move.at < from + 500; move = moves[++next]) {
      states.set(`${move.process}/${move.key ?? ""}`, move.to)
    }
    const counts = new Map<string, number>([["Limited", limited]])
    for (const state of states.values()) counts.set(state, (counts.get(state) ?? 0) + 1)
    const others = states.size - (counts.get("Closed") ?? 0)
    counts.set("Closed", circuits - others - limited)
    let above = 0
    for (const kind of order) {
      const share = (counts.get(kind) ?? 0) / circuits
      if (share <= 0) continue
      const same = strip.find(
        (one) => one.until === from && one.kind === kind && one.above === above && one.share === share
      )
      if (same === undefined) strip.push({ from, until: from + 1_000, kind, above, share })
      else same.until = from + 1_000
      above += share
    }
  })
  return strip
}

const describe = ({ callers, server }: Scenario): string => {
  const { attempts = 1, processes = 1, rate, timeout = 1_000 } = callers
  const { replicas = 1, shards = false } = server
  const what = replicas === 1 ? "one server" : `${replicas} ${shards ? "shards" : "replicas"}`
  const tries = attempts === 1 ? "" : `, and try each call ${attempts} times`
  const by = processes === 1 ? "One process calls" : `${processes} processes call`
  const wait = toMillis(timeout) ?? 0
  return `${by} ${what}, ${rate} times a second in all. Callers wait ${wait / 1_000} s for an answer${tries}; after ${wait / 4} ms it is slow. The strip below each chart: the states of the circuits.`
}

/** Draws one row for each report. `about` is the text below the title. */
export const chartOf = (
  { server, title }: Pick<Scenario, "title" | "server">,
  about: string,
  reports: ReadonlyArray<PlayReport>
): Chart => ({
  title,
  about,
  millis: Math.max(1, ...reports.map(({ millis }) => millis)),
  bucketMillis: 1_000,
  shaded: (server.faults ?? []).map(({ at, for: lasts }) => {
    const from = toMillis(at) ?? 0
    return { from, until: from + (toMillis(lasts) ?? 0), kind: "fault" }
  }),
  rows: reports.map((report) => ({
    name: report.policy,
    caption: caption(report),
    bars: report.seconds,
    possible: report.seconds.map(({ possible }) => possible),
    strip: stripOf(report)
  }))
})

export const svg = (scenario: Scenario, reports: ReadonlyArray<PlayReport>): string =>
  toSvg(chartOf(scenario, describe(scenario), reports))
