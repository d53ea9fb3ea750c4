import type { NonEmptyArray } from "effect/Array"
import { grouped } from "../core/grouped.ts"
import type * as Operator from "../operator/Operator.ts"
import { severity } from "../shapes/states.ts"
import { stateOf } from "../store/known.ts"
import { agreementOf, type One, reasonOf } from "./circuits.ts"
import { lasting } from "./messages.ts"
import { type Column, type Screen, styleOf, table } from "./table.ts"

export type Sort = "name" | "state" | "down" | "openings" | "calls" | "failures"

/** Which circuits are shown, and how. */
export interface Choice {
  /** A name in which `*` stands for any characters. */
  readonly name: string | undefined
  /** All states if empty. */
  readonly states: ReadonlyArray<string>
  readonly sort: Sort
  /** How many rows are shown at most. */
  readonly limit: number | undefined
  /** Whether there is a row for each key instead of one for each name. */
  readonly keys: boolean
}

/** The circuits of one row. The row shows the state, the reason and the end of the first one. */
type CircuitRow = Readonly<NonEmptyArray<One>>

const isOverride = ({ state }: Operator.Known): boolean => state === "Isolated" || state === "Disabled"

/** The start of an override, of an outage, or of a ramp. A failed probe does not restart an outage. */
export const startOf = (one: One): number => {
  if (one._tag === "Unreadable") return Infinity
  return isOverride(one) ? one.since : (one.outage?.since ?? one.since)
}

/** The openings of the outage that a circuit is in. */
const openingsOf = (one: One): number => (one._tag === "Unreadable" ? 0 : (one.outage?.openings ?? 0))

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
const byNumber = (a: number, b: number): number => (a === b ? 0 : a - b)

const byName = (a: One, b: One): number => byText(a.name, b.name) || byText(a.key ?? "", b.key ?? "")
const byState = (a: One, b: One): number => severity(stateOf(a)) - severity(stateOf(b))
const byStart = (a: One, b: One): number => byNumber(startOf(a), startOf(b))
const byOpenings = (a: One, b: One): number => openingsOf(b) - openingsOf(a)

const order: Readonly<Record<Sort, (a: One, b: One) => number>> = {
  name: byName,
  state: (a, b) => byState(a, b) || byStart(a, b) || byName(a, b),
  down: (a, b) => byStart(a, b) || byName(a, b),
  openings: (a, b) => byOpenings(a, b) || byStart(a, b) || byName(a, b),
  // Records have no traffic.
  calls: byName,
  failures: byName
}

/** Whether a text matches a pattern in which `*` stands for any characters. It takes time linear in the text. */
export const matches = (pattern: string, text: string): boolean => {
  const [first = "", ...rest] = pattern.split("*")
  const last = rest.pop()
  if (last === undefined) return text === pattern
  if (!text.startsWith(first) || !text.endsWith(last)) return false
  let from = first.length
  for (const part of rest) {
    const at = text.indexOf(part, from)
    if (at === -1) return false
    from = at + part.length
  }
  return from <= text.length - last.length
}

/** The circuits that match a choice, in its order. */
export const chosen = (circuits: ReadonlyArray<One>, { name, sort, states }: Choice): ReadonlyArray<One> =>
  circuits
    .filter((one) => name === undefined || matches(name, one.name))
    .filter((one) => states.length === 0 || states.includes(stateOf(one)))
    .sort(order[sort])

/** One row for each circuit if `keys` is set, else one for each name, at the position of its first circuit. */
const toRows = (circuits: ReadonlyArray<One>, keys: boolean): ReadonlyArray<CircuitRow> => {
  const named = grouped(circuits, (one) => (keys ? one : one.name))
  return [...named.values()].map((all) => all.sort(order.state))
}

/** The worst state of the row, with the number of circuits in it if other circuits of the row are in another state. */
const stateText = (row: CircuitRow): string => {
  const [first] = row
  const state = stateOf(first)
  if (row.length === 1) return first._tag === "Known" && first.beneath === "Open" ? `${state} (Open beneath)` : state
  const same = row.filter((one) => stateOf(one) === state).length
  return same === row.length ? state : `${state} (${same})`
}

const whyText = (one: One): string => {
  if (one._tag === "Unreadable") return "written by another version"
  const reason = reasonOf(one)
  if (reason === "") return one.why
  return one.why === "Tripped" ? reason : `${one.why}: ${reason}`
}

/** The text of a column in a row. */
type Cell = (row: CircuitRow, now: number) => string

const columns: ReadonlyArray<Column & { readonly cell: Cell }> = [
  { head: "CIRCUIT", long: true, cell: ([{ name }]) => name },
  { head: "KEY", long: true, cell: ([{ key }]) => key ?? "" },
  {
    head: "KEYS",
    cell: (row) => {
      const keys = row.filter(({ key }) => key !== undefined).length
      return keys === 0 ? "" : String(keys)
    }
  },
  { head: "STATE", cell: stateText, styleOf },
  {
    head: "FOR",
    cell: (row, now) => {
      const start = row.reduce((first, one) => Math.min(first, startOf(one)), Infinity)
      return start === Infinity ? "" : lasting(Math.max(0, now - start))
    }
  },
  {
    head: "ENDS IN",
    cell: ([one], now) => {
      if (one._tag === "Unreadable") return ""
      if (one.until === undefined) return isOverride(one) ? "(release)" : ""
      return one.until > now ? lasting(one.until - now) : "next call"
    }
  },
  {
    head: "OPENED",
    cell: (row) => {
      const openings = row.reduce((most, one) => Math.max(most, openingsOf(one)), 0)
      return openings === 0 ? "" : `${openings}x`
    }
  },
  {
    head: "AGREED",
    cell: ([one]) => {
      const agreed = agreementOf(one)
      return agreed === undefined ? "" : `${agreed.processes}/${agreed.of}`
    }
  },
  { head: "WHY", long: true, cell: ([one]) => whyText(one) },
  { head: "BY", long: true, cell: ([one]) => (one._tag === "Known" ? (one.actor ?? "") : "") }
]

/** Circuits in columns, except the columns `without`, and the number of rows that the limit hides. */
export const toTable = (
  circuits: ReadonlyArray<One>,
  { keys, limit = Infinity }: Pick<Choice, "keys" | "limit">,
  now: number,
  on: Screen,
  without: ReadonlyArray<string> = []
): { readonly text: string; readonly left: number } => {
  const rows = toRows(circuits, keys)
  const hidden = [keys ? "KEYS" : "KEY", ...without]
  const shown = columns.filter(({ head }) => !hidden.includes(head))
  const cells = rows.slice(0, limit).map((row) => shown.map(({ cell }) => cell(row, now)))
  return { text: table(shown, cells, on), left: Math.max(0, rows.length - limit) }
}
