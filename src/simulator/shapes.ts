/** The elements of a picture. The command line writes them as SVG, and the playground makes DOM nodes of them. */
import { printable } from "../core/printable.ts"

export interface Element {
  readonly tag: string
  readonly attributes: Readonly<Record<string, string>>
  readonly children: ReadonlyArray<Shape>
}

/** An element, or an unescaped text. */
export type Shape = Element | string

export const element = (
  tag: string,
  attributes: Element["attributes"],
  ...children: ReadonlyArray<Shape>
): Element => ({
  tag,
  attributes,
  // XML forbids control characters, even if they are escaped.
  children: children.map((one) => (typeof one === "string" ? printable(one) : one))
})

export const escape = (text: string): string =>
  printable(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")

/** Writes an element as XML. `between` separates its children. */
export const toText = ({ attributes, children, tag }: Element, between = ""): string => {
  const names = Object.entries(attributes).map(([name, value]) => ` ${name}="${escape(value)}"`)
  const head = `<${tag}${names.join("")}`
  if (children.length === 0) return `${head}/>`
  const inside = children.map((one) => (typeof one === "string" ? escape(one) : toText(one)))
  return [`${head}>`, ...inside, `</${tag}>`].join(between)
}
