import type { Stored } from "../store/SharedStore.ts"
import { type SqlRow, toNumber, toWhole } from "./database.ts"

/** A row of the table of records. */
export interface Recorded {
  readonly epoch: number
  readonly body: string
  readonly writtenAt: number
  readonly endsAt: number
  readonly changed: boolean
}

/** A number of milliseconds. Anything else counts as 0: SQLite may have a text where a number is expected. */
export const toAge = (value: unknown): number => {
  const millis = toNumber(value)
  return millis > 0 && millis < Infinity ? millis : 0
}

export const toStored = (row: SqlRow): Stored | undefined => {
  const epoch = toWhole(row["epoch"])
  return epoch === 0 || row["body"] === null ? undefined : { epoch, body: String(row["body"]), age: toAge(row["age"]) }
}
