import * as Semaphore from "effect/Semaphore"
import type * as Circuit from "../core/Circuit.ts"
import type * as Window from "../core/Window.ts"
import type { Provenance } from "../store/codec.ts"

/** The record of a circuit in the store, as this process last read it. Times are by the monotonic clock of this process. */
export interface KnownRecord {
  /** The epoch in the store; 0 if the store no longer has a record. */
  readonly epoch: number
  /**
   * The epoch with which this state was first written. Records are compared by it. It differs from `epoch` if the store lost the record
   * and a process wrote it again.
   */
  readonly origin: number
  readonly circuit: Circuit.Circuit
  readonly provenance: Provenance
  /** When this process read it. */
  readonly at: number
  /** When the store forgets the record. If the store's clock leaps forward, the store forgets the record earlier. */
  keptUntil: number
  /** When the state began, by the wall clock of the process that wrote it. */
  readonly since: number
}

/** The record of a circuit in the store, and the transitions of this process that the store does not have yet. */
export class RecordPart {
  known: KnownRecord | undefined = undefined
  /** The local epoch in which the state is that of the fleet. In any other epoch, this process decides the state. */
  adopted = -1
  /** Whether this process, and not the fleet, decides the state under an override. */
  ownBeneath = false
  /** Serializes the transitions of the fleet that this process makes. */
  readonly turn = Semaphore.makeUnsafe(1)
  /** The number of compare-and-swaps in flight. */
  committing = 0
  /** The number of transitions of this process that the store does not have yet. While there are any, the local state decides. */
  ahead = 0
  /** The state of the fleet that this process last replaced. */
  replaced: Circuit.Circuit | undefined = undefined
  /** The start (wall clock) of the outage whose end this process last announced for the fleet. */
  ended = 0
  /** Set if the store has lost the record. `found`: the epoch that it has instead, or 0. `sending`: the record is being written again. */
  lost: { found: number; sending: boolean } | undefined = undefined
}

/** The ballot of this process that the store has. */
export interface SentBallot {
  readonly epoch: number
  readonly box: string
  readonly conviction: number
  readonly until: number
  /** Whether it is unknown if the store still has the ballot. */
  readonly unsure: boolean
}

/** The streak and the windows at one moment. */
export interface EvidenceSnapshot {
  readonly at: number
  readonly streak: number
  readonly counts: ReadonlyArray<Window.Counts>
}

/** Evidence that this process does not put into its ballots. `epoch` is the local epoch in which it began to be counted. */
export interface KeptBack extends EvidenceSnapshot {
  readonly epoch: number
  readonly calls: number
}

/** The ballots of this process about a circuit. */
export class BallotPart {
  sent: SentBallot | undefined = undefined
  /** The conviction of the latest ballot, sent or not. */
  conviction = 0
  /** The evidence for the opening of this process, while it lasts. */
  opened: (EvidenceSnapshot & { readonly doubted: boolean }) | undefined = undefined
  keptBack: KeptBack | undefined = undefined
  /** The evidence at the moment when the connection to the store was lost. */
  whenDown: (KeptBack & { readonly successes: number }) | undefined = undefined

  /** An inquiry is in progress until this time. */
  inquiryUntil = Number.NEGATIVE_INFINITY
  /** No new inquiry begins before this time. */
  quietUntil = Number.NEGATIVE_INFINITY
  /** Inquiries in a row that did not open the circuit. */
  fruitless = 0
  trippedAt = Number.NEGATIVE_INFINITY

  /** Whether, at the latest reading of the tally, most voters were convinced but the trip did not trip yet. */
  agreed = false
  /** Milliseconds of the inquiry that the next cast begins; 0 for none. */
  inquire = 0
  /** Milliseconds of the roll call that the next cast begins; 0 for none. */
  roll = 0
  waiting = false
  sending = false
  /** The time of the next ballot that the rate limit allows. */
  allowance = Number.NEGATIVE_INFINITY
  /** When the tally is read again; `undefined` for never. */
  readAt: number | undefined = undefined
  /** The next pause before the tally is read again after a roll call. */
  resumMillis = 0
  /** The latency of the latest cast. */
  tookMillis = 0
  /** The end of a roll call that this process answered with a ballot. The ballot has to last until then. */
  rolledUntil = Number.NEGATIVE_INFINITY
  /** The end of a roll call from which this process abstained. */
  abstainedUntil = Number.NEGATIVE_INFINITY
}

/** A lease from the fleet. `epoch` is the local epoch. */
export interface Granted {
  readonly _tag: "Granted"
  readonly lease: number
  readonly epoch: number
  readonly until: number
}

/** The leases of a circuit. Only `Leases` writes it. */
export class LeasePart {
  /** A lease that came too late for the call that asked for it. */
  spare: Granted | undefined = undefined
  asking = false
}

/** An operator action that is not in the store yet. It is applied to the state that the fleet has when the store gets it. */
export interface PendingAction {
  /** If this combines several actions: each of them, in order. */
  readonly steps?: ReadonlyArray<PendingAction["next"]>
  readonly next: (current: Circuit.Circuit, now: number) => Circuit.Circuit
  readonly why: Circuit.Why
  readonly detail: string | undefined
  readonly actor: string | undefined
  /** For an imported state: when it began, by the wall clock. Default: now. */
  readonly since?: number | undefined
}

/** The operator actions on a circuit. Only `OperatorActions` writes it. */
export class OperatorActionPart {
  pending: PendingAction | undefined = undefined
}

/** What a circuit shares with the fleet. It exists from the first failure until the circuit is healthy again. */
export class FleetState {
  readonly record = new RecordPart()
  readonly ballots = new BallotPart()
  readonly lease = new LeasePart()
  readonly actions = new OperatorActionPart()

  /** Whether the fleet decided this state. */
  isFleets(control: Circuit.Circuit): boolean {
    return control._tag !== "Closed" && control.epoch === this.record.adopted
  }

  /** The epoch of the record in the store, as this process last read it. */
  get epoch(): number {
    return this.record.known?.epoch ?? 0
  }

  /** The epoch of ballots: the epoch that the store has, also if it has lost a newer record. */
  get votingEpoch(): number {
    return this.record.lost?.found ?? this.epoch
  }
}
