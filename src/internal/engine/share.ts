import * as Semaphore from "effect/Semaphore"
import type * as Circuit from "../../Circuit.ts"
import type * as Window from "../../Window.ts"
import type { About } from "../codec.ts"

/** The fleet's word on a circuit, as this process last heard it, with times of this process's clock. */
export interface Known {
  /** As the store numbers it; 0 where it has no record. */
  readonly era: number
  readonly circuit: Circuit.Circuit
  readonly about: About | undefined
  /** When it was learnt. */
  readonly at: number
  /** When the state began, by the wall clock of the process that wrote it. */
  readonly since: number | undefined
}

/** What this process last said of a circuit. */
export interface Said {
  readonly conviction: number
  readonly at: number
}

/** What the streak and the windows held at one moment. */
export interface Snapshot {
  readonly at: number
  readonly streak: number
  readonly counts: ReadonlyArray<Window.Counts>
}

/** The place of a probe that the fleet gave: in which local era, and how long it lasts. */
export interface Granted {
  readonly _tag: "Granted"
  readonly lease: number
  readonly era: number
  readonly until: number
}

/** What a circuit has with the fleet, from the first thing that goes wrong until all is well again. */
export class Share {
  known: Known | undefined = undefined
  /** The local era whose state is the fleet's; another era is this process's own. */
  adopted = -1
  said: Said | undefined = undefined
  /** Whether beneath what people forced is this process's own state, and not the fleet's. */
  ownBeneath = false
  /** What it saw when it opened by itself, while it is open. */
  opened: (Snapshot & { readonly doubted: boolean }) | undefined = undefined
  /** What it had seen when the store came back, which nobody is told. */
  unsaid: (Snapshot & { readonly era: number; readonly calls: number }) | undefined = undefined

  /** The others are being asked until then; no new inquiry before `quietUntil`. */
  inquiryUntil = Number.NEGATIVE_INFINITY
  quietUntil = Number.NEGATIVE_INFINITY
  /** Inquiries in a row that came to nothing. */
  fruitless = 0
  trippedAt = Number.NEGATIVE_INFINITY

  /** Whether most agreed when it last asked, and the policy did not yet. */
  agreed = false
  /** One ballot is on its way at a time; `again` if there is more to say after it. */
  casting = false
  again = false
  /** When the next ballot is due by the rate that is allowed. */
  allowance = Number.NEGATIVE_INFINITY
  waiting = false

  /** The moves of the fleet's that this process makes are made one after the other. */
  readonly turn = Semaphore.makeUnsafe(1)
  /** Records of this process that are on their way. */
  committing = 0
  /** Moves that this process has made already and the store has not: until it has, this process knows better. */
  ahead = 0
  /** A place for a probe that came too late for who asked for it. */
  spare: Granted | undefined = undefined
  /** A place for a probe is being asked for. */
  asking = false
  /** The state of the fleet that this process last replaced. */
  replaced: Circuit.Circuit | undefined = undefined
  /** When the outage began whose end this process last announced for all, by the wall clock. */
  ended = 0
  /** What a person did that the store has not heard of. */
  unheard: Unheard | undefined = undefined

  /** Whether this state is the fleet's, and not this process's own. */
  isFleets(control: Circuit.Circuit): boolean {
    return control._tag !== "Closed" && control.era === this.adopted
  }
}

/** A move by hand, to be made on whatever state the fleet is in. */
export interface Unheard {
  /** Where it is several, one after the other: each of them. */
  readonly steps?: ReadonlyArray<Unheard["next"]>
  readonly next: (current: Circuit.Circuit, now: number) => Circuit.Circuit
  readonly why: Circuit.Why
  readonly detail: string | undefined
  readonly actor: string | undefined
  /** When the state began that is brought in from elsewhere, by the wall clock; it begins now if this is not set. */
  readonly since?: number | undefined
}
