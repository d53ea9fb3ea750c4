/** Applies changes to the view, and selects the circuits to show. Pure: it touches neither the document nor the network. */
import { grouped } from "../src/core/grouped.ts"
import {
  type Change,
  type CircuitView,
  type HistoryView,
  hourMillis,
  type PageView,
  type Sample,
  samples,
  type TrafficView
} from "../src/dashboard/view.ts"

export type State = CircuitView["state"]

/** The worst first. */
export const states: ReadonlyArray<State> = ["Open", "Isolated", "HalfOpen", "Disabled", "Closed"]

const longer = (line: ReadonlyArray<number>, next: number): ReadonlyArray<number> => [...line.slice(1 - samples), next]

const next = (history: HistoryView | undefined, { calls, failures, rejections }: TrafficView): HistoryView => ({
  calls: longer(history?.calls ?? [], calls),
  failures: longer(history?.failures ?? [], failures),
  rejections: longer(history?.rejections ?? [], rejections)
})

const toTraffic = ([, calls, failures, rejections, slow, inFlight, p50, p95, limit]: Sample): TrafficView => ({
  calls,
  failures,
  rejections,
  slow,
  inFlight,
  p50: p50 ?? undefined,
  p95: p95 ?? undefined,
  limit: limit ?? undefined
})

/** Adds a sample to each circuit that has traffic. If the sample lacks a circuit, the figures of that circuit did not change. */
const sampled = (circuits: ReadonlyArray<CircuitView>, sample: ReadonlyArray<Sample>): ReadonlyArray<CircuitView> => {
  const changed = new Map(sample.map((one) => [one[0], toTraffic(one)]))
  return circuits.map((one) => {
    const traffic = changed.get(one.id) ?? one.traffic
    return traffic === undefined ? one : { ...one, traffic, history: next(one.history, traffic) }
  })
}

/** Applies a change to a view. Circuits that did not change stay the same objects, so that their rows are not drawn again. */
export const apply = (view: PageView, change: Change): PageView => {
  let { circuits } = view
  if (change.circuits.length > 0 || change.gone.length > 0) {
    const changed = new Map(change.circuits.map((one) => [one.id, one]))
    const gone = new Set(change.gone)
    const kept = circuits
      .filter(({ id }) => !gone.has(id))
      .map((one) => {
        const now = changed.get(one.id)
        changed.delete(one.id)
        return now === undefined ? one : { ...now, traffic: one.traffic, history: one.history }
      })
    circuits = [...kept, ...changed.values()]
  }
  if (change.sample !== undefined) circuits = sampled(circuits, change.sample)
  const transitions = [...view.transitions, ...change.transitions].filter(({ at }) => at > change.at - hourMillis)
  return {
    ...view,
    at: change.at,
    source: change.source,
    processes: change.processes,
    reporting: change.reporting,
    leftOut: change.leftOut,
    circuits,
    transitions:
      change.transitions.length === 0 && transitions.length === view.transitions.length ? view.transitions : transitions
  }
}

export type Sort = "name" | "calls" | "failures" | "rejections" | "p95" | "keys"

export interface Choice {
  readonly text: string
  readonly state: State | undefined
  readonly sort: Sort
}

export const failureShare = ({ traffic }: CircuitView): number =>
  traffic === undefined || traffic.calls === 0 ? 0 : traffic.failures / traffic.calls

const value: Readonly<Record<Exclude<Sort, "name">, (one: CircuitView) => number>> = {
  calls: ({ traffic }) => traffic?.calls ?? 0,
  failures: failureShare,
  rejections: ({ traffic }) => traffic?.rejections ?? 0,
  p95: ({ traffic }) => traffic?.p95 ?? 0,
  keys: ({ keys }) => keys
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const byName = (a: CircuitView, b: CircuitView): number =>
  compareText(a.name, b.name) || compareText(a.key ?? "", b.key ?? "")

export const isDown = ({ state }: CircuitView): boolean => state !== "Closed"

const matches = (one: CircuitView, { state, text }: Choice): boolean =>
  (state === undefined || one.state === state) &&
  (text === "" || `${one.name} ${one.key ?? ""}`.toLowerCase().includes(text.toLowerCase()))

/** A circuit that is not closed, with the keys of its name that are not closed either. */
export interface Trouble {
  readonly circuit: CircuitView
  readonly keys: ReadonlyArray<CircuitView>
}

const began = ({ downSince, since }: CircuitView): number => downSince ?? since ?? 0

const worstFirst = (a: CircuitView, b: CircuitView): number =>
  states.indexOf(a.state) - states.indexOf(b.state) || began(a) - began(b) || byName(a, b)

/** The names that are not closed: the worst state first, and within it the longest outage first. */
export const troubles = (view: PageView, choice: Choice): ReadonlyArray<Trouble> => {
  const found = grouped(
    view.circuits.filter((one) => isDown(one) && matches(one, choice)),
    ({ name }) => name
  )
  return view.circuits
    .filter((one) => one.key === undefined && found.has(one.name))
    .sort(worstFirst)
    .map((circuit) => ({
      circuit,
      keys: (found.get(circuit.name) ?? []).filter(({ key }) => key !== undefined).sort(worstFirst)
    }))
}

/** Returns the circuits without a key. Each of these circuits represents all keys of its name. */
export const names = (view: PageView, choice: Choice): ReadonlyArray<CircuitView> => {
  const found = view.circuits.filter((one) => one.key === undefined && matches(one, choice))
  if (choice.sort === "name") return found.sort(byName)
  const of = value[choice.sort]
  return found.sort((a, b) => of(b) - of(a) || byName(a, b))
}

/** How many names are in each state. */
export const tally = (view: PageView): ReadonlyMap<State, number> => {
  const counts = new Map<State, number>(states.map((state) => [state, 0]))
  for (const { key, state } of view.circuits) {
    if (key === undefined) counts.set(state, (counts.get(state) ?? 0) + 1)
  }
  return counts
}
