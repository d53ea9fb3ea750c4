/** Computes the results of a policy, and describes how two policies differ. */
import type { PlayReport } from "../src/simulator/figures.ts"
import { millis } from "./settings.ts"

/** Results of the whole run. Times are in milliseconds. */
export interface Totals {
  readonly offered: number
  readonly answered: number
  readonly failed: number
  readonly rejected: number
  /** Attempts that reached the server. */
  readonly sent: number
  readonly openings: number
  readonly p99: number | undefined
  /** How long the server recovers after the end of the fault. `undefined` without a fault, `Infinity` if the run ends earlier. */
  readonly recovery: number | undefined
}

export const totalsOf = ({ moves, p99, recovery, seconds }: PlayReport): Totals => {
  const sum = (field: "offered" | "answered" | "failed" | "rejected" | "sent"): number =>
    seconds.reduce((all, second) => all + second[field], 0)
  return {
    offered: sum("offered"),
    answered: sum("answered"),
    failed: sum("failed"),
    rejected: sum("rejected"),
    sent: sum("sent"),
    openings: moves.filter(({ to }) => to === "Open").length,
    p99,
    recovery
  }
}

export const count = (n: number): string => n.toLocaleString("en-US")

export const recoveryText = (recovery: number | undefined): string =>
  recovery === undefined
    ? "there is no fault"
    : recovery === Infinity
      ? "not in this run"
      : recovery === 0
        ? "at once"
        : `after ${recovery / 1_000} s`

/** Compares two numbers of calls, such as "1 more call fails". */
const compared = (a: number, b: number, one: string, many: string): string => {
  const difference = Math.abs(b - a)
  if (difference === 0) return `the same number of calls ${many}`
  return `${count(difference)} ${b > a ? "more" : "fewer"} ${difference === 1 ? `call ${one}` : `calls ${many}`}`
}

const recovered = (first: string, a: Totals["recovery"], name: string, b: Totals["recovery"]): string => {
  if (a === undefined || b === undefined) return ""
  if (a === b) return a === Infinity ? " Neither recovers in this run." : ` Both recover ${recoveryText(a)}.`
  const recovers = (policy: string, recovery: number) =>
    recovery === Infinity ? `${policy} does not recover in this run` : `${policy} recovers ${recoveryText(recovery)}`
  return ` When the fault is over, ${recovers(name, b)}, and ${recovers(first, a)}.`
}

/** Compares the p99 durations. Writes no sentence for a difference of a fifth or less, because the difference may be chance. */
const faster = (first: string, a: Totals["p99"], name: string, b: Totals["p99"]): string =>
  a === undefined || b === undefined || Math.max(a, b) <= 1.2 * Math.min(a, b)
    ? ""
    : ` 99 % of the answers arrive within ${millis(b)} with ${name}, and within ${millis(a)} with ${first}.`

/** Describes how a policy differs from the first policy. */
export const difference = (first: string, a: Totals, name: string, b: Totals): string =>
  `Of ${count(b.offered)} calls, ${name} answers ${count(b.answered)} and ${first} ${count(a.answered)}. ` +
  `With ${name}, ${compared(a.failed, b.failed, "fails", "fail")}, and ${compared(a.sent, b.sent, "reaches", "reach")} the server.` +
  faster(first, a.p99, name, b.p99) +
  recovered(first, a.recovery, name, b.recovery)
