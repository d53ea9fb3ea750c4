import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { grouped } from "../core/grouped.ts"
import { plural } from "../core/plural.ts"
import { printable } from "../core/printable.ts"
import * as Operator from "../operator/Operator.ts"
import { severity } from "../shapes/states.ts"
import type { SharedStore } from "../store/SharedStore.ts"
import { asked, type One } from "./circuits.ts"
import { answer, CommandFailure, lasting, Painted } from "./messages.ts"
import { withStore } from "./opening.ts"
import { type Choice, matches, startOf } from "./rows.ts"
import type { OpenedServer } from "./server.ts"
import type { CommandSettings } from "./settings.ts"
import { type Column, type Screen, screen, styleOf, table } from "./table.ts"

export const overviewOn = (store: SharedStore, opened: OpenedServer) => asked(opened, () => Operator.overview(store))

/** One name, with the start of its longest outage or override. */
interface NameRow extends Operator.NameOverview {
  readonly start: number
  readonly openings: number
}

const perSecond = (row: NameRow, which: keyof Operator.CallCounts): number => row.traffic?.perSecond[which] ?? 0

const byName = (a: NameRow, b: NameRow): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)

const order: Readonly<Record<Choice["sort"], (a: NameRow, b: NameRow) => number>> = {
  name: byName,
  state: (a, b) => severity(a.state) - severity(b.state) || byName(a, b),
  down: (a, b) => (a.start === b.start ? byName(a, b) : a.start - b.start),
  openings: (a, b) => b.openings - a.openings || byName(a, b),
  calls: (a, b) => perSecond(b, "calls") - perSecond(a, "calls") || byName(a, b),
  failures: (a, b) => perSecond(b, "failures") - perSecond(a, "failures") || byName(a, b)
}

const openingsOf = (one: One): number => (one._tag === "Unreadable" ? 0 : (one.outage?.openings ?? 0))

/** The names that match a choice, in its order. */
const rowsOf = ({ circuits, names }: Operator.Overview, { name, sort, states }: Choice): ReadonlyArray<NameRow> => {
  const own = grouped(circuits, (one) => one.name)
  return names
    .filter((one) => name === undefined || matches(name, one.name))
    .filter((one) => states.length === 0 || states.includes(one.state))
    .map((one) => {
      const of = own.get(one.name) ?? []
      return { ...one, start: Math.min(...of.map(startOf)), openings: Math.max(0, ...of.map(openingsOf)) }
    })
    .sort(order[sort])
}

/** A rate with about two significant digits. Empty if it is 0. */
const rateText = (rate: number): string => {
  if (rate === 0) return ""
  if (rate < 0.01) return "<0.01"
  return rate < 10 ? String(Number(rate.toPrecision(2))) : String(Math.round(rate))
}

const shareText = (share: number | undefined): string => {
  if (share === undefined) return ""
  const percent = 100 * share
  return share > 0 && percent < 0.1 ? "<0.1%" : `${Number(percent.toFixed(percent < 10 ? 1 : 0))}%`
}

const durationText = (millis: number | undefined): string =>
  millis === undefined ? "" : millis < 1 ? "<1ms" : lasting(Math.round(millis))

const keyText = ({ worstKeys: [worst] }: NameRow): string =>
  worst === undefined ? "" : `${worst.key} (${worst.state === "Closed" ? `${worst.failures} failed` : worst.state})`

const columns: ReadonlyArray<Column & { readonly cell: (row: NameRow, now: number) => string }> = [
  { head: "CIRCUIT", long: true, cell: ({ name }) => name },
  {
    head: "STATE",
    cell: ({ notClosed, state }) => (notClosed > 1 ? `${state} (${notClosed})` : state),
    styleOf
  },
  { head: "FOR", cell: ({ start }, now) => (start === Infinity ? "" : lasting(Math.max(0, now - start))) },
  { head: "PROCS", cell: ({ processes }) => (processes === 0 ? "" : String(processes)) },
  { head: "OPEN IN", cell: ({ notClosedIn }) => (notClosedIn === 0 ? "" : String(notClosedIn)) },
  { head: "KEYS", cell: ({ keys }) => (keys === 0 ? "" : String(keys)) },
  { head: "CALLS/S", cell: (row) => rateText(perSecond(row, "calls") + perSecond(row, "passed")) },
  { head: "FAILED", cell: ({ traffic }) => shareText(traffic?.failureShare) },
  { head: "REJECTED/S", cell: (row) => rateText(perSecond(row, "rejected")) },
  { head: "SLOW/S", cell: (row) => rateText(perSecond(row, "slow")) },
  { head: "P50", cell: ({ traffic }) => durationText(traffic?.p50) },
  { head: "P95", cell: ({ traffic }) => durationText(traffic?.p95) },
  { head: "IN FLIGHT", cell: ({ traffic }) => (traffic?.inFlight ? String(traffic.inFlight) : "") },
  { head: "LIMIT", cell: ({ traffic }) => (traffic?.limit === undefined ? "" : String(Math.round(traffic.limit))) },
  { head: "WORST KEY", long: true, cell: keyText }
]

const isEmpty = ({ names, processes }: Operator.Overview): boolean => names.length === 0 && processes === 0

/** Counts the processes and names that are missing from the list. Returns an empty text if the list is complete. */
export const missingText = ({ digests, leftOut, processes, unreadable }: Operator.Overview): string => {
  const silent = Math.max(0, processes - digests - unreadable)
  return [
    silent === 0 ? "" : `; ${plural(silent, "process", "processes")} without a digest`,
    unreadable === 0 ? "" : `; ${plural(unreadable, "digest")} of another version`,
    leftOut === 0 ? "" : `; at least ${plural(leftOut, "more name")}`
  ].join("")
}

const summary = (all: Operator.Overview, found: ReadonlyArray<NameRow>): string => {
  if (isEmpty(all)) return "The store is empty: no live process and no circuit. Is --prefix the prefix of your fleet?"
  const { names, processes } = all
  const some = found.length < names.length ? `${found.length} of ` : ""
  const notClosed = names.filter(({ state }) => state !== "Closed").length
  return `${some}${plural(names.length, "name")}, ${notClosed} not closed; ${plural(processes, "process", "processes")} alive${missingText(all)}`
}

export const overviewText = (all: Operator.Overview, choice: Choice, at: number, on: Screen): string => {
  const found = rowsOf(all, choice)
  const { limit = Infinity } = choice
  const rows = found.slice(0, limit).map((row) => columns.map(({ cell }) => cell(row, at)))
  return [
    ...(rows.length === 0 ? [] : [table(columns, rows, on)]),
    ...(found.length <= limit ? [] : [`and ${found.length - limit} more`]),
    ...(rows.length === 0 ? [] : [""]),
    summary(all, found)
  ].join("\n")
}

export const overviewData = (all: Operator.Overview, choice: Choice) => {
  const found = rowsOf(all, choice)
  const { digests, leftOut, processes, unreadable } = all
  return {
    ...{ processes, digests, unreadable, leftOut, total: found.length },
    names: found.slice(0, choice.limit).map(({ openings: _, start: __, ...one }) => one)
  }
}

/** Fails if the command has a flag that `--all` forbids, or a flag that needs `--all`. */
export const checkChoice = (
  { all, keys, sort }: { readonly all: boolean; readonly keys: boolean; readonly sort: Choice["sort"] },
  command: string
): Effect.Effect<void, CommandFailure> => {
  const usage = (message: string) => Effect.fail(new CommandFailure({ code: 1, message }))
  if (all && keys) return usage(`--keys: ${command} --all has a row for each name`)
  return !all && (sort === "calls" || sort === "failures")
    ? usage(`--sort ${sort}: only ${command} --all shows traffic`)
    : Effect.void
}

/** `list --all`. */
export const listAll = (choice: Choice, wide: boolean, exitCode: boolean, settings: CommandSettings) =>
  Effect.gen(function* () {
    const all = yield* withStore(settings, overviewOn)
    const text = overviewText(all, choice, yield* Clock.currentTimeMillis, yield* screen(wide))
    yield* answer(settings.json, overviewData(all, choice), new Painted(text))
    const found = rowsOf(all, choice).filter(({ state }) => state !== "Closed")
    if (exitCode && (found.length > 0 || isEmpty(all))) {
      yield* new CommandFailure({ code: 3, message: summary(all, found) })
    }
  })

/** Prints all known names, one on each line, for scripts and for completion in a shell. */
export const names = ({ prefix }: { readonly prefix: Option.Option<string> }, settings: CommandSettings) =>
  Effect.gen(function* () {
    const begin = Option.getOrElse(prefix, () => "")
    const all = yield* withStore(settings, overviewOn)
    const found = all.names.map(({ name }) => name).filter((name) => name.startsWith(begin))
    yield* answer(settings.json, { names: found }, found.map(printable).join("\n"))
  })

/** A sentence about a circuit that is closed. `undefined` if no process uses the name. */
export const closedText = (one: Operator.NameOverview | undefined): string | undefined => {
  if (one === undefined || one.processes === 0) return undefined
  const { notClosedIn, processes, traffic } = one
  const used = `"${printable(one.name)}" is closed. ${plural(processes, "process uses", "processes use")} it`
  const share = traffic?.failureShare === undefined ? "" : `, ${shareText(traffic.failureShare)} of them failed`
  const calls = traffic === undefined ? "" : `: ${rateText(traffic.perSecond.calls) || "0"} calls/s${share}`
  const open = notClosedIn === 0 ? "" : `; in ${notClosedIn} of them a circuit is open that the fleet has not opened`
  return `${used}${calls}${open}.`
}
