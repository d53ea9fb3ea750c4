/** Builds the circuits of the page from the records and the overview. Pure. */
import { grouped } from "../core/grouped.ts"
import { worst } from "../shapes/states.ts"
import { circuitId } from "../store/codec.ts"
import { isNotClosed, type Known, stateOf, type Unreadable } from "../store/known.ts"
import type { NameOverview, Overview, Traffic } from "../store/overview.ts"
import { bounded, processName, whyText } from "./texts.ts"
import type { CircuitView, TrafficView } from "./view.ts"

/** A circuit on the page, without its traffic. */
export type Facts = Omit<CircuitView, "traffic" | "history">

export interface Shown {
  readonly circuits: ReadonlyMap<string, Facts>
  /** The number of circuits that do not fit on the page. */
  readonly leftOut: number
}

/** The page shows at most this many names, and this many keys. */
const mostNames = 5_000
const mostKeys = 2_000

const calm = {
  scope: "fleet",
  since: undefined,
  downSince: undefined,
  until: undefined,
  why: undefined,
  process: undefined,
  actor: undefined,
  agreed: undefined,
  openings: 0
} satisfies Partial<Facts>

type Told = Omit<Facts, "id" | "name" | "key" | "rolledUp" | "recentFailures" | "keys" | "keysDown" | "processes">

const told = (one: Known | Unreadable, scope: Facts["scope"]): Told =>
  one._tag === "Unreadable"
    ? { ...calm, state: "Disabled", why: "A newer version wrote this record, and this version cannot read it" }
    : {
        state: one.state,
        scope,
        since: one.since,
        downSince: one.outage?.since,
        until: one.until === undefined ? undefined : Math.round(one.until),
        why: whyText(one),
        process: processName(one.process),
        actor: bounded(one.actor, 100),
        agreed: one.outage?.agreed && { failing: one.outage.agreed.processes, of: one.outage.agreed.of },
        openings: one.outage?.openings ?? 0
      }

const began = (one: Known | Unreadable): number =>
  one._tag === "Unreadable" ? Infinity : (one.outage?.since ?? one.since)

/** Finds the circuit in the worst state. If several circuits are in that state, the longest outage decides. */
const worstOf = (some: ReadonlyArray<Known | Unreadable>): Known | Unreadable | undefined => {
  const state = worst(some.map(stateOf))
  return some.filter((one) => stateOf(one) === state).sort((a, b) => began(a) - began(b))[0]
}

/** The state of a name that some processes have opened without the fleet. */
const alone = ({ notClosedIn, processes, worstKeys }: NameOverview): Told => ({
  ...calm,
  state: worst(worstKeys.map(({ state }) => state)) ?? "Open",
  scope: "local",
  why:
    processes === 1
      ? "The only process that uses this name opened the circuit by itself"
      : `${notClosedIn} of ${processes} processes reject calls. Each decided by itself; the fleet did not open the circuit`
})

/** A name that no process reports. */
const unused = (name: string): NameOverview => ({
  name,
  state: "Closed",
  notClosed: 0,
  processes: 0,
  notClosedIn: 0,
  keys: 0,
  worstKeys: [],
  traffic: undefined
})

/**
 * The circuits that the page shows: one for each name, and one for each key that is not closed.
 *
 * `isAlone` returns whether some processes have opened a name without the fleet. `scope` is the scope of all circuits with a record.
 */
export const circuitsOf = (
  { circuits, names }: Pick<Overview, "circuits" | "names">,
  scope: Facts["scope"],
  isAlone: (name: NameOverview) => boolean
): Shown => {
  const own = new Map<string, Known | Unreadable>()
  for (const one of circuits) if (one.key === undefined) own.set(one.name, one)
  const keyed = grouped(
    circuits.filter((one) => one.key !== undefined && isNotClosed(one)),
    ({ name }) => name
  )
  const shown = new Map<string, Facts>()
  const known = new Set(names.map(({ name }) => name))
  const others = [...new Set(circuits.map(({ name }) => name))].filter((name) => !known.has(name)).map(unused)
  const all = [...names, ...others]
  const isBad = ({ name, notClosed }: NameOverview) => (notClosed > 0 || keyed.has(name) || own.has(name) ? 0 : 1)
  // Names that are not closed come first, so that they have room.
  const ordered = all.length <= mostNames ? all : all.sort((a, b) => isBad(a) - isBad(b))
  for (const one of ordered.slice(0, mostNames)) {
    const { name } = one
    const record = own.get(name)
    const down = keyed.get(name) ?? []
    const bad = record !== undefined && isNotClosed(record) ? record : worstOf(down)
    const openings = record?._tag === "Known" ? record.openings : 0
    const id = circuitId(name, undefined)
    shown.set(id, {
      ...(bad !== undefined
        ? told(bad, scope)
        : isAlone(one)
          ? alone(one)
          : { ...calm, state: "Closed" as const, scope, openings }),
      id,
      name,
      key: undefined,
      rolledUp: bad !== undefined && bad.key !== undefined,
      recentFailures: undefined,
      keys: Math.max(one.keys, down.length),
      keysDown: down.length,
      processes: one.processes
    })
  }
  const worstKeys = new Map(names.map((one) => [one.name, one.worstKeys]))
  let room = mostKeys
  let leftOut = Math.max(0, all.length - mostNames)
  for (const [name, down] of keyed) {
    const some = down.slice(0, Math.max(0, room))
    room -= some.length
    leftOut += down.length - some.length
    for (const one of some) {
      const id = circuitId(name, one.key)
      const { key } = one
      const recentFailures = worstKeys.get(name)?.find((other) => other.key === key)?.failures
      const none = { rolledUp: false, keys: 0, keysDown: 0, processes: 0 }
      shown.set(id, { ...told(one, scope), id, name, key, recentFailures, ...none })
    }
  }
  return { circuits: shown, leftOut }
}

/** The page shows at most one decimal. */
const short = (n: number): number => Math.round(n * 100) / 100
const whole = (millis: number | undefined): number | undefined =>
  millis === undefined ? undefined : Number(millis.toPrecision(3))

export const trafficOf = ({ inFlight, limit, p50, p95, perSecond }: Traffic): TrafficView => ({
  calls: short(perSecond.calls),
  failures: short(perSecond.failures),
  rejections: short(perSecond.rejected),
  slow: short(perSecond.slow),
  p50: whole(p50),
  p95: whole(p95),
  inFlight,
  limit: limit === undefined ? undefined : Math.round(limit)
})
