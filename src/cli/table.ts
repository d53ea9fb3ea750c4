import { styleText } from "node:util"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import stringWidth from "string-width"
import { printable } from "../core/printable.ts"

/** The properties of the output that matter for an answer. */
export interface Screen {
  /** How many columns a line may have; `Infinity` if output is not a terminal. */
  readonly columns: number
  readonly color: boolean
}

/** The output to a file or a pipe, or in a test. */
export const plain: Screen = { columns: Infinity, color: false }

/** The output of this program. With `wide`, lines are not cut. */
export const screen = (wide: boolean): Effect.Effect<Screen> =>
  Effect.map(TerminalCapabilities, ({ canColor }) => ({
    // Some terminals report a width of 0.
    columns: wide || process.stdout.isTTY !== true ? Infinity : process.stdout.columns || Infinity,
    color: canColor
  }))

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "magenta"

export const paint = (text: string, style: Style | undefined, { color }: Screen): string =>
  color && style !== undefined && text !== "" ? styleText(style, text, { validateStream: false }) : text

const styles: Readonly<Record<string, Style>> = {
  Open: "red",
  Isolated: "red",
  HalfOpen: "yellow",
  Disabled: "magenta",
  Unreadable: "magenta",
  Closed: "green"
}

/** The color of a text that begins with the name of a state, such as `Open (9)`. */
export const styleOf = (state: string): Style | undefined => styles[/^\w*/.exec(state)?.[0] ?? ""]

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" })

/** Cuts a text to a number of columns. If it is cut, it ends with an ellipsis. */
export const cut = (text: string, columns: number): string => {
  if (stringWidth(text) <= columns) return text
  let kept = ""
  let used = 1
  for (const { segment } of segmenter.segment(text)) {
    used += stringWidth(segment)
    if (used > columns) break
    kept += segment
  }
  return columns < 1 ? "" : `${kept.trimEnd()}…`
}

/** No column is made narrower than this. */
const narrowest = 8
const gap = "  "

/** Makes the widest columns narrower until all columns fit into a line. */
const narrowed = (
  widths: ReadonlyArray<number>,
  mayGiveWay: (column: number) => boolean,
  columns: number
): ReadonlyArray<number> => {
  const room = columns - gap.length * (widths.length - 1)
  const at = (limit: number) => widths.map((width, column) => (mayGiveWay(column) ? Math.min(width, limit) : width))
  const fits = (limit: number) => at(limit).reduce((sum, width) => sum + width, 0) <= room
  let limit = Math.max(narrowest, ...widths)
  while (limit > narrowest && !fits(limit)) limit--
  return at(limit)
}

export interface Column {
  readonly head: string
  /** Whether its cells are names or texts. They are cut before the cells of other columns. */
  readonly long?: boolean
  readonly styleOf?: (cell: string) => Style | undefined
}

/**
 * Rows in columns, under their heads. A column that is empty in all rows is left out. A line break in a cell is escaped, and no line
 * is longer than the screen is wide.
 */
export const table = (
  columns: ReadonlyArray<Column>,
  cells: ReadonlyArray<ReadonlyArray<string>>,
  on: Screen = plain
): string => {
  const rows = cells.map((row) => row.map(printable))
  const used = columns
    .map((column, index) => ({ ...column, index }))
    .filter(({ index }) => rows.some((row) => (row[index] ?? "") !== ""))
  const widest = used.map(({ head, index }) =>
    rows.reduce((most, row) => Math.max(most, stringWidth(row[index] ?? "")), stringWidth(head))
  )
  const fitting = narrowed(widest, (column) => used[column]?.long === true, on.columns)
  const widths = narrowed(fitting, () => true, on.columns)
  const line = (cellOf: (column: Column & { readonly index: number }) => readonly [string, Style | undefined]) => {
    let left = on.columns
    const parts = used.map((column, n) => {
      const width = Math.min(widths[n] ?? 0, left)
      left = Math.max(0, left - width - gap.length)
      const [text, style] = cellOf(column)
      const cell = cut(text, width).trimEnd()
      return paint(cell, style, on) + " ".repeat(Math.max(0, width - stringWidth(cell)))
    })
    return parts.join(gap).trimEnd()
  }
  return [
    line(({ head }) => [head, "bold"]),
    ...rows.map((row) => line(({ index, styleOf }) => [row[index] ?? "", styleOf?.(row[index] ?? "")]))
  ].join("\n")
}
