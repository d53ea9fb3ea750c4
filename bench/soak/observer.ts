/** The records that an onlooker hears of. */
import { Effect, Logger, Schedule } from "effect"
import type { Circuit } from "effect-fuse"
import { type Name, now } from "./lines.ts"

/** A record of the fleet's; times in its state are milliseconds from when it was written. */
export interface Record {
  readonly c: Name
  readonly era: number
  /** By the server's clock, which an era is made of. */
  readonly at: number
  readonly why: Circuit.Why
  readonly process: string
  readonly state: {
    readonly _tag: Circuit.State
    readonly until?: number | null
    readonly openings?: number
    readonly leases?: ReadonlyArray<unknown>
    readonly under?: { readonly openings: number }
  }
}

const wallToMonotonic = now() - Date.now()

const read = (message: string): Record | undefined => {
  const found = /^R (\d+) (\S+) (.*)$/s.exec(message)
  if (found === null) return undefined
  const [, era = "", c = "", body = ""] = found
  const { process, state, why } = JSON.parse(body)
  return { c: c as Name, era: Number(era), at: Number(era) / 1_000 + wallToMonotonic, why, process, state }
}

/** Adds what a message says, if it is one of a record. */
export const heard = (message: string, records: Array<Record>): void => {
  const record = read(message)
  if (record !== undefined) records.push(record)
}

/** Listens again whenever that ended. */
export const listening = <E>(listen: Effect.Effect<never, E>): Effect.Effect<void> =>
  listen.pipe(
    Effect.ignoreCause,
    Effect.repeat(Schedule.spaced("20 millis")),
    Effect.provide(Logger.layer([])),
    Effect.asVoid
  )
