import { short, time } from "./figures.ts"

export interface Bar {
  readonly label: string
  readonly value: number
  /** The CSS class of the bar, which sets its color. */
  readonly who: "ours" | "ours-too" | "theirs" | "theirs-too" | "memory"
}

export interface Panel {
  readonly title: string
  readonly note: string
  readonly unit: "perSecond" | "millis"
  /** The ends of the axis, powers of ten. */
  readonly from: number
  readonly to: number
  readonly groups: ReadonlyArray<{ readonly name: string; readonly bars: ReadonlyArray<Bar> }>
}

const width = 800
const left = 292
const right = 712
const bar = 15
const pitch = 18
const between = 16

const escape = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

const label = (unit: Panel["unit"], value: number): string =>
  unit === "millis" ? time(value) : value >= 1e6 ? `${short(value / 1e6)} million` : short(value)

const tick = (unit: Panel["unit"], value: number): string =>
  unit === "millis"
    ? time(value).replace(/(\.0+)(?= )/, "")
    : value >= 1e6
      ? `${value / 1e6} million`
      : value.toLocaleString("en-US")

const panel = ({ from, groups, note, title, to, unit }: Panel, top: number): { svg: string; bottom: number } => {
  const x = (value: number) =>
    left +
    ((Math.log10(Math.max(value, from)) - Math.log10(from)) / (Math.log10(to) - Math.log10(from))) * (right - left)
  const lines: Array<string> = [
    `<text class="title" x="20" y="${top + 18}">${escape(title)}</text>`,
    `<text class="note" x="20" y="${top + 37}">${escape(note)}</text>`
  ]
  const start = top + 66
  let y = start
  const bars: Array<string> = []
  for (const group of groups) {
    bars.push(`<text class="group" x="20" y="${y + 12}">${escape(group.name)}</text>`)
    for (const { label: name, value, who } of group.bars) {
      const end = x(value)
      const long = Math.max(2, end - left)
      bars.push(
        `<text class="name" x="${left - 8}" y="${y + 12}">${escape(name)}</text>`,
        `<rect class="${who}" x="${left}" y="${y}" width="${long.toFixed(1)}" height="${bar}" rx="2"/>`,
        `<text class="value" x="${(end + 6).toFixed(1)}" y="${y + 12}">${escape(label(unit, value))}</text>`
      )
      y += pitch
    }
    y += between
  }
  const bottom = y - between + 2
  for (let power = Math.round(Math.log10(from)); power <= Math.round(Math.log10(to)); power++) {
    const at = x(10 ** power).toFixed(1)
    lines.push(`<line class="grid" x1="${at}" x2="${at}" y1="${start - 6}" y2="${bottom}"/>`)
    lines.push(`<text class="tick" x="${at}" y="${start - 11}">${tick(unit, 10 ** power)}</text>`)
  }
  return { svg: [...lines, ...bars].join("\n"), bottom }
}

const style = `
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 17px; font-weight: 600 }
.note, .foot { font-size: 12px; fill: #59636e }
.group { font-size: 13px; font-weight: 600 }
.name { font-size: 12px; text-anchor: end }
.value { font-size: 12px; paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
.tick { font-size: 11px; text-anchor: middle; fill: #59636e }
.grid { stroke: #d1d9e0; stroke-width: 1 }
.paper { fill: #ffffff }
.ours { fill: #0969da }
.ours-too { fill: #80b9f5 }
.theirs { fill: #d4662a }
.theirs-too { fill: #eeae88 }
.memory { fill: #9aa4af }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .note, .foot, .tick { fill: #9198a1 }
  .value { stroke: #0d1117 }
  .grid { stroke: #3d444d }
  .paper { fill: #0d1117 }
  .ours { fill: #4493f8 }
  .ours-too { fill: #2b5a94 }
  .theirs { fill: #e0763a }
  .theirs-too { fill: #8a4b28 }
  .memory { fill: #656c76 }
}
`

/** Bars on a logarithmic scale: each line is ten times the one before. */
export const chart = (panels: ReadonlyArray<Panel>, foot: ReadonlyArray<string>): string => {
  let y = 14
  const drawn: Array<string> = []
  for (const one of panels) {
    const { bottom, svg } = panel(one, y)
    drawn.push(svg)
    y = bottom + 34
  }
  for (const line of foot) {
    drawn.push(`<text class="foot" x="20" y="${y}">${escape(line)}</text>`)
    y += 17
  }
  const height = y + 4
  const size = `viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`
  const title = panels.map((one) => one.title).join("; ")
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img">`,
    `<title>${escape(title)}</title>`,
    `<style>${style}</style>`,
    `<rect class="paper" width="${width}" height="${height}" rx="6"/>`,
    ...drawn,
    "</svg>",
    ""
  ].join("\n")
}
