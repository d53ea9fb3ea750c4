import type { Transition } from "../BreakerEvent.ts"
import * as Circuit from "../Circuit.ts"
import * as Fleet from "../Fleet.ts"
import type { Stored } from "../SharedStore.ts"
import { type About, fromBody, fromCircuitId } from "./codec.ts"
import * as exported from "./exported.ts"

/**
 * What the store has of a circuit. Times are milliseconds since 1970 by this process's clock.
 */
export interface Known {
  readonly _tag: "Known"
  readonly name: string
  readonly key: string | undefined
  /** The store's era of the record: each write has a higher one. */
  readonly era: number
  readonly state: Circuit.State
  /** When the state began, milliseconds since 1970. The same at every read. */
  readonly since: number
  /**
   * The outage that the circuit is in, also beneath an override; `undefined` while it is Closed. `since` is the start of its first
   * opening, in milliseconds since 1970 by the clock of the process that opened it, and `openings` is the number of its openings.
   */
  readonly outage: { readonly since: number; readonly openings: number } | undefined
  /** When an opening's cooldown or an override is over; `undefined` for what does not end by itself. */
  readonly until: number | undefined
  /** What goes on beneath an override. */
  readonly beneath: "Closed" | "Open" | undefined
  /** How many openings count. */
  readonly openings: number
  /** Why the state was entered: in a word, and in the words of who did it. */
  readonly why: Circuit.Why
  readonly reason: string | undefined
  readonly actor: string | undefined
  /** The process that wrote it. */
  readonly process: string
}

/**
 * What the store has of a circuit after an operator action.
 */
export interface Done extends Known {
  /**
   * The transition that each process of the fleet announces when it hears of the action; `undefined` if the action changed nothing. Hand it
   * to `AuditTrail.recordAction` if no process may be alive to write it down.
   */
  readonly transition: Transition | undefined
}

/**
 * A record that this version cannot read: a newer one wrote it, or something else did.
 */
export interface Unreadable {
  readonly _tag: "Unreadable"
  /** As the store has it, where it is not the name of a circuit. */
  readonly name: string
  readonly key: string | undefined
  readonly era: number
  readonly body: string
}

export interface Identity {
  readonly name: string
  readonly key: string | undefined
}

const untilOf = (circuit: Circuit.Circuit): number | undefined =>
  "until" in circuit && circuit.until !== Infinity ? circuit.until : undefined

export const toKnown = (id: Identity, era: number, circuit: Circuit.Circuit, about: About, now: number): Known => {
  const shown = Circuit.expire(circuit, now)
  const forced = Circuit.isForced(shown)
  const outage = Circuit.outage(shown)
  return {
    _tag: "Known",
    ...id,
    era,
    state: shown._tag,
    since: Math.round(shown.since),
    outage: outage && { since: Math.round(outage.at), openings: outage.openings },
    until: untilOf(shown),
    beneath: forced ? shown.under._tag : undefined,
    openings: Circuit.openings(shown, now),
    why: shown === circuit ? about.why : "Expired",
    reason: forced ? shown.reason : about.detail,
    // An import is no new reason for a state.
    actor: forced
      ? shown.actor
      : about.why === "Imported"
        ? (exported.originOf(shown).actor ?? about.actor)
        : about.actor,
    process: about.process
  }
}

/** If the clocks of the writer and of this process differ by less than this, times are shown as the writer recorded them. */
const sameClockMillis = 1_000

/** A record as it is written, or what cannot be read of it. */
export const decode = (circuit: string, { age, body, era }: Stored, now: number) => {
  const id = fromCircuitId(circuit)
  const writtenAt = now - age
  const record = fromBody(body, writtenAt)
  if (id === undefined || record === undefined) {
    return { _tag: "Unreadable", ...(id ?? { name: circuit, key: undefined }), era, body } satisfies Unreadable
  }
  // The age depends on how long the answer took: two reads of one record would show different times.
  const apart = record.about.at - writtenAt
  const state = Math.abs(apart) < sameClockMillis ? Fleet.shift(record.circuit, apart) : record.circuit
  return { _tag: "Readable", id, era, circuit: state, about: record.about } as const
}

export const read = (circuit: string, stored: Stored, now: number): Known | Unreadable => {
  const one = decode(circuit, stored, now)
  return one._tag === "Unreadable" ? one : toKnown(one.id, one.era, one.circuit, one.about, now)
}
