import * as Data from "effect/Data"
import { limits, type RollCall } from "../store/SharedStore.ts"
import {
  type BoxChange,
  ballotFrom,
  ballotTuple,
  changedBox,
  isWhole,
  parsed,
  rollFrom,
  rollTuple
} from "./ballotBoxes.ts"
import { type Item, n, s, textOf, wholeOf } from "./client.ts"
import type { CircuitItem, CircuitRecord } from "./records.ts"
import { farMillis } from "./serverClock.ts"

/**
 * The hub is one item that all processes of a store write. It contains the register of live processes and the last epoch. It also contains the
 * changes of the latest turn until the process has written them to the items of the circuits.
 */
export interface Hub {
  readonly life: string
  readonly born: number
  /** The latest turn has this number. */
  readonly version: number
  readonly epoch: number
  /** The `seq` of the latest roll call. */
  readonly head: number
  /** The time of the latest write. */
  readonly time: number
  readonly voters: ReadonlyMap<string, Voter>
  readonly pending: Pending | undefined
}

/** A process in the register. */
export interface Voter {
  readonly until: number
  /** A voter that returns after its end gets another life. Its earlier ballots and its earlier digest do not count. */
  readonly life: string
  readonly heard: number
  /** The hub stores the voter as this text. The condition of a write compares the text. */
  readonly text: string
}

/** The changes of a committed turn. The items of the circuits may not contain them yet. */
export interface Pending {
  readonly version: number
  readonly time: number
  readonly circuits: ReadonlyMap<string, CircuitChange>
  readonly rollCalls: ReadonlyArray<RollCall>
}

/** The changes of one circuit. A new record removes all ballots. */
export interface CircuitChange {
  readonly record: CircuitRecord | undefined
  readonly boxes: ReadonlyMap<string, BoxChange>
}

export const hubKey = "hub"
export const format = 1

/** The hub cannot be read: a newer version of this library uses the table, or another program wrote the item. */
export class UnreadableHub extends Data.TaggedError("UnreadableHub")<{ readonly problem: string }> {
  override get message(): string {
    return `the item "${hubKey}" of the store cannot be read: ${this.problem}`
  }
}

export const voterText = ({ heard, life, until }: Omit<Voter, "text">): string => `${until} ${life} ${heard}`

const voterFrom = (text: string): Voter | undefined => {
  const found = /^(\d{1,16}) (\w{1,40}) (\d{1,16})$/.exec(text)
  return found === null ? undefined : { until: Number(found[1]), life: found[2] ?? "", heard: Number(found[3]), text }
}

const votersFrom = (item: Item): ReadonlyMap<string, Voter> => {
  const { r } = item
  const found = new Map<string, Voter>()
  for (const [name, value] of Object.entries(r !== undefined && "M" in r ? r.M : {})) {
    const text = textOf(value)
    // Another program wrote this value, and a condition could not compare it.
    if (text === undefined) continue
    found.set(name, voterFrom(text) ?? { until: 0, life: "", heard: 0, text })
  }
  return found
}

export const hubFrom = (item: Item): Hub | UnreadableHub => {
  const problem = (text: string) => new UnreadableHub({ problem: text })
  if (wholeOf(item["f"]) !== format) {
    return problem(`expected format ${format}, got ${wholeOf(item["f"]) ?? "no format"}`)
  }
  const life = textOf(item["life"]) ?? ""
  if (!/^[\w-]+$/.test(life)) return problem("the life of the store is missing")
  const [born, version, epoch, head, time] = ["born", "v", "epoch", "head", "t"].map((name) => wholeOf(item[name]))
  if (born === undefined || version === undefined || epoch === undefined || head === undefined || time === undefined) {
    return problem("a number is missing")
  }
  const text = textOf(item["p"])
  const pending = text === undefined ? undefined : pendingFrom(text)
  if (text !== undefined && pending === undefined) return problem("its pending changes are invalid")
  return { life, born, version, epoch, head, time, voters: votersFrom(item), pending }
}

/** How far the clock of a process may be behind the latest write. Deadlines are longer, so such a process can still write in time. */
export const behindMillis = 500

/** The store's time is this process's clock, but at least the time of the latest write minus `behindMillis`. Far times do not count. */
export const timeOf = (hub: Hub | undefined, now: number): number => {
  const written = hub === undefined || hub.time - now >= farMillis ? now : hub.time
  return Math.max(now, written - behindMillis)
}

export const liveAt = ({ voters }: Hub, time: number): number => {
  let live = 0
  for (const { until } of voters.values()) if (time < until) live++
  return live
}

/** Estimates the size of the register in the hub. All names and values are ASCII. */
export const registerBytes = ({ voters }: Hub): number => {
  let bytes = 0
  for (const [name, { text }] of voters) bytes += name.length + text.length + 4
  return bytes
}

export const liveVoter = (hub: Hub, voter: string, time: number): Voter | undefined => {
  const found = hub.voters.get(voter)
  return found !== undefined && time < found.until ? found : undefined
}

/** How long a dead voter stays in the register. After this time, even a process with a slow clock knows that the voter is dead. */
const buriedMillis = 10_000

/** One write removes at most this many voters. */
const mostBuried = 20

/** Chooses dead voters for removal. Each entry has the voter's name and the voter's value in the hub. */
export const buriable = ({ voters }: Hub, time: number, except: string): ReadonlyArray<readonly [string, string]> => {
  const found: Array<readonly [string, string]> = []
  for (const [name, { text, until }] of voters) {
    if (found.length === mostBuried) break
    if (name !== except && time >= until + buriedMillis) found.push([name, text])
  }
  return found
}

export const applied = (item: CircuitItem, change: CircuitChange, { time, version }: Pending): CircuitItem => {
  const boxes = new Map(change.record === undefined ? item.boxes : [])
  for (const [name, one] of change.boxes) boxes.set(name, changedBox(boxes.get(name), one, time))
  return { version, record: change.record ?? item.record, boxes }
}

/** Applies the hub's pending changes to the item of a circuit. */
export const overlaid = (circuit: string, item: CircuitItem, pending: Pending | undefined): CircuitItem => {
  const change = pending?.circuits.get(circuit)
  return pending === undefined || change === undefined || item.version >= pending.version
    ? item
    : applied(item, change, pending)
}

// ---- The text of pending changes ----------------------------------------------------------------------------------

const recordTuple = ({ at, body, changed, epoch, listed, until }: CircuitRecord) => [
  epoch,
  body,
  at,
  until === Infinity ? null : until,
  listed,
  changed
]

const rollCallTuple = ({ box, circuit, epoch, prev, seq, term }: RollCall) => [seq, prev, circuit, epoch, box, term]

export const rollCallText = (rollCall: RollCall): string => JSON.stringify(rollCallTuple(rollCall))

export const pendingText = ({ circuits, rollCalls, time, version }: Pending): string =>
  JSON.stringify([
    version,
    time,
    Array.from(circuits, ([circuit, { boxes, record }]) => [
      circuit,
      record === undefined ? null : recordTuple(record),
      Array.from(boxes, ([box, { asked, ballot, epoch, roll, voter }]) => [
        ...[box, epoch, voter, ballot === undefined ? null : ballotTuple(ballot), asked ?? null, rollTuple(roll)]
      ])
    ]),
    rollCalls.map(rollCallTuple)
  ])

const recordFrom = (found: unknown): CircuitRecord | undefined => {
  if (!Array.isArray(found)) return undefined
  const [epoch, body, at, until, listed, changed] = found
  return isWhole(epoch) &&
    typeof body === "string" &&
    isWhole(at) &&
    (until === null || isWhole(until)) &&
    typeof listed === "boolean" &&
    typeof changed === "boolean"
    ? { epoch, body, at, until: until ?? Infinity, listed, changed }
    : undefined
}

const changeFrom = (found: unknown): readonly [string, CircuitChange] | undefined => {
  if (!Array.isArray(found)) return undefined
  const [circuit, record, boxes] = found
  if (typeof circuit !== "string" || !Array.isArray(boxes)) return undefined
  const changes = boxes.map((one): readonly [string, BoxChange] | undefined => {
    if (!Array.isArray(one)) return undefined
    const [box, epoch, voter, ballot, asked, roll] = one
    if (typeof box !== "string" || !isWhole(epoch) || typeof voter !== "string") return undefined
    const rest = { ballot: ballotFrom(ballot), asked: isWhole(asked) ? asked : undefined, roll: rollFrom(roll) }
    return [box, { epoch, voter, ...rest }]
  })
  const written = recordFrom(record)
  if (changes.some((one) => one === undefined) || (record !== null && written === undefined)) return undefined
  return [circuit, { record: written, boxes: new Map(changes.filter((one) => one !== undefined)) }]
}

/** Reads a roll call; `undefined` if a part is missing or wrong. */
export const rollCallFrom = (found: unknown): RollCall | undefined => {
  if (!Array.isArray(found)) return undefined
  const [seq, prev, circuit, epoch, box, term] = found
  return isWhole(seq) &&
    isWhole(prev) &&
    prev < seq &&
    typeof circuit === "string" &&
    isWhole(epoch) &&
    typeof box === "string" &&
    isWhole(term) &&
    term <= limits.rollCallMillis
    ? { seq, prev, circuit, epoch, box, term }
    : undefined
}

const pendingFrom = (text: string): Pending | undefined => {
  const found = parsed(text)
  if (!Array.isArray(found)) return undefined
  const [version, time, circuits, rollCalls] = found
  if (!isWhole(version) || !isWhole(time) || !Array.isArray(circuits) || !Array.isArray(rollCalls)) return undefined
  const changes = circuits.map(changeFrom)
  const calls = rollCalls.map(rollCallFrom)
  if ([...changes, ...calls].some((one) => one === undefined)) return undefined
  return {
    version,
    time,
    circuits: new Map(changes.filter((one) => one !== undefined)),
    rollCalls: calls.filter((one) => one !== undefined)
  }
}

/** Creates the first value of the hub. Its turns get higher numbers than the turns of earlier hubs. */
export const newHub = (time: number, life: string): Item => ({
  f: n(format),
  life: s(life),
  born: n(time),
  v: n(time * 1_000),
  epoch: n(0),
  head: n(0),
  t: n(time),
  r: { M: {} }
})
