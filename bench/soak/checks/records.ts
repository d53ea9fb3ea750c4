/** The records of the fleet, as the observer received them: a chain for each circuit while the store loses nothing. */
import { Circuit } from "effect-fuse/core"
import { type History, losses, meets, storeTrouble } from "../history.ts"
import { circuits } from "../lines.ts"
import type { Record } from "../observer.ts"
import { at, type Check } from "./check.ts"

/** How long the observer needs to subscribe again to a server that was killed. */
const absentMillis = 3_000

/** Consecutive records, except where the store lost records or the observer may have missed some. */
const pairs = (history: History): ReadonlyArray<readonly [before: Record, next: Record]> => {
  const gaps = losses(history).map(({ from, to }) => ({ from: from - 100, to: to + absentMillis }))
  return circuits.flatMap((c) => {
    const chain = history.records.filter((record) => record.c === c)
    return chain.flatMap((next, i) => {
      const before = chain[i - 1]
      return before === undefined || meets(gaps, before.at, next.at) ? [] : [[before, next] as const]
    })
  })
}

const show = (record: Record) => `${at(record.at)} ${JSON.stringify(record)}`

const finder =
  (broken: (next: Record, before: Record, history: History) => boolean): Check["find"] =>
  (history) =>
    pairs(history)
      .filter(([before, next]) => broken(next, before, history))
      .map(([before, next]) => `${show(before)}\n      ${show(next)}`)

const openingsOf = ({ state }: Record): number => state.openings ?? state.under?.openings ?? 0

const byOperators: ReadonlyArray<Circuit.Why> = [
  ...(["Isolated", "Disabled", "Released", "Reset", "OpenedByHand", "ClosedByHand"] as const)
]

export const chain: Check = {
  name: "epochs of the store grow, and its records follow one another along legal edges",
  find: finder((next, before) => {
    if (next.epoch <= before.epoch) return true
    const [from, to] = [before.state._tag, next.state._tag]
    const same = from === to && (to === "HalfOpen" || to === "Open" || to === "Isolated")
    // Operator actions that were taken while the store was away are written as one record.
    return !same && !byOperators.includes(next.why) && !Circuit.isLegal(from, to, next.why)
  })
}

/** Whether the circuit had stayed closed for at least as long as it had been open before. The count of openings then starts again. */
const isForgotten = ({ at, state }: Record, now: number): boolean =>
  state._tag === "Closed" && now - at - (state.since ?? 0) >= (state.openFor ?? 0) - transitMillis

/**
 * How many openings the process that wrote a record had counted before, without the current opening. The fleet takes over the openings
 * that a process counted alone, also from an earlier outage.
 */
const countedBy = ({ lives, wallToMonotonic }: History, { at, c, process }: Record): number => {
  const writer = lives.find(({ life }) => life.voice === process.split("~")[0])
  const moves = writer?.of("move").filter(({ event }) => event.circuit === c && event.at + wallToMonotonic < at)
  const last = moves?.at(-1)?.event
  if (last === undefined) return 0
  return last.to === "Open" ? last.openings - 1 : last.openings
}

export const counted: Check = {
  name: "each opening of the fleet is counted once",
  find: finder((next, before, history) => {
    if (next.state._tag !== "Open") return openingsOf(next) > openingsOf(before)
    if (before.state._tag === "Isolated") return false
    const more = openingsOf(next) - openingsOf(before)
    if (before.state._tag === "Open") return more !== 0
    // The process that writes the record may have opened by itself before, in the same outage. These openings count, too.
    const own = Math.max(1, next.state.outage?.openings ?? 1)
    const isOneMore = (of: number): boolean => of >= 1 && of <= own
    const counted = isForgotten(before, next.at) ? 0 : openingsOf(before)
    if (isOneMore(more) || isOneMore(openingsOf(next) - counted)) return false
    return openingsOf(next) <= counted || openingsOf(next) !== countedBy(history, next) + 1
  })
}

/** The observer receives a record at most this long after its write. A record contains the time of its write. */
const transitMillis = 60
const transit = (from: number, to: number, history: History): number =>
  meets(storeTrouble(history, "any", 1_000), from, to) ? 1_000 : transitMillis

export const kept: Check = {
  name: "no opening of the fleet ends early, except by an operator",
  find: finder((next, before, history) => {
    if (before.state._tag !== "Open" || (next.state._tag !== "HalfOpen" && next.state._tag !== "Closed")) return false
    if (next.why === "ClosedByHand" || next.why === "Reset") return false
    return next.at < before.at + (before.state.until ?? 0) - transit(before.at, next.at, history)
  })
}
