/** What a small world of the protocol consists of. */
import type { SharedStore } from "effect-fuse"
import type { Fleet } from "effect-fuse/core"
import type { Hearing } from "../../../src/fleet/rollCalls.ts"
import type { MemoryState as StoreState, Wrong } from "./store.ts"

/** What a process's calls do. An idle process has had no call within `observation`: it has no say. */
export type Role = "failing" | "well" | "idle"

/** How often each of these may happen. */
export interface Budget {
  readonly crashes: number
  /** Commands, answers or announcements that get lost. */
  readonly lost: number
  /** Commands that arrive after their deadline, or whose answer arrives when the process no longer waits for it. */
  readonly slow: number
  /** Steps of 300 ms: then all commands on their way are late at once. */
  readonly late: number
  readonly wipes: number
  /** Steps of 6 s. */
  readonly intervals: number
  /** Idle processes whose first call succeeds. */
  readonly firstCalls: number
  /** The dependency recovers: nothing fails any more. */
  readonly recoveries: number
}

/** Deliberate faults of the protocol. */
export interface Faults extends Wrong {
  readonly judge?: typeof Fleet.judge
  /** `heard` moves without the ballots that are owed. */
  readonly hearsWithoutVoting?: boolean
  readonly noDeadline?: boolean
  /** A process that has abstained says nothing of its first call. */
  readonly silentFirstCall?: boolean
  /** A process remembers that it abstained only once the store has answered. */
  readonly remembersLate?: boolean
  /** A ballot that answers a roll call counts no longer than any other. */
  readonly shortBallots?: boolean
  /** A process believes a young store that few live. */
  readonly forgetful?: boolean
  /** A failed command counts as heard. */
  readonly hearsOnFailure?: boolean
}

export interface Setting {
  readonly roles: ReadonlyArray<Role>
  readonly quorum: number
  readonly announcements: boolean
  readonly budget: Budget
  readonly faults?: Faults
  /** By how many milliseconds the store's clock steps back when it is wiped. */
  readonly stepBack?: number
}

export interface Flight {
  readonly request: SharedStore.Exchange
  readonly sentAt: number
  readonly before: { readonly latest: number; readonly missing: number }
  /** Whether the process had a say when it was sent. */
  readonly hasSay: boolean
  readonly answer: SharedStore.ExchangeAnswer | undefined
  /** The votes just after the store carried it out. */
  readonly seen: string
  /** Only for a swap: why the circuit should not have opened when its tally was made. */
  readonly wrong: string | undefined
}

export interface Process {
  readonly name: string
  readonly role: Role
  readonly up: boolean
  readonly crashedAt: number | undefined
  readonly hearing: Hearing
  readonly abstained: boolean
  /** A ballot waits to be cast, and whether it calls the roll. */
  readonly due: boolean
  readonly roll: boolean
  readonly rolledAt: number
  /** Its first call was made, and the store has heard of this process since. */
  readonly firstCall: "none" | "untold" | "told"
  readonly live: number
  readonly epoch: number
  /** The votes when it last had an answer: a process that fails asks again once they are others. */
  readonly seen: string
  readonly casts: Flight | undefined
  readonly swap: Flight | undefined
  readonly announced: ReadonlyArray<SharedStore.RollCall>
}

export interface State {
  readonly time: number
  readonly store: StoreState
  readonly processes: ReadonlyArray<Process>
  /** Commands that their processes no longer wait for, and that still arrive. */
  readonly stray: ReadonlyArray<{ readonly from: number; readonly flight: Flight }>
  readonly recoveredAt: number | undefined
  readonly left: Budget
}

/** Nothing goes wrong. */
export const none: Budget = {
  crashes: 0,
  lost: 0,
  slow: 0,
  late: 0,
  wipes: 0,
  intervals: 0,
  firstCalls: 0,
  recoveries: 0
}
