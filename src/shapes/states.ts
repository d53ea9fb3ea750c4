import * as Schema from "effect/Schema"
import type * as Circuit from "../core/Circuit.ts"

export const states = [
  "Closed",
  "Open",
  "HalfOpen",
  "Isolated",
  "Disabled"
] as const satisfies ReadonlyArray<Circuit.State>

export const State = Schema.Literals(states)

/** The states from worst to best. An unreadable record may hide a state that is worse than Disabled. */
const worstFirst = [
  "Isolated",
  "Open",
  "HalfOpen",
  "Unreadable",
  "Disabled",
  "Closed"
] as const satisfies ReadonlyArray<Circuit.State | "Unreadable">

/** The rank of a state: 0 is the worst. */
export const severity = (state: (typeof worstFirst)[number]): number => worstFirst.indexOf(state)

export const worst = <S extends (typeof worstFirst)[number]>(states: ReadonlyArray<S>): S | undefined =>
  states.reduce<S | undefined>(
    (bad, state) => (bad === undefined || severity(state) < severity(bad) ? state : bad),
    undefined
  )

/** Whether a circuit in this state lets every call run, unless a dependency rejects calls. */
export const passesAll = (state: Circuit.State): boolean => state === "Closed" || state === "Disabled"

const whys = [
  "Tripped",
  "CooldownOver",
  "ProbeFailed",
  "ProbeTimedOut",
  "Recovered",
  "HealthCheckPassed",
  "OpenedByHand",
  "ClosedByHand",
  "Reset",
  "Isolated",
  "Disabled",
  "Released",
  "Expired",
  "Imported"
] as const satisfies ReadonlyArray<Circuit.Why>

export const Why = Schema.Literals(whys)

/** The schema of a scope: whether one process or the whole fleet decided a state. */
export const Scope = Schema.Literals(["local", "fleet"])
