/** The output of the demonstration: a row per second, a line for each transition, and at most 80 columns. */
import type { BreakerEvent } from "effect-fuse"
import { type Paint, painter } from "../quickstart/timeline.ts"
import type { Call, Move } from "./fleet.ts"
import type { End } from "./messages.ts"
import type { Mood } from "./shop.ts"

export const paint: Paint = painter(process.stdout.isTTY === true && process.env["NO_COLOR"] === undefined)

const signs = { ok: ["green", "+"], error: ["red", "x"], rejected: ["dim", "."] } as const

const begin = performance.now()
const time = () => `${((performance.now() - begin) / 1000).toFixed(1).padStart(5)} s`

const sign = (end: End): string => paint(signs[end][0], signs[end][1])

export const legend = (names: ReadonlyArray<string>): string => `\
${sign("ok")} answered   ${sign("error")} failed   ${sign("rejected")} rejected by the circuit, not sent
Open: for the whole fleet   Alone: one process has opened by itself

${paint("dim", `   time  shop   redis  ${names.map((name) => name.padEnd(18)).join("")}`.trimEnd())}`

export const title = (text: string): string => `\n${paint("bold", text)}`

/** The state of one process, in at most six letters. */
const stateOf = (move: BreakerEvent.Transition | undefined): string => {
  if (move === undefined || move.to === "Closed") return "Closed"
  if (move.to === "Isolated") return "Forced"
  if (move.to === "HalfOpen") return "Probe"
  return move.scope === "fleet" ? "Open" : "Alone"
}

const colours = {
  Closed: "green",
  Forced: "red",
  Probe: "yellow",
  Open: "red",
  Alone: "yellow"
} as const

export const row = (of: {
  readonly mood: Mood
  readonly redisUp: boolean
  readonly names: ReadonlyArray<string>
  readonly calls: ReadonlyArray<Call>
  readonly moves: ReadonlyArray<Move>
}): string => {
  const cells = of.names.map((name) => {
    const state = stateOf(of.moves.findLast(({ worker }) => worker === name)?.event)
    const ends = of.calls.filter(({ worker }) => worker === name).slice(-10)
    const colour = colours[state as keyof typeof colours]
    const calls = ends.map(({ end }) => sign(end)).join("")
    return `${paint(colour, state.padEnd(7))}${calls}${" ".repeat(11 - ends.length)}`
  })
  const shop = paint(of.mood === "fails" ? "red" : "green", of.mood.padEnd(7))
  const redis = of.redisUp ? paint("green", "up".padEnd(7)) : paint("red", "dead".padEnd(7))
  return `${time()}  ${shop}${redis}${cells.join("")}`.trimEnd()
}

/** A transition as text, if the worker made it itself. A transition that the worker learned from the fleet is not repeated. */
export const told = ({ event, worker }: Move): string | undefined => {
  const by = authorOf(event) ?? worker
  if (by !== worker) return undefined
  const whom = event.scope === "fleet" ? "for all" : "alone"
  const detail = event.detail === undefined ? "" : `: ${event.detail}`
  const text = `${worker} ${event.from} -> ${event.to} ${whom} (${event.why})${detail}`
  return `${time()}  ${wrap(text)}`
}

/** The worker that made a transition of the fleet. */
export const authorOf = (event: BreakerEvent.Transition): string | undefined => event.process?.split("~")[0]

/** Breaks a text between words, indented below the time. */
export const wrap = (text: string, indent = 9): string => {
  const lines: Array<string> = []
  let line = ""
  for (const word of text.split(" ")) {
    if (line !== "" && indent + line.length + 1 + word.length > 80) {
      lines.push(line)
      line = word
    } else line = line === "" ? word : `${line} ${word}`
  }
  return [...lines, line].join(`\n${" ".repeat(indent)}`)
}
