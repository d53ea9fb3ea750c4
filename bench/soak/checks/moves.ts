/** The moves of each process by itself: along legal edges, in turn, and never before the end of an opening. */
import type { BreakerEvent } from "effect-fuse"
import { Circuit } from "effect-fuse/core"
import type { History, Told } from "../history.ts"
import { circuits } from "../lines.ts"
import { at, type Check } from "./check.ts"

type Move = BreakerEvent.Transition

/** The moves of a circuit in one life, in turn, with the one before. */
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

/** A process that has closed by itself, without the store, closes the circuit for the fleet later: it tells that, and does not move. */
const isTold = (move: Move, before: Move): boolean =>
  move.scope === "fleet" &&
  move.from === "Closed" &&
  move.to === "Closed" &&
  before.to === "Closed" &&
  move.epoch === before.epoch

export const edges: Check = {
  name: "each process moves along legal edges, one epoch at a time",
  find: finder((move, before) => {
    // What it took on while it started, nobody was there to hear.
    const follows =
      before === undefined || (move.from === before.to && move.epoch === before.epoch + 1) || isTold(move, before)
    return !follows || (move.scope === "local" && !Circuit.isLegal(move.from, move.to, move.why))
  })
}

/** A step of the wall clock is a millisecond. */
const tolerance = 2

const byOthers: ReadonlyArray<Circuit.Why> = ["ClosedByHand", "Reset", "Isolated", "Disabled", "OpenedByHand"]

/** How long a state lasted: as its process measured it. The times of two moves are of a wall clock that is set, and read late. */
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

/** The end of the fleet's opening is a little later in each process, by chance: up to a tenth of its length. */
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

/** How late a move may be dated, by a machine that is busy. */
const lateMillis = 100

/**
 * Whether a closed circuit took over a later close of the fleet. Nothing announces that, but the state that it measured is younger than
 * the move before. It counts on from what the fleet had counted.
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
