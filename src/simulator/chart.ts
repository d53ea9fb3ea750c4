import { type Element, element, type Shape, toText } from "./shapes.ts"

/** The texts of the legend. */
const kinds = {
  answered: "answered in time",
  slow: "answered slowly",
  failed: "failed or timed out",
  rejected: "rejected by the protection",
  Closed: "circuit Closed: calls pass",
  Limited: "circuit Closed, with a limit: some calls pass",
  HalfOpen: "circuit HalfOpen: only probes pass",
  Open: "circuit Open: no calls pass",
  Isolated: "circuit Isolated by an operator",
  Disabled: "circuit Disabled by an operator",
  fault: "fault",
  outage: "outage",
  possible: "what the server could answer"
} as const

export type ChartKind = keyof typeof kinds

/** The colours of a light and of a dark page. People with a common colour vision deficiency can tell them apart. */
const colours: Readonly<Record<ChartKind, readonly [light: string, dark: string]>> = {
  answered: ["#1f9d74", "#2fb98c"],
  slow: ["#a5d65b", "#8cbf45"],
  failed: ["#e2641b", "#f2803d"],
  rejected: ["#b9c0ca", "#59626f"],
  Closed: ["#d4e9e0", "#21443a"],
  Limited: ["#e9b949", "#b98a1d"],
  HalfOpen: ["#b79ad6", "#8f6cc0"],
  Open: ["#5b2a86", "#c9a4f4"],
  Isolated: ["#a3195b", "#e0579a"],
  Disabled: ["#3b7bbf", "#69a6e4"],
  fault: ["#f0f1f4", "#1d242d"],
  outage: ["#f0f1f4", "#1d242d"],
  possible: ["#1d232b", "#f0f3f6"]
}

const page = {
  background: ["#ffffff", "#0f141a"],
  ink: ["#1d232b", "#e6eaee"],
  soft: ["#5b6472", "#9aa5b1"],
  grid: ["#dfe3e8", "#2c353f"]
}

export interface Bar {
  readonly answered: number
  /** The slow calls. `answered` includes them. Default: 0. */
  readonly slow?: number
  readonly failed: number
  readonly rejected: number
}

export interface Row {
  readonly name: string
  readonly caption: string
  /** Calls per second, in each bucket of time. */
  readonly bars: ReadonlyArray<Bar>
  /** Calls per second that the server could answer, in each bucket. */
  readonly possible?: ReadonlyArray<number> | undefined
  /**
   * The strip below the bars has these areas. `from` and `until` are in milliseconds. `share` is the height of an area, and `above` is its
   * distance from the top. Both are from 0 to 1, and the strip has the height 1.
   */
  readonly strip: ReadonlyArray<{
    readonly from: number
    readonly until: number
    readonly kind: ChartKind
    readonly above: number
    readonly share: number
  }>
}

export interface Chart {
  /** The width in pixels. Default: 960. Below 640, each caption is below its name. */
  readonly width?: number | undefined
  readonly title: string
  /** The text below the title. */
  readonly about: string
  readonly millis: number
  readonly bucketMillis: number
  readonly shaded: ReadonlyArray<{ readonly from: number; readonly until: number; readonly kind: "fault" | "outage" }>
  readonly rows: ReadonlyArray<Row>
}

const usualWidth = 960
const left = 58
const high = 92
const stripHigh = 12

interface Layout {
  readonly width: number
  readonly right: number
  /** Whether captions are below the names. */
  readonly narrow: boolean
}

const layoutOf = ({ width = usualWidth }: Chart): Layout => ({ width, right: width - 16, narrow: width < 640 })

/** The colours as CSS. */
export const css = (): string => {
  const rules = (scheme: 0 | 1): string =>
    [
      `.page{fill:${page.background[scheme]}}`,
      `text{fill:${page.ink[scheme]}}`,
      `.soft{fill:${page.soft[scheme]}}`,
      `.grid{stroke:${page.grid[scheme]}}`,
      `.axis{stroke:${page.soft[scheme]}}`,
      ...Object.entries(colours).map(([kind, both]) => `.${kind}{fill:${both[scheme]}}`),
      `.line{fill:none;stroke:${colours.possible[scheme]}}`
    ].join("")
  return `${rules(0)}.line{stroke-width:1.5;stroke-dasharray:5 3}@media (prefers-color-scheme:dark){${rules(1)}}`
}

const n = (value: number): string => String(Number(value.toFixed(1)))

const box = (x: number, y: number, wide: number, tall: number): string =>
  `M${n(x)} ${n(y)}h${n(Math.max(0.3, wide))}v${n(tall)}h-${n(Math.max(0.3, wide))}z`

const path = (kind: string, d: string, children: ReadonlyArray<Shape> = []): Element =>
  element("path", { class: kind, d }, ...children)

const filled = (kind: ChartKind, shape: string, title = ""): Element =>
  path(kind, shape, title === "" ? [] : [element("title", {}, title)])

const text = (x: number, y: number, size: number, what: string, more: Element["attributes"] = {}): Element =>
  element("text", { x: n(x), y: n(y), "font-size": String(size), ...more }, what)

/** A round step that divides the range into at most `most` parts. */
const stepFor = (range: number, most: number): number => {
  const power = 10 ** Math.floor(Math.log10(range / most))
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => range / step <= most) ?? range
}

/** The steps of the time axis in milliseconds, with their unit. */
const times = [
  [1_000, "s", [1, 2, 5, 10, 20, 30]],
  [60_000, "min", [1, 2, 5, 10, 20, 30]],
  [3_600_000, "h", [1, 2, 4, 6, 12, 24]]
] as const

const timeAxis = (
  millis: number,
  most: number
): { readonly step: number; readonly unit: number; readonly name: string } => {
  for (const [unit, name, steps] of times) {
    for (const step of steps) if (millis / (step * unit) <= most) return { step: step * unit, unit, name }
  }
  return millis < 1_000 ? { step: millis, unit: 1_000, name: "s" } : { step: millis / 8, unit: 3_600_000, name: "h" }
}

/** The parts of a bar, from the bottom to the top. */
const partsOf = ({ answered, failed, rejected, slow = 0 }: Bar) =>
  [
    ["answered", answered - slow],
    ["slow", slow],
    ["failed", failed],
    ["rejected", rejected]
  ] as const

/** Splits the name and the caption of a row into lines. A wide chart has the caption beside the name, so `below` is empty. */
const headOf = ({ caption, name }: Row, { narrow, right }: Layout) => {
  const names = narrow ? wrapped(name, (right - left) / namePixels) : [name]
  const below = narrow ? wrapped(caption, (right - left) / pixels) : []
  return { names, below, extra: (names.length - 1) * 18 + below.length * 16 }
}

const rowHigh = (row: Row, layout: Layout): number => high + stripHigh + 48 + headOf(row, layout).extra

const drawRow = (
  chart: Chart,
  row: Row,
  start: number,
  { most, step }: Scale,
  layout: Layout
): ReadonlyArray<Element> => {
  const { bucketMillis, millis, shaded } = chart
  const { narrow, right } = layout
  const { below, extra, names } = headOf(row, layout)
  const top = start + extra
  const x = (at: number): number => left + (Math.min(at, millis) / millis) * (right - left)
  const bottom = top + 28 + high
  const y = (rate: number): number => bottom - (Math.min(rate, most) / most) * high
  const ticks = Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, i) => i * step)
  const shapes = new Map<ChartKind, string>()
  const add = (kind: ChartKind, shape: string): void => void shapes.set(kind, (shapes.get(kind) ?? "") + shape)
  row.bars.forEach((bar, i) => {
    const from = x(i * bucketMillis)
    const wide = x((i + 1) * bucketMillis) - from - 0.6
    let below = 0
    for (const [kind, rate] of partsOf(bar)) {
      const [lower, upper] = [y(below), y(below + rate)]
      below += rate
      if (upper < lower) add(kind, box(from, upper, wide, lower - upper))
    }
  })
  const line = (row.possible ?? []).map(
    (rate, i) => `${i === 0 ? "M" : "L"}${n(x(i * bucketMillis))} ${n(y(rate))}H${n(x((i + 1) * bucketMillis))}`
  )
  for (const { above, from, kind, share, until } of row.strip) {
    add(kind, box(x(from), bottom + 5 + above * stripHigh, x(until) - x(from), share * stripHigh))
  }
  return [
    ...names.map((line, i) => text(left, start + 18 + i * 18, 14, line, { "font-weight": "600" })),
    ...below.map((line, i) => text(left, start + 17 + names.length * 18 + i * 16, 12, line, { class: "soft" })),
    ...(narrow ? [] : [text(right, top + 18, 12, row.caption, { "text-anchor": "end", class: "soft" })]),
    ...shaded.map(({ from, kind, until }) =>
      filled(kind, box(x(from), bottom - high, x(until) - x(from), high), kinds[kind])
    ),
    ...ticks.map((tick) => path("grid", `M${left} ${n(y(tick))}H${right}`)),
    ...ticks.map((tick) => text(left - 6, y(tick) + 4, 11, n(tick), { "text-anchor": "end", class: "soft" })),
    ...Array.from(shapes, ([kind, shape]) => filled(kind, shape, kinds[kind])),
    ...(line.length === 0 ? [] : [path("line", line.join(""))])
  ]
}

/** The kinds that the chart shows, in the order of the legend. */
const shown = ({ rows, shaded }: Chart): ReadonlyArray<ChartKind> => {
  const found = new Set<ChartKind>(shaded.map(({ kind }) => kind))
  for (const { bars, possible, strip } of rows) {
    for (const bar of bars) for (const [kind, rate] of partsOf(bar)) if (rate > 0) found.add(kind)
    for (const { kind } of strip) found.add(kind)
    if (possible !== undefined) found.add("possible")
  }
  return (Object.keys(kinds) as Array<ChartKind>).filter((kind) => found.has(kind))
}

/** A character has about this width in pixels. `namePixels` is for names. */
const pixels = 6.3
const namePixels = 8.6

const legend = (
  found: ReadonlyArray<ChartKind>,
  top: number,
  right: number
): { readonly lines: ReadonlyArray<Element>; readonly tall: number } => {
  let x = left
  let y = top
  const lines = found.flatMap((kind) => {
    const wide = 18 + kinds[kind].length * pixels + 16
    if (x + wide > right && x > left) {
      x = left
      y += 20
    }
    const at = x
    x += wide
    const sign = kind === "possible" ? path("line", `M${n(at)} ${y - 4}h14`) : filled(kind, box(at, y - 9, 12, 11))
    return [sign, text(at + 18, y, 12, kinds[kind], { class: "soft" })]
  })
  return { lines, tall: y - top + 20 }
}

interface Scale {
  /** Calls per second at the top of each chart. */
  readonly most: number
  readonly step: number
  /** Whether some bars are higher. */
  readonly cut: boolean
}

/** All rows have the same scale. A few very high bars are cut off, because they would make the other bars too small. */
const scaleOf = ({ rows }: Chart): Scale => {
  const all = rows.flatMap(({ bars }) => bars.map(({ answered, failed, rejected }) => answered + failed + rejected))
  const sorted = all.sort((a, b) => a - b)
  const highest = Math.max(1e-3, sorted.at(-1) ?? 0)
  const usual = sorted[Math.floor(sorted.length / 2)] ?? 0
  const cut = usual > 0 && highest > 3 * usual
  const top = cut ? 2.5 * usual : highest
  const step = stepFor(top, 3)
  return { most: Math.ceil(top / step) * step, step, cut }
}

/** How many characters fit into a line at the usual width, approximately: first in a text, then in the title. */
const lineLength = 145
const titleLength = 88

/** The text in lines, broken between words. */
const wrapped = (words: string, most: number): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const word of words.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > most) {
      lines.push(line)
      line = word
    } else line = line === "" ? word : `${line} ${word}`
  }
  return [...lines, line]
}

/** Draws the rows below each other with one time axis. The elements have classes, and {@link css} has their colours. */
export const draw = (chart: Chart): Element => {
  const { about, millis, rows, title } = chart
  const layout = layoutOf(chart)
  const { narrow, right, width } = layout
  const scale = scaleOf(chart)
  const note = scale.cut ? `${about} Bars above ${n(scale.most)} are cut off.` : about
  const room = (right - left) / (usualWidth - 16 - left)
  const titles = wrapped(title, titleLength * room)
  const lines = wrapped(note, lineLength * room)
  const below = 29 + titles.length * 22
  const head = below + lines.length * 18
  const key = legend(shown(chart), head + 8, right)
  const top = head + 8 + key.tall
  const tops = rows.map((_, i) => rows.slice(0, i).reduce((sum, row) => sum + rowHigh(row, layout), top))
  const bottom = rows.reduce((sum, row) => sum + rowHigh(row, layout), top)
  const total = bottom + 36
  const axis = timeAxis(millis, narrow ? 6 : 12)
  const ticks = Array.from({ length: Math.floor(millis / axis.step + 1e-9) + 1 }, (_, i) => i * axis.step)
  const x = (at: number): number => left + (at / millis) * (right - left)
  const [first] = rows
  const middle = top + 28 + high / 2 + (first === undefined ? 0 : headOf(first, layout).extra)
  return element(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      viewBox: `0 0 ${width} ${n(total)}`,
      width: String(width),
      height: n(total),
      "font-family": "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
      role: "img"
    },
    element("title", {}, title),
    element("rect", { class: "page", width: String(width), height: n(total) }),
    ...titles.map((line, i) => text(left, 30 + i * 22, 17, line, { "font-weight": "600" })),
    ...lines.map((line, i) => text(left, below + i * 18, 12, line, { class: "soft" })),
    ...key.lines,
    ...rows.flatMap((row, i) => drawRow(chart, row, tops[i] ?? top, scale, layout)),
    text(16, middle, 11, "calls per second", {
      class: "soft",
      "text-anchor": "middle",
      transform: `rotate(-90 16 ${n(middle)})`
    }),
    ...ticks.map((at) => path("axis", `M${n(x(at))} ${n(bottom - 13)}v4`)),
    ...ticks.map((at) => text(x(at), bottom + 3, 11, n(at / axis.unit), { "text-anchor": "middle", class: "soft" })),
    text((left + right) / 2, bottom + 21, 11, `time (${axis.name})`, { "text-anchor": "middle", class: "soft" })
  )
}

/** Writes a chart as an SVG file, with its colours. */
export const toSvg = (chart: Chart): string => {
  const { attributes, children, tag } = draw(chart)
  const [title, ...rest] = children
  const colours = element("style", {}, css())
  return toText(element(tag, attributes, ...(title === undefined ? [] : [title]), colours, ...rest), "\n")
}
