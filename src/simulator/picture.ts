import type * as Circuit from "../core/Circuit.ts"
import { plural } from "../core/plural.ts"
import { type Row, toSvg } from "./chart.ts"
import type { Report } from "./report.ts"
import { escape } from "./shapes.ts"

const seconds = (millis: number): string => `${(millis / 1_000).toFixed(1)} s`

const caption = ({ failed, flaps, lost, openings, outages, rejected }: Report): string => {
  const [outage] = outages
  const calls = `${failed} failed, ${rejected} rejected (${lost} needlessly)`
  const moves = `${plural(openings, "opening")}${flaps === 0 ? "" : `, ${flaps} needless`}`
  if (outage === undefined) return `${calls}; ${moves}`
  const { timeToOpen, timeToRecover } = outage
  const opened = timeToOpen === undefined ? "not open in the outage" : `open after ${seconds(timeToOpen)}`
  const closed =
    timeToRecover === undefined ? "not closed after the outage" : `closed ${seconds(timeToRecover)} after the outage`
  return `${calls}; ${moves}; ${opened}${timeToOpen === undefined ? "" : `, ${closed}`}`
}

/** The states of the circuit over time. */
const stripOf = ({ moves }: Report, millis: number): Row["strip"] => {
  const starts = [{ at: 0, to: "Closed" as Circuit.State }, ...moves]
  return starts.map(({ at, to }, i) => ({
    from: at,
    until: Math.max(at, starts[i + 1]?.at ?? millis),
    kind: to,
    above: 0,
    share: 1
  }))
}

/** All policies on the same time axis. */
export const svg = (reports: ReadonlyArray<Report>): string => {
  const millis = Math.max(1, ...reports.map((one) => one.buckets.length * one.bucketMillis))
  const [first] = reports
  const bucketMillis = first?.bucketMillis ?? 1_000
  return toSvg({
    title: reports.length === 1 ? "The calls under one policy" : `The same calls under ${reports.length} policies`,
    about: "The strip below each chart shows the states of the circuit.",
    millis,
    bucketMillis,
    shaded: (first?.outages ?? []).map(({ from, until }) => ({ from, until, kind: "outage" })),
    rows: reports.map((report) => ({
      name: report.policy,
      caption: caption(report),
      bars: report.buckets.map(({ failed, rejected, succeeded }) => {
        const perSecond = 1_000 / bucketMillis
        return { answered: succeeded * perSecond, failed: failed * perSecond, rejected: rejected * perSecond }
      }),
      strip: stripOf(report, millis)
    }))
  })
}

/** A page with a picture and a table. */
export const html = (
  title: string,
  image: string,
  heads: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>
): string => {
  const cells = (tag: "td" | "th", row: ReadonlyArray<string>) =>
    `<tr>${row.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escape(title)}</title>
<style>
:root { color-scheme: light dark }
body { font: 14px/1.5 system-ui, sans-serif; max-width: 980px; margin: 2rem auto; padding: 0 1rem; color: #1d232b; background: #fff }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; border-bottom: 1px solid #e3e7ec }
th:first-child, td:first-child { text-align: left }
@media (prefers-color-scheme: dark) { body { color: #e6eaee; background: #0f141a } th, td { border-color: #2c353f } }
</style>
<h1>${escape(title)}</h1>
${image}
<table>
${[cells("th", heads), ...rows.map((one) => cells("td", one))].join("\n")}
</table>
</html>
`
}
