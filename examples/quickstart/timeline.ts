import type { BreakerEvent } from "effect-fuse"
import type { Circuit } from "effect-fuse/core"
import type { Mood } from "./shop.ts"

/** How one attempt ended. */
export type End = "ok" | "error" | "timeout" | "rejected"

export interface Row {
  readonly seconds: number
  readonly mood: Mood
  readonly state: Circuit.State
  readonly retryAfterSeconds: number
  readonly ends: ReadonlyArray<End>
}

const codes = { green: 32, red: 31, yellow: 33, cyan: 36, dim: 2, bold: 1 } as const

export type Paint = (colour: keyof typeof codes, text: string) => string

/** Colors on a terminal. Plain text otherwise, or if `NO_COLOR` is set. */
export const painter =
  (colours: boolean): Paint =>
  (colour, text) =>
    colours ? `\u001b[${codes[colour]}m${text}\u001b[0m` : text

const stateColours = { Closed: "green", Open: "red", HalfOpen: "yellow", Isolated: "red", Disabled: "cyan" } as const
const moodColours = { works: "green", fails: "red", hangs: "red", recovered: "green" } as const
const signs = { ok: ["green", "+"], error: ["red", "x"], timeout: ["yellow", "t"], rejected: ["dim", "."] } as const

export const legend = (paint: Paint): string =>
  `one sign per attempt:  ${paint("green", "+")} answered   ${paint("red", "x")} failed   ${paint("yellow", "t")} timed out   ${paint("dim", ".")} rejected by the circuit, not sent\n\n` +
  paint("dim", "   time  the shop    circuit    calls")

export const row = ({ ends, mood, retryAfterSeconds, seconds, state }: Row, paint: Paint): string => {
  const calls = ends.map((end) => paint(signs[end][0], signs[end][1])).join("")
  const wait = state === "Open" ? paint("dim", `  retry after ${retryAfterSeconds.toFixed(1)} s`) : ""
  return `${seconds.toFixed(1).padStart(5)} s  ${paint(moodColours[mood], mood.padEnd(10))}  ${paint(stateColours[state], state.padEnd(9))}  ${calls}${wait}`
}

export const transition = (event: BreakerEvent.BreakerEvent, seconds: number, paint: Paint): string => {
  if (event._tag !== "Transition") return ""
  const wait =
    event.retryAfterMillis === null || event.retryAfterMillis === 0 ? "" : `, for ${event.retryAfterMillis / 1000} s`
  const detail = event.detail === undefined ? "" : ` (${event.detail})`
  return `${seconds.toFixed(1).padStart(5)} s  ${paint("bold", `${event.from} -> ${event.to}`)}  ${event.why}${detail}${wait}`
}
