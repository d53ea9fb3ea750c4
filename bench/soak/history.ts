/** The history of a soak for the checks, read from the journals. */
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Happened } from "./drive.ts"
import type { Life } from "./fleet.ts"
import type { Line } from "./lines.ts"
import type { Record } from "./observer.ts"
import { forgetting } from "./plan.ts"

export type Of<K extends Line["k"]> = Extract<Line, { readonly k: K }>

/** The lines of one life of a worker. */
export interface Told {
  readonly life: Life
  readonly lines: ReadonlyArray<Line>
  /** The lines of one kind. */
  readonly of: <K extends Line["k"]>(k: K) => ReadonlyArray<Of<K>>
}

export interface History {
  readonly lives: ReadonlyArray<Told>
  readonly happened: ReadonlyArray<Happened>
  readonly records: ReadonlyArray<Record>
  /** The difference from the wall clock of transitions to the clock of the lines. */
  readonly wallToMonotonic: number
  /** The problems that remained after all faults. */
  readonly notWell: ReadonlyArray<string>
}

/** Parses a line. The last line of a killed process may be incomplete. */
const parse = (text: string): Line | undefined => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const read = (life: Life): Told => {
  const text = existsSync(life.journal) ? readFileSync(life.journal, "utf8") : ""
  const lines = text.split("\n").flatMap((line) => parse(line) ?? [])
  const of = <K extends Line["k"]>(k: K) => lines.filter((line): line is Of<K> => line.k === k)
  return { life, lines, of }
}

const fileName = "history.json"

/** Saves the parts of the history that are not in the journals of the workers, in the same folder. */
export const save = (folder: string, { lives, ...history }: History): void =>
  writeFileSync(join(folder, fileName), JSON.stringify({ ...history, lives: lives.map(({ life }) => life) }))

/** Loads a kept history, to check it again. */
export const load = (folder: string): History => {
  const history = JSON.parse(readFileSync(join(folder, fileName), "utf8"))
  return { ...history, lives: history.lives.map(read) }
}

/** A period of time. */
export interface Span {
  readonly from: number
  readonly to: number
}

export const meets = (spans: ReadonlyArray<Span>, from: number, to: number): boolean =>
  spans.some((span) => span.from <= to && from <= span.to)

/** The periods in which the store lost everything. */
export const losses = ({ happened }: History): ReadonlyArray<Span> =>
  happened.filter(({ fault }) => forgetting.includes(fault.kind))

/** The periods in which a fault kept a worker, or any worker, from the store. `after` extends them by the time for the consequences. */
export const storeTrouble = ({ happened }: History, who: number | "any", after: number): ReadonlyArray<Span> =>
  happened.flatMap(({ fault, from, to }) =>
    "millis" in fault && (who === "any" || fault.who === "all" || fault.who === who || !fault.kind.startsWith("proxy"))
      ? [{ from, to: to + after }]
      : []
  )

/** A process that is killed cannot report a lag of this length before its last line. */
const unreportedMillis = 300

const endsAt = (line: Line): number => ("t" in line ? line.t : "done" in line ? (line.done ?? 0) : 0)

/** The periods in which a busy machine did not run a process, or may not have run it. */
export const lags = ({ life, lines, of }: Told): ReadonlyArray<Span & { readonly millis: number }> => {
  const last = lines.reduce((latest, line) => Math.max(latest, endsAt(line)), life.from)
  return [
    ...of("lag").map(({ millis, t }) => ({ from: t - millis - 60, to: t, millis })),
    { from: last - unreportedMillis, to: life.to, millis: unreportedMillis }
  ]
}
