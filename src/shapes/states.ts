import * as Schema from "effect/Schema"
import type * as Circuit from "../core/Circuit.ts"

const states = ["Closed", "Open", "HalfOpen", "Isolated", "Disabled"] as const satisfies ReadonlyArray<Circuit.State>

export const State = Schema.Literals(states)

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
