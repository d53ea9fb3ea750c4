import * as Semaphore from "effect/Semaphore"
import type * as Circuit from "../core/Circuit.ts"
import type * as Window from "../core/Window.ts"
import type { Provenance } from "../store/codec.ts"

/** The fleet's record of a circuit, as this process last read it, with times of this process's clock. */
export interface KnownRecord {
  /** The epoch that the store gave it; 0 if the store has no record any more. */
  readonly epoch: number
  /**
   * The epoch at which this content was first written. It differs from `epoch` if the store lost the record and was given it
   * back. Records are compared by it.
   */
  readonly origin: number
  readonly circuit: Circuit.Circuit
  readonly provenance: Provenance
  /** When this process read it. */
  readonly at: number
  /** When the store forgets it. */
  readonly keptUntil: number
  /** When the state began, by the wall clock of the process that wrote it. */
  readonly since: number
}

/** The fleet's record of a circuit, and the transitions of this process that the store does not have yet. */
export class RecordPart {
  known: KnownRecord | undefined = undefined
  /** The local epoch whose state is the fleet's; a state of another epoch is this process's own. */
  adopted = -1
  /** Whether the state beneath an override is this process's own, and not the fleet's. */
  ownBeneath = false
  /** The fleet's transitions that this process makes are made one after the other. */
  readonly turn = Semaphore.makeUnsafe(1)
  /** How many swaps of this circuit the store has not answered. */
  committing = 0
  /** How many transitions this process has made that the store has not: until it has, this process's own state holds. */
  ahead = 0
  /** The state of the fleet that this process last replaced. */
  replaced: Circuit.Circuit | undefined = undefined
  /** When the outage began whose end this process last announced for all, by the wall clock. */
  ended = 0
  /** The store has lost this record: which epoch it has instead, 0 for none; and whether the record is on its way back to it. */
  lost: { found: number; sending: boolean } | undefined = undefined
}

/** The ballot that the store has of this process. */
export interface Said {
  readonly epoch: number
  readonly box: string
  readonly conviction: number
  /** When the ballot stops counting. */
  readonly until: number
  /** Whether the store may have dropped the ballot, or may have it still. */
  readonly unsure: boolean
}

/** What the streak and the windows held at one moment. */
export interface EvidenceSnapshot {
  readonly at: number
  readonly streak: number
  readonly counts: ReadonlyArray<Window.Counts>
}

/** Evidence that this process keeps back. `epoch` is the local epoch in which its counting began. */
export interface KeptBack extends EvidenceSnapshot {
  readonly epoch: number
  /** How many calls had completed. */
  readonly calls: number
}

/** What this process tells the others of a circuit. */
export class BallotPart {
  said: Said | undefined = undefined
  /** The conviction of the ballot that was built last. */
  conviction = 0
  /** The evidence of this process's own opening, while it lasts. */
  opened: (EvidenceSnapshot & { readonly doubted: boolean }) | undefined = undefined
  /** The evidence that no other process is told. */
  keptBack: KeptBack | undefined = undefined
  /** The evidence at the moment when the store went down. */
  whenDown: (KeptBack & { readonly successes: number }) | undefined = undefined

  /** The others are being asked until then; no new inquiry before `quietUntil`. */
  inquiryUntil = Number.NEGATIVE_INFINITY
  quietUntil = Number.NEGATIVE_INFINITY
  /** Inquiries in a row that came to nothing. */
  fruitless = 0
  trippedAt = Number.NEGATIVE_INFINITY

  /** Whether most agreed when the sum was last read, and the policy did not yet. */
  agreed = false
  /** What the next cast asks of the store: to begin an inquiry, and to call the roll. In milliseconds, 0 for neither. */
  inquire = 0
  roll = 0
  /** A ballot waits to be sent, or is on its way. */
  waiting = false
  sending = false
  /** When the next ballot is due by the rate that is allowed. */
  allowance = Number.NEGATIVE_INFINITY
  /** When the sum is read again; `undefined` if it is not. */
  readAt: number | undefined = undefined
  /** The next pause before the sum is read again after a roll call. */
  resumMillis = 0
  /** How long the store took for the latest ballot. */
  tookMillis = 0
  /** A roll call that this process answered may count until then: its ballot has to last as long. */
  rolledUntil = Number.NEGATIVE_INFINITY
  /** This process abstained from a roll call that may count until then. */
  abstainedUntil = Number.NEGATIVE_INFINITY
}

/** A probe's lease that the fleet gave: in which local epoch, and for how long. */
export interface Granted {
  readonly _tag: "Granted"
  readonly lease: number
  readonly epoch: number
  readonly until: number
}

/** The probes of a circuit. Written by `Places`. */
export class LeasePart {
  /** A lease that came too late for the call that asked for it. */
  spare: Granted | undefined = undefined
  /** Whether a lease is being asked for. */
  asking = false
}

/** An operator action, to be made on whatever state the fleet is in. */
export interface PendingAction {
  /** If it is several, one after the other: each of them. */
  readonly steps?: ReadonlyArray<PendingAction["next"]>
  readonly next: (current: Circuit.Circuit, now: number) => Circuit.Circuit
  readonly why: Circuit.Why
  readonly detail: string | undefined
  readonly actor: string | undefined
  /** When the state began that is brought in from elsewhere, by the wall clock; it begins now if this is not set. */
  readonly since?: number | undefined
}

/** The operator actions on a circuit. Written by `OperatorActions`. */
export class OperatorActionPart {
  /** What an operator did in this process and the store has not been told. */
  pending: PendingAction | undefined = undefined
}

/** What a circuit shares with the fleet, from the first failure until all is well again. */
export class FleetState {
  readonly record = new RecordPart()
  readonly ballots = new BallotPart()
  readonly lease = new LeasePart()
  readonly actions = new OperatorActionPart()

  /** Whether this state is the fleet's, and not this process's own. */
  isFleets(control: Circuit.Circuit): boolean {
    return control._tag !== "Closed" && control.epoch === this.record.adopted
  }

  /** The epoch of the store's record, as far as this process knows. */
  get epoch(): number {
    return this.record.known?.epoch ?? 0
  }

  /** The epoch that ballots are about: that of the record which the store has, also while it has lost a newer one. */
  get votingEpoch(): number {
    return this.record.lost?.found ?? this.epoch
  }
}
