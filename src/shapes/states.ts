import * as Schema from "effect/Schema"
import type * as Circuit from "../core/Circuit.ts"

export { passesAll, severity, worst } from "./severity.ts"

export const states = [
  "Closed",
  "Open",
  "HalfOpen",
  "Isolated",
  "Disabled"
] as const satisfies ReadonlyArray<Circuit.State>

export const State = Schema.Literals(states)

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
