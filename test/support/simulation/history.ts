/** What happened in a simulation, in the order in which it happened. */
import type { BreakerEvent, CircuitOpen } from "effect-fuse"
import type { Circuit } from "effect-fuse/core"
import type { Provenance } from "../../../src/store/codec.ts"
import type { Request } from "./contract.ts"

/** What all entries say: when, by the timeline, and in which process and life of it (from 1). */
interface At {
  readonly at: number
  readonly process: number
  readonly life: number
}

export type Entry =
  /** A process starts, is up, has crashed, begins to end, or has ended. */
  | (At & { readonly _tag: "Started" | "Up" | "Crashed" | "Ending" | "Ended" })
  /** A call reached the dependency. Its kind is what the circuit's state just after it was admitted says of it. */
  | (At & { readonly _tag: "Admitted"; readonly call: number; readonly key?: string | undefined; readonly kind: Kind })
  /** A call was rejected. */
  | (At & { readonly _tag: "Rejected"; readonly call: number; readonly error: CircuitOpen.CircuitOpen })
  /** What had been admitted ended; `Interrupted` for a probe that took too long. */
  | (At & {
      readonly _tag: "Settled"
      readonly call: number
      readonly key?: string | undefined
      readonly kind: Kind
      readonly outcome: "Success" | "Failure" | "Interrupted"
    })
  /** A call came to an end that none may come to: a defect of the engine. */
  | (At & { readonly _tag: "Defect"; readonly call: number; readonly cause: unknown })
  /** What `CircuitBreaker.events` of this process said. */
  | (At & { readonly _tag: "Event"; readonly event: BreakerEvent.BreakerEvent })
  /** A command left the process; it may arrive never, once or twice. */
  | (At & { readonly _tag: "Sent"; readonly command: number; readonly request: Request })
  /** It arrived at the store, the first or the second time, and was carried out. */
  | (At & {
      readonly _tag: "Applied"
      readonly command: number
      readonly request: Request
      readonly answer: unknown
      readonly again: boolean
    })
  /** Its answer arrived at the process (which may no longer wait for it). */
  | (At & { readonly _tag: "Answered"; readonly command: number })
  /** The store has a new record. `state` has times of the timeline. */
  | (At & {
      readonly _tag: "Swapped"
      /** The command that wrote it. */
      readonly command: number
      readonly circuit: string
      /** The epoch of the record that it replaced: 0 for none. */
      readonly before: number
      readonly epoch: number
      readonly state: Circuit.Circuit
      readonly provenance: Provenance
    })
  /** Something that the simulation did to the store; process and life are -1. */
  | (At & { readonly _tag: "Wiped" | "FailedOver" | "Frozen" | "Thawed" })
  /** The store's clock stepped. */
  | (At & { readonly _tag: "Jumped"; readonly millis: number })
  /** Stalls the event loop of a process from now on, for this many milliseconds. */
  | (At & { readonly _tag: "Stalled"; readonly millis: number })

export type Kind = "normal" | "probe" | "pass"

/** `all` is everything; `moves` leaves out calls and commands, of which there are many. */
export type Detail = "all" | "moves"

const busy = new Set<Entry["_tag"]>(["Admitted", "Rejected", "Settled", "Sent", "Applied", "Answered"])

/** The entries that are kept, and who hears of them. */
export class History {
  readonly entries: Array<Entry> = []
  readonly detail: Detail
  private readonly listeners: Array<(entry: Entry) => void> = []

  constructor(detail: Detail) {
    this.detail = detail
  }

  /** Calls `listener` with each entry as it is added. */
  onEntry(listener: (entry: Entry) => void): void {
    this.listeners.push(listener)
  }

  add(entry: Entry): void {
    if (this.detail === "moves" && busy.has(entry._tag)) return
    this.entries.push(entry)
    for (const listener of this.listeners) listener(entry)
  }

  /** The entries of one kind, or of some. */
  of<Tag extends Entry["_tag"]>(...tags: ReadonlyArray<Tag>): ReadonlyArray<Extract<Entry, { readonly _tag: Tag }>> {
    const wanted: ReadonlyArray<string> = tags
    return this.entries.filter((entry): entry is Extract<Entry, { readonly _tag: Tag }> => wanted.includes(entry._tag))
  }
}
