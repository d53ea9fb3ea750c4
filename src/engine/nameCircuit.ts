import type * as Effect from "effect/Effect"
import { NameEvidence } from "../core/nameEvidence.ts"
import type { Failure } from "../core/Outcome.ts"
import type { LiveCircuit, NameState } from "./liveCircuit.ts"
import { openTripped } from "./opening.ts"
import type { Registry } from "./registry.ts"
import { governs, stand } from "./standing.ts"
import { judgeFailure } from "./tripping.ts"

/*
 * The circuit without a key, as the circuit of its name.
 *
 * Calls with a key count for it in two ways:
 *
 * - With `span` in the policy, the outcomes of all keys count in `NameEvidence`. If nearly all keys fail, the circuit opens.
 * - A failure with the scope `name` counts in the windows and the streak of the circuit, and in those of no key. While such failures count,
 *   the successes of all keys do, too: a success of any key shows that the name works.
 *
 * While the circuit is Open or HalfOpen, it rejects the calls of all keys: see `answer.ts`.
 */

/** The end of a call with a key. */
export interface KeyedCall {
  readonly circuit: LiveCircuit
  readonly start: number
}

/**
 * Whether the circuit of the name has opened or closed since a call with a key began. Such a call was admitted in an earlier epoch of the
 * name, so its outcome changes nothing. Call it only if the circuit of the name governs.
 */
export const isLate = ({ circuit, start }: KeyedCall): boolean => {
  const { single } = circuit.group
  if (single === undefined || !governs(circuit)) return false
  const control = single.control.value
  switch (control._tag) {
    case "Closed":
      return start < control.since
    case "Open":
    case "HalfOpen":
      return true
    default:
      return false
  }
}

const stateOf = (name: LiveCircuit): NameState => {
  name.asName ??= { keys: new NameEvidence(), hasFailed: false, countsKeys: false }
  return name.asName
}

/** Counts a success of a call with a key as evidence against an opening of the name. */
export const succeeded = (registry: Registry, { circuit }: KeyedCall, slow: boolean, now: number): void => {
  const name = registry.nameOf(circuit)
  const state = stateOf(name)
  // This clears the outcomes of keys of an earlier epoch.
  const seen = name.seen()
  if (name.policy.span && circuit.key !== undefined) state.keys.recordSuccess(now, circuit.key)
  if (state.countsKeys) {
    seen.recordSuccess(now, slow)
    state.countsKeys = !seen.isQuiet(now)
  } else seen.lastAt = now
  if (name.fleetState !== undefined) registry.runtime.peers?.succeeded(name, now)
}

/**
 * Counts a failure with a key. If nearly all keys fail, returns the effect that opens the circuit of the name. `isOverload`: the key has a
 * limit, and the failure is overload. It does not count while a call with any key has succeeded within ten seconds.
 */
export const failed = (
  registry: Registry,
  { circuit }: KeyedCall,
  now: number,
  hintMillis: number,
  error: string,
  isOverload: boolean
): Effect.Effect<unknown> | undefined => {
  const name = registry.nameOf(circuit)
  const control = name.control.value
  if (!name.policy.span || circuit.key === undefined || control._tag !== "Closed") return undefined
  const { keys } = stateOf(name)
  const seen = name.seen()
  if (isOverload && keys.isPatient(now)) return undefined
  keys.recordFailure(now, circuit.key, hintMillis)
  const detail = keys.tripped()
  if (detail === undefined) return undefined
  name.keepFailure({ at: registry.runtime.time.wall(), error })
  if (keys.hintUntil > 0) seen.heed(now, keys.hintUntil)
  return openTripped(registry.runtime, name, control.epoch, now, detail)
}

/** Counts a failure of a call with a key that concerns the whole name. */
export const failedAsName = (
  registry: Registry,
  { circuit, start }: KeyedCall,
  failure: Failure,
  slow: boolean,
  now: number,
  hintMillis: number,
  error: string
): Effect.Effect<unknown> | undefined => {
  const { runtime } = registry
  const name = registry.nameOf(circuit)
  const state = stateOf(name)
  if (!state.hasFailed) {
    state.hasFailed = true
    stand(name.group)
  }
  const control = name.control.value
  if (control._tag !== "Closed" || start < control.since) return undefined
  state.countsKeys = true
  name.keepFailure({ at: runtime.time.wall(), error })
  name.seenIn(control.epoch).recordFailure(now, slow, failure.weight, hintMillis)
  const opening = judgeFailure(runtime, name, control.epoch, now, failure, hintMillis)
  if (opening === undefined) runtime.peers?.failed(name, now)
  return opening
}
