/** The transitions of each process: along legal edges, in order, and never before the end of an opening. */
import type { BreakerEvent } from "effect-fuse"
import { Circuit } from "effect-fuse/core"
import type { History, Told } from "../history.ts"
import { circuits } from "../lines.ts"
import { at, type Check } from "./check.ts"

type Move = BreakerEvent.Transition

/** The transitions of a circuit in one life, in order, each with the one before. */
const pairs = (told: Told): ReadonlyArray<readonly [before: Move | undefined, move: Move]> =>
  circuits.flatMap((c) => {
    const moves = told.of("move").flatMap(({ event }) => (event.circuit === c ? [event] : []))
    return moves.map((move, i) => [moves[i - 1], move] as const)
  })

const show = (told: Told, { wallToMonotonic }: History, ...moves: ReadonlyArray<Move | undefined>) =>
  `${told.life.voice} ${moves
    .flatMap((move) => (move === undefined ? [] : [`${at(move.at + wallToMonotonic)} ${JSON.stringify(move)}`]))
    .join("\n      ")}`

const finder =
  (broken: (move: Move, before: Move | undefined) => boolean): Check["find"] =>
  (history) =>
    history.lives.flatMap((told) =>
      pairs(told)
        .filter(([before, move]) => broken(move, before))
        .map(([before, move]) => show(told, history, before, move))
    )

/** Whether a transition only reports to the fleet that this process had closed the circuit while it was without the store. */
const isTold = (move: Move, before: Move): boolean =>
  move.scope === "fleet" &&
  move.from === "Closed" &&
  move.to === "Closed" &&
  before.to === "Closed" &&
  move.epoch === before.epoch

export const edges: Check = {
  name: "each process moves along legal edges, one epoch at a time",
  find: finder((move, before) => {
    // Events from before the listener was added are missing.
    const follows =
      before === undefined || (move.from === before.to && move.epoch === before.epoch + 1) || isTold(move, before)
    return !follows || (move.scope === "local" && !Circuit.isLegal(move.from, move.to, move.why))
  })
}

/** The resolution of the wall clock is a millisecond. */
const tolerance = 2

const byOthers: ReadonlyArray<Circuit.Why> = ["ClosedByHand", "Reset", "Isolated", "Disabled", "OpenedByHand"]

/**
 * How long a state lasted, as its process measured it. The times of two transitions are less exact: the wall clock can be set, and is
 * read late.
 */
const lasted = (move: Move, before: Move): number => Math.max(move.lastedMillis ?? 0, move.at - before.at)

export const openings: Check = {
  name: "no process relaxes an opening of its own before its end",
  find: finder(
    (move, before) =>
      before?.to === "Open" &&
      (move.to === "HalfOpen" || move.to === "Closed") &&
      move.scope === "local" &&
      !byOthers.includes(move.why) &&
      lasted(move, before) < (before.retryAfterMillis ?? 0) - tolerance
  )
}

/** Each process delays the end of the fleet's opening at random, by up to a tenth of its length. */
const jitter = (move: Move): number => (move.retryAfterMillis ?? 0) / 10

export const shortened: Check = {
  name: "what a process learns does not shorten the opening that it is in",
  find: finder(
    (move, before) =>
      before?.to === "Open" &&
      move.to === "Open" &&
      lasted(move, before) + (move.retryAfterMillis ?? 0) <
        (before.retryAfterMillis ?? 0) - tolerance - jitter(before) &&
      move.why !== "OpenedByHand"
  )
}

/** How late a busy machine may date a transition. */
const lateMillis = 100

/**
 * Whether a closed circuit took over a later close of the fleet. No event announces that, but the state that the transition measured
 * is younger than the transition before. The circuit then continues the fleet's count of openings.
 */
const isReplaced = (move: Move, before: Move): boolean =>
  before.to === "Closed" && (move.lastedMillis ?? Infinity) < move.at - before.at - lateMillis

export const counted: Check = {
  name: "each process counts each opening of its own once",
  find: finder((move, before) => {
    if (before !== undefined && isReplaced(move, before)) return false
    if (move.to !== "Open" || move.scope !== "local" || before === undefined) return false
    if (move.from === "HalfOpen") return move.openings !== before.openings + 1
    return move.from === "Closed" && move.openings !== before.openings + 1 && move.openings !== 1
  })
}
