import type { Changed, Stored, Swap } from "../SharedStore.ts"

/**
 * A record as it is kept in each store: with its epoch in all stores, and what is needed to write it again.
 */
export interface Kept {
  readonly epoch: number
  readonly ttl: number | undefined
  readonly listed: boolean
  readonly body: string
  readonly age: number
  /** Its epoch in one store. It differs only if the record was written again there. */
  readonly own: number
}

/** `age` is the record's age when it is written: a record that is written again in another store does not become younger. */
export const wrap = (epoch: number, { body, listed, ttl }: Pick<Swap, "body" | "listed" | "ttl">, age = 0): string =>
  `${epoch} ${ttl ?? "-"} ${listed ? 1 : 0} ${age} ${body}`

export const unwrap = (stored: Stored | undefined): Kept | undefined => {
  const found = stored === undefined ? null : /^([1-9]\d*) (-|[\d.]+) ([01]) ([\d.]+) (.*)$/s.exec(stored.body)
  if (stored === undefined || found === null) return undefined
  const [, epoch, ttl, listed, age, body = ""] = found
  return {
    epoch: Number(epoch),
    ttl: ttl === "-" ? undefined : Number(ttl),
    listed: listed === "1",
    body,
    age: stored.age + Number(age),
    own: stored.epoch
  }
}

export const toStored = (kept: Kept | undefined): Stored | undefined =>
  kept === undefined ? undefined : { epoch: kept.epoch, body: kept.body, age: kept.age }

export const epochOf = (kept: Kept | undefined): number => kept?.epoch ?? 0

/** Whether two stores have the same record. Its body counts, too: processes that swap at the same moment may choose the same epoch. */
export const isSame = (a: Kept | undefined, b: Pick<Kept, "epoch" | "body"> | undefined): boolean =>
  a?.epoch === b?.epoch && a?.body === b?.body

/** The record that the most stores have. In a tie, the one with the greatest epoch; if that is the same, with the greatest body. */
export const majority = (all: ReadonlyArray<Kept | undefined>): Kept | undefined => {
  const votesOf = (one: Kept | undefined) => all.filter((other) => isSame(other, one)).length
  return all.reduce((first, one) => {
    const more = votesOf(one) - votesOf(first) || epochOf(one) - epochOf(first)
    return more > 0 || (more === 0 && (one?.body ?? "") > (first?.body ?? "")) ? one : first
  }, all[0])
}

export const isAgreed = (all: ReadonlyArray<Kept | undefined>): boolean => all.every((kept) => isSame(kept, all[0]))

/** The part of a swap that writes a record again. Without a record, it writes one that ends after 1 millisecond. */
export const written = (holds: Kept | undefined) =>
  holds === undefined
    ? { body: wrap(0, { body: "", ttl: 1, listed: false }), ttl: 1, listed: false }
    : {
        body: wrap(holds.epoch, holds, holds.age),
        ttl: holds.ttl === undefined ? undefined : Math.max(1, holds.ttl - holds.age),
        listed: holds.listed
      }

export const toChanged = (circuit: string, kept: Kept): Changed => ({
  circuit,
  epoch: kept.epoch,
  listed: kept.listed,
  record: toStored(kept)
})
