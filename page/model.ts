/** What the page knows and how it chooses what to show. Pure: it touches neither the document nor the network. */
import type { Change, CircuitView, View } from "../src/dashboard/view.ts"

export type State = CircuitView["state"]

/** The worst first. */
export const states: ReadonlyArray<State> = ["Open", "Isolated", "HalfOpen", "Disabled", "Closed"]

export const hourMillis = 3_600_000

/** Applies a change to a view. Circuits that did not change stay the same objects, so that their rows are not drawn again. */
export const apply = (view: View, change: Change): View => {
  const changed = new Map(change.circuits.map((one) => [one.id, one]))
  const gone = new Set(change.gone)
  const kept = view.circuits.filter(({ id }) => !gone.has(id)).map((one) => changed.get(one.id) ?? one)
  const known = new Set(kept.map(({ id }) => id))
  const transitions = [...view.transitions, ...change.transitions].filter(({ at }) => at > change.at - hourMillis)
  return {
    ...view,
    at: change.at,
    source: change.source,
    processes: change.processes,
    reporting: change.reporting,
    circuits: [...kept, ...change.circuits.filter(({ id }) => !known.has(id))],
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

const share = ({ traffic }: CircuitView): number =>
  traffic === undefined || traffic.calls === 0 ? 0 : traffic.failures / traffic.calls

export const failureShare = share

const value: Readonly<Record<Exclude<Sort, "name">, (one: CircuitView) => number>> = {
  calls: ({ traffic }) => traffic?.calls ?? 0,
  failures: share,
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

/** The circuits that are not closed: the worst state first, and within it the longest outage first. */
export const troubles = (view: View, choice: Choice): ReadonlyArray<CircuitView> =>
  view.circuits
    .filter((one) => isDown(one) && matches(one, choice))
    .sort(
      (a, b) =>
        states.indexOf(a.state) - states.indexOf(b.state) ||
        (a.downSince ?? a.since ?? 0) - (b.downSince ?? b.since ?? 0) ||
        byName(a, b)
    )

/** One entry for each name: the circuit without a key, which stands for all keys. */
export const names = (view: View, choice: Choice): ReadonlyArray<CircuitView> => {
  const found = view.circuits.filter((one) => one.key === undefined && matches(one, choice))
  if (choice.sort === "name") return found.sort(byName)
  const of = value[choice.sort]
  return found.sort((a, b) => of(b) - of(a) || byName(a, b))
}

export const tally = (view: View): ReadonlyMap<State, number> => {
  const counts = new Map<State, number>(states.map((state) => [state, 0]))
  for (const { state } of view.circuits) counts.set(state, (counts.get(state) ?? 0) + 1)
  return counts
}
