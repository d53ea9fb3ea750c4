import { styleText } from "node:util"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import stringWidth from "string-width"
import { printable } from "../printable.ts"

/** What an answer is printed on. */
export interface Screen {
  /** How many columns a line may have; `Infinity` if output is not a terminal. */
  readonly columns: number
  readonly color: boolean
}

/** A file, a pipe, or a test. */
export const plain: Screen = { columns: Infinity, color: false }

/** The terminal that this program writes to. `wide` keeps lines whole. */
export const screen = (wide: boolean): Effect.Effect<Screen> =>
  Effect.map(TerminalCapabilities, ({ canColor }) => ({
    // A terminal that does not know its width says 0.
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

/** The color of a state; what follows its name, such as a number, has the same. */
export const styleOf = (state: string): Style | undefined => styles[/^\w*/.exec(state)?.[0] ?? ""]

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" })

/** Cuts a text to a number of columns. The last one that is left is an ellipsis. */
export const cut = (text: string, columns: number): string => {
  if (stringWidth(text) <= columns) return text
  let kept = ""
  let used = 1
  for (const { segment } of segmenter.segment(text)) {
    used += stringWidth(segment)
    if (used > columns) break
    kept += segment
  }
  return columns < 1 ? "" : `${kept}…`
}

/** No column is made narrower than this. */
const narrowest = 8
const gap = "  "

/** The widths at which all columns fit into a line: the widest ones give way. */
const narrowed = (widths: ReadonlyArray<number>, columns: number): ReadonlyArray<number> => {
  const room = columns - gap.length * (widths.length - 1)
  const at = (limit: number) => widths.map((width) => Math.min(width, limit))
  const fits = (limit: number) => at(limit).reduce((sum, width) => sum + width, 0) <= room
  let limit = Math.max(narrowest, ...widths)
  while (limit > narrowest && !fits(limit)) limit--
  return at(limit)
}

/**
 * Rows under their heads, in columns. A column that is empty in all rows is left out. No cell leaves its line, and no line is
 * longer than the screen is wide. `styleOf` gives the style of a cell.
 */
export const table = (
  heads: ReadonlyArray<string>,
  cells: ReadonlyArray<ReadonlyArray<string>>,
  on: Screen = plain,
  styleOf: (head: string, cell: string) => Style | undefined = () => undefined
): string => {
  const rows = cells.map((row) => row.map(printable))
  const used = heads.map((_, column) => column).filter((column) => rows.some((row) => (row[column] ?? "") !== ""))
  const widest = (column: number) =>
    [heads, ...rows].reduce((most, row) => Math.max(most, stringWidth(row[column] ?? "")), 0)
  const widths = narrowed(used.map(widest), on.columns)
  const line = (row: ReadonlyArray<string>, style: (head: string, cell: string) => Style | undefined): string => {
    let left = on.columns
    const parts = used.map((column, place) => {
      const width = Math.min(widths[place] ?? 0, left)
      const cell = cut(row[column] ?? "", width)
      left = Math.max(0, left - width - gap.length)
      const painted = paint(cell, style(heads[column] ?? "", row[column] ?? ""), on)
      return painted + " ".repeat(Math.max(0, width - stringWidth(cell)))
    })
    return parts.join(gap).trimEnd()
  }
  return [line(heads, () => "bold"), ...rows.map((row) => line(row, styleOf))].join("\n")
}
