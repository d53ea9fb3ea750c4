import * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import type { Override, Transition } from "../shapes/BreakerEvent.ts"
import { overridesOf, type Released } from "../shapes/overrides.ts"
import { fromBody, fromCircuitId, type Provenance } from "./codec.ts"
import * as exported from "./exported.ts"
import type { Stored } from "./SharedStore.ts"

/**
 * What the store contains about a circuit. Times are in milliseconds since 1970 by the clock of this process.
 */
export interface Known {
  readonly _tag: "Known"
  readonly name: string
  readonly key: string | undefined
  /** The epoch that the store gave to the record. Each write gets a higher epoch. */
  readonly epoch: number
  readonly state: Circuit.State
  /** When the state began, in milliseconds since 1970. Each read returns the same value. */
  readonly since: number
  /**
   * The outage that the circuit is in, also beneath an override; `undefined` while it is Closed. `since` is the start of its first
   * opening, in milliseconds since 1970 by the clock of the process that opened it, and `openings` is the number of its openings.
   * `agreed` says how many processes agreed when the fleet last opened the circuit in this outage; it is absent if the fleet did not.
   */
  readonly outage:
    | { readonly since: number; readonly openings: number; readonly agreed?: Circuit.Agreement }
    | undefined
  /** When the cooldown or the override ends; `undefined` for a state that does not end by itself. */
  readonly until: number | undefined
  /** The overrides that operators have set and that have not ended: first the one that decides. */
  readonly overrides: ReadonlyArray<Override>
  /** The state beneath the overrides. */
  readonly beneath: "Closed" | "Open" | undefined
  /** The number of consecutive openings, which determines the cooldown. */
  readonly openings: number
  /** Why the circuit entered the state. `reason` is the text of the operator, or the counts that caused a trip. */
  readonly why: Circuit.Why
  readonly reason: string | undefined
  readonly actor: string | undefined
  /** The process that wrote the record. */
  readonly process: string
}

/**
 * What the store contains about a circuit after an operator action.
 */
export interface Done extends Known, Released {
  /**
   * The transition that each process of the fleet announces when it receives the action; `undefined` if the action changed nothing. If
   * there may be no running process, pass the transition to `AuditTrail.recordAction`, which writes it to the trail.
   */
  readonly transition: Transition | undefined
  /** The overrides that `release` or `reset` ended. Empty for every other action. */
  readonly ended: ReadonlyArray<Override>
}

/**
 * A record that this version cannot read, because a newer version or another program wrote it.
 */
export interface Unreadable {
  readonly _tag: "Unreadable"
  /** The name of the circuit. If the store's text is not a valid name, this is that text. */
  readonly name: string
  readonly key: string | undefined
  readonly epoch: number
  readonly body: string
}

export interface Identity {
  readonly name: string
  readonly key: string | undefined
}

const untilOf = (circuit: Circuit.Circuit): number | undefined =>
  "until" in circuit && circuit.until !== Infinity ? circuit.until : undefined

export const toKnown = (
  id: Identity,
  epoch: number,
  circuit: Circuit.Circuit,
  provenance: Provenance,
  now: number
): Known => {
  const shown = Circuit.expire(circuit, now)
  const forced = Circuit.isForced(shown)
  const outage = Circuit.outage(shown)
  return {
    _tag: "Known",
    ...id,
    epoch,
    state: shown._tag,
    since: Math.round(shown.since),
    outage: outage && {
      since: Math.round(outage.at),
      openings: outage.openings,
      ...(outage.agreed && { agreed: outage.agreed })
    },
    until: untilOf(shown),
    overrides: overridesOf(shown, now, now),
    beneath: forced ? shown.under._tag : undefined,
    openings: Circuit.openings(shown, now),
    why: shown === circuit ? provenance.why : "Expired",
    reason: forced ? shown.reason : provenance.detail,
    // An import does not change the cause of a state: `actor` is the operator that the imported state names.
    actor: forced
      ? shown.actor
      : provenance.why === "Imported"
        ? (exported.originOf(shown).actor ?? provenance.actor)
        : provenance.actor,
    process: provenance.process
  }
}

/** If the writer's clock and the clock of this process differ by less than this, times are shown as the writer recorded them. */
const sameClockMillis = 1_000

/** A decoded record, or an `Unreadable` if the record cannot be decoded. */
export const decode = (circuit: string, { age, body, epoch }: Stored, now: number) => {
  const id = fromCircuitId(circuit)
  const writtenAt = now - age
  const record = fromBody(body, writtenAt)
  if (id === undefined || record === undefined) {
    return { _tag: "Unreadable", ...(id ?? { name: circuit, key: undefined }), epoch, body } satisfies Unreadable
  }
  // The age depends on the latency of the read. Without this correction, two reads of one record would show different times.
  const apart = record.provenance.at - writtenAt
  const state = Math.abs(apart) < sameClockMillis ? Fleet.shift(record.circuit, apart) : record.circuit
  return { _tag: "Readable", id, epoch, circuit: state, provenance: record.provenance } as const
}

export const read = (circuit: string, stored: Stored, now: number): Known | Unreadable => {
  const one = decode(circuit, stored, now)
  return one._tag === "Unreadable" ? one : toKnown(one.id, one.epoch, one.circuit, one.provenance, now)
}

export const stateOf = (one: Known | Unreadable): Circuit.State | "Unreadable" =>
  one._tag === "Unreadable" ? one._tag : one.state

export const isNotClosed = (one: Known | Unreadable): boolean => stateOf(one) !== "Closed"
