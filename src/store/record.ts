import type * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import { type Provenance, toBody, within } from "./codec.ts"
import type { Swap } from "./SharedStore.ts"

/** What only people do: to force a state or lift that, and to the state itself. */
const byOverride: ReadonlySet<Circuit.Why> = new Set(["Isolated", "Disabled", "Released"])
const byPeople: ReadonlySet<Circuit.Why> = new Set([
  ...byOverride,
  "Reset",
  "OpenedByHand",
  "ClosedByHand",
  "Imported"
] as const)

export const isByPeople = (why: Circuit.Why): boolean => byPeople.has(why)

/** Whether a transition may lift an override. Its record is kept longer: a process that missed it must not bring the override back. */
export const isLift = (why: Circuit.Why): boolean => why === "Released" || why === "Reset"

/**
 * Whose policy a state rests on after what somebody did. What is beneath an override stays whose it was; what people say of
 * the state itself is for all.
 */
export const policyAfter = (why: Circuit.Why, before: Provenance | undefined): string | undefined =>
  byOverride.has(why) ? before?.policy : undefined

/**
 * When a state began, by the wall clock of the process that wrote it. Every reader of a record gets the same time, even if the
 * answer of the store took long. `writtenAt` is the time of writing by the clock of the state.
 */
export const wallOf = (state: Circuit.Circuit, { at }: Provenance, writtenAt: number): number =>
  Math.round(within(at + state.since - writtenAt))

/** Writes a state over the record of an epoch, for as long as it has to be known. */
export const toSwap = (
  circuit: string,
  expectedEpoch: number,
  state: Circuit.Circuit,
  now: number,
  provenance: Provenance
): Swap => ({
  circuit,
  expectedEpoch,
  body: toBody(state, now, provenance),
  ttl: Fleet.keptFor(state, now, isLift(provenance.why)),
  listed: Fleet.isListed(state, now)
})
