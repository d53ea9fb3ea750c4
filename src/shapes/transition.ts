import * as Circuit from "../core/Circuit.ts"
import type { Transition } from "./BreakerEvent.ts"
import { endedBy, overridesOf } from "./overrides.ts"

/** The fields of a transition that do not depend on the two states. */
export interface TransitionOf extends Pick<Transition, "at" | "circuit" | "mode" | "scope" | "why"> {
  readonly key: string | undefined
  readonly detail: string | undefined
  readonly actor: string | undefined
  readonly process: string | undefined
  readonly action: string | undefined
  readonly counts: Transition["counts"]
}

/** The event of a transition. `now` is a time of the clock that `from` and `to` use. */
export const toTransition = (
  from: Circuit.Circuit,
  to: Circuit.Circuit,
  now: number,
  rules: Circuit.Rules,
  { actor, at, circuit, counts, action, detail, key, mode, process, scope, why }: TransitionOf
): Transition => {
  const wait = to._tag === "Open" || to._tag === "Isolated" ? Circuit.retryAfter(to, now, rules) : 0
  return {
    _tag: "Transition",
    circuit,
    ...(key === undefined ? {} : { key }),
    from: from._tag,
    to: to._tag,
    why,
    at,
    epoch: to.epoch,
    openings: Circuit.openings(to, now),
    retryAfterMillis: wait === Infinity ? null : Math.round(wait),
    ...(detail === undefined ? {} : { detail }),
    ...(actor === undefined ? {} : { actor }),
    ...(process === undefined ? {} : { process }),
    ...(action === undefined ? {} : { action }),
    scope,
    mode,
    ...outageOf(Circuit.outage(from), Circuit.outage(to), now),
    ...(from.since > 0 ? { lastedMillis: Math.max(0, Math.round(now - from.since)) } : {}),
    ...(counts === undefined ? {} : { counts }),
    ...overridesOfEvent(from, to, why, now, at)
  }
}

const overridesOfEvent = (
  from: Circuit.Circuit,
  to: Circuit.Circuit,
  why: Circuit.Why,
  now: number,
  at: number
): Pick<Transition, "overrides" | "ended"> => {
  if (Circuit.isForced(to)) return to.others.length === 0 ? {} : { overrides: overridesOf(to, now, at) }
  const ended = endedBy(why, from, now, at)
  return ended.length === 0 ? {} : { ended }
}

/** The outage that the circuit entered, is in, or left. */
const outageOf = (
  before: Circuit.Outage | undefined,
  after: Circuit.Outage | undefined,
  now: number
): Pick<Transition, "outage" | "downForMillis"> => {
  const shown = after ?? before
  if (shown === undefined) return {}
  const outage = { at: Math.round(shown.at), openings: shown.openings }
  return after === undefined ? { outage, downForMillis: Math.max(0, Math.round(now - shown.since)) } : { outage }
}
