/** Everything that was written down, read again and put together for the checks. */
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
  /** Of one kind. */
  readonly of: <K extends Line["k"]>(k: K) => ReadonlyArray<Of<K>>
}

export interface History {
  readonly lives: ReadonlyArray<Told>
  readonly happened: ReadonlyArray<Happened>
  readonly records: ReadonlyArray<Record>
  /** From the wall clock, in which moves are dated, to the clock of the lines. */
  readonly wallToMonotonic: number
  /** What was found after all faults: what did not become well in time. */
  readonly notWell: ReadonlyArray<string>
}

/** The last line may be cut short, where its process was killed. */
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

/** Keeps what the journals of the workers do not say beside them. */
export const save = (folder: string, { lives, ...history }: History): void =>
  writeFileSync(join(folder, fileName), JSON.stringify({ ...history, lives: lives.map(({ life }) => life) }))

/** What was kept, to check it again. */
export const load = (folder: string): History => {
  const history = JSON.parse(readFileSync(join(folder, fileName), "utf8"))
  return { ...history, lives: history.lives.map(read) }
}

/** A stretch of time. */
export interface Span {
  readonly from: number
  readonly to: number
}

export const meets = (spans: ReadonlyArray<Span>, from: number, to: number): boolean =>
  spans.some((span) => span.from <= to && from <= span.to)

/** When the store forgot everything. */
export const losses = ({ happened }: History): ReadonlyArray<Span> =>
  happened.filter(({ fault }) => forgetting.includes(fault.kind))

/** When the store was not there as it should be for a worker, or for any; `after` is added for what follows from it. */
export const storeTrouble = ({ happened }: History, who: number | "any", after: number): ReadonlyArray<Span> =>
  happened.flatMap(({ fault, from, to }) =>
    "millis" in fault && (who === "any" || fault.who === "all" || fault.who === who || !fault.kind.startsWith("proxy"))
      ? [{ from, to: to + after }]
      : []
  )

/** When a process was not run for long: the machine is a shared one. */
export const lags = ({ of }: Told): ReadonlyArray<Span & { readonly millis: number }> =>
  of("lag").map(({ millis, t }) => ({ from: t - millis - 60, to: t, millis }))
