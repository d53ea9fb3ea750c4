import * as Schema from "effect/Schema"
import type * as Circuit from "../core/Circuit.ts"

const states = ["Closed", "Open", "HalfOpen", "Isolated", "Disabled"] as const satisfies ReadonlyArray<Circuit.State>

/** The states of a circuit, as they are written outside. */
export const State = Schema.Literals(states)

/** Every state that is shown, from the worst to the best. A record that cannot be read hides a state that may be worse than Disabled. */
const worstFirst = [
  "Isolated",
  "Open",
  "HalfOpen",
  "Unreadable",
  "Disabled",
  "Closed"
] as const satisfies ReadonlyArray<Circuit.State | "Unreadable">

/** The place of a state in the order from the worst (0) to the best. */
export const severity = (state: (typeof worstFirst)[number]): number => worstFirst.indexOf(state)

/** The worst of some states. */
export const worst = <S extends (typeof worstFirst)[number]>(states: ReadonlyArray<S>): S | undefined =>
  states.reduce<S | undefined>(
    (bad, state) => (bad === undefined || severity(state) < severity(bad) ? state : bad),
    undefined
  )

/** Whether a circuit in this state lets every call pass, unless one that it depends on rejects it. */
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

/** Why a circuit moved, as it is written outside. */
export const Why = Schema.Literals(whys)

/** Whose state it is: that of one process, or of the fleet. */
export const Scope = Schema.Literals(["local", "fleet"])
