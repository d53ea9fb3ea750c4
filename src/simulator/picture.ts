import type * as Circuit from "../core/Circuit.ts"
import { printable } from "../core/printable.ts"
import type { Report } from "./report.ts"

const width = 960
const left = 12
const right = 948
const barsHigh = 70
const bandHigh = 10
const head = 26
const row = head + barsHigh + bandHigh + 26

const colours: Readonly<Record<string, string>> = {
  succeeded: "#3f9c6b",
  failed: "#d1495b",
  rejected: "#b8bfca",
  Closed: "#d8eadf",
  Open: "#d1495b",
  HalfOpen: "#edae49",
  Isolated: "#7b4ea3",
  Disabled: "#5a8fc0"
}

/** XML does not allow control characters, not even escaped. */
const escape = (text: string): string =>
  printable(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")

const seconds = (millis: number): string => `${(millis / 1_000).toFixed(1)} s`

const caption = ({ failed, flaps, lost, openings, outages, rejected }: Report): string => {
  const [outage] = outages
  const calls = `${failed} failed, ${rejected} rejected (${lost} for nothing)`
  const moves = `${openings} ${openings === 1 ? "opening" : "openings"}${flaps === 0 ? "" : `, ${flaps} without need`}`
  if (outage === undefined) return `${calls}; ${moves}`
  const { timeToOpen, timeToRecover } = outage
  const opened = timeToOpen === undefined ? "not open in the outage" : `open after ${seconds(timeToOpen)}`
  const closed = timeToRecover === undefined ? "not closed after it" : `closed ${seconds(timeToRecover)} after it`
  return `${calls}; ${moves}; ${opened}${timeToOpen === undefined ? "" : `, ${closed}`}`
}

interface Span {
  readonly from: number
  readonly until: number
  readonly state: Circuit.State
}

const spans = ({ moves }: Report, millis: number): ReadonlyArray<Span> => {
  const starts = [{ at: 0, to: "Closed" as Circuit.State }, ...moves]
  return starts.map(({ at, to }, i) => ({ from: at, until: starts[i + 1]?.at ?? millis, state: to }))
}

/** One policy: the outcomes of the calls over time, and the states below. */
const drawRow = (report: Report, top: number, millis: number, most: number): string => {
  const x = (at: number): number => left + (Math.min(at, millis) / millis) * (right - left)
  const bottom = top + head + barsHigh
  const rect = (from: number, y: number, until: number, high: number, colour: string | undefined, title = "") =>
    `<rect x="${from.toFixed(1)}" y="${y.toFixed(1)}" width="${Math.max(0.5, until - from).toFixed(1)}" height="${high.toFixed(1)}" fill="${colour}">${
      title === "" ? "" : `<title>${escape(title)}</title>`
    }</rect>`
  const outages = report.outages.map(({ from, until }) =>
    rect(x(from), top + head, x(until), barsHigh, "#fbe9eb", "outage")
  )
  const bars = report.buckets.flatMap((bucket, i) => {
    const from = x(i * report.bucketMillis)
    const until = x((i + 1) * report.bucketMillis) - 0.4
    let y = bottom
    return (["succeeded", "failed", "rejected"] as const).flatMap((fate) => {
      if (bucket[fate] === 0) return []
      const high = (bucket[fate] / most) * barsHigh
      y -= high
      return [rect(from, y, until, high, colours[fate], `${bucket[fate]} ${fate}`)]
    })
  })
  const band = spans(report, millis).map(({ from, state, until }) =>
    rect(x(from), bottom + 2, x(until), bandHigh, colours[state], `${state} from ${seconds(from)}`)
  )
  return [
    `<text x="${left}" y="${top + 17}" font-weight="600">${escape(report.policy)}</text>`,
    `<text x="${right}" y="${top + 17}" text-anchor="end" fill="#5b6472" font-size="12">${escape(caption(report))}</text>`,
    ...outages,
    ...bars,
    ...band
  ].join("\n")
}

/** All policies on the same time axis. */
export const svg = (reports: ReadonlyArray<Report>): string => {
  const buckets = reports.flatMap((one) => one.buckets)
  const most = Math.max(1, ...buckets.map(({ failed, rejected, succeeded }) => failed + rejected + succeeded))
  const millis = Math.max(1, ...reports.map((one) => one.buckets.length * one.bucketMillis))
  const high = reports.length * row + 56
  const axis = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const anchor = share === 0 ? "start" : share === 1 ? "end" : "middle"
    const x = left + share * (right - left)
    return `<text x="${x}" y="${high - 42}" font-size="11" fill="#5b6472" text-anchor="${anchor}">${seconds(share * millis)}</text>`
  })
  const legend = [
    ["succeeded", "succeeded"],
    ["failed", "failed"],
    ["rejected", "rejected"],
    ["Open", "beneath it: Open"],
    ["HalfOpen", "HalfOpen"],
    ["Closed", "Closed"]
  ] as const
  const key = legend.map(
    ([colour, text], i) =>
      `<rect x="${left + i * 150}" y="${high - 24}" width="10" height="10" fill="${colours[colour]}"/><text x="${left + i * 150 + 15}" y="${high - 15}" font-size="12" fill="#5b6472">${text}</text>`
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${high}" width="${width}" height="${high}" font-family="system-ui, sans-serif" font-size="14" role="img">`,
    `<title>The same calls under ${reports.length} policies, over ${seconds(millis)}</title>`,
    `<rect width="${width}" height="${high}" fill="#ffffff"/>`,
    ...reports.map((one, i) => drawRow(one, i * row + 4, millis, most)),
    ...axis,
    ...key,
    "</svg>"
  ].join("\n")
}

export const html = (
  reports: ReadonlyArray<Report>,
  heads: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>
): string => {
  const cells = (tag: "td" | "th", row: ReadonlyArray<string>) =>
    `<tr>${row.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>What each policy would have done</title>
<style>
body { font: 14px/1.5 system-ui, sans-serif; max-width: 980px; margin: 2rem auto; padding: 0 1rem; color: #1d232b; background: #fff }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; border-bottom: 1px solid #e3e7ec }
th:first-child, td:first-child { text-align: left }
</style>
<h1>What each policy would have done</h1>
${svg(reports)}
<table>
${[cells("th", heads), ...rows.map((one) => cells("td", one))].join("\n")}
</table>
</html>
`
}
