import type * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import { actionOf } from "../core/operatorActions.ts"
import { type Provenance, toBody, within } from "./codec.ts"
import type { Swap } from "./SharedStore.ts"

/** Whether an operator caused a transition, by an operator action or an import. */
export const isByPeople = (why: Circuit.Why): boolean => why === "Imported" || actionOf(why) !== undefined

/** Whether a transition set an override. */
export const isForce = (why: Circuit.Why): boolean => actionOf(why)?.overrides === "set"

/** Whether a transition may lift an override. Its record is kept longer: a process that missed it must not bring the override back. */
export const isLift = (why: Circuit.Why): boolean => actionOf(why)?.overrides === "ended"

/**
 * The policy that decided the state, after an operator action. An action on overrides keeps the policy that decided the state beneath
 * them. After an action on the state itself there is no policy: the state is valid for the processes of all policies.
 */
export const policyAfter = (why: Circuit.Why, before: Provenance | undefined): string | undefined =>
  actionOf(why)?.beneath === "kept" ? before?.policy : undefined

/**
 * When a state began, by the wall clock of the process that wrote it. Every reader of a record gets the same time, even if the
 * answer of the store took long. `writtenAt` is the time of writing by the clock of the state.
 */
export const wallOf = (state: Circuit.Circuit, { at }: Provenance, writtenAt: number): number =>
  Math.round(within(at + state.since - writtenAt))

/** A swap that replaces the record of an epoch by a state. The store keeps the new record as long as a process may need it. */
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
