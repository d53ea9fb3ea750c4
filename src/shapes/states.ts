import * as Schema from "effect/Schema"
import type * as Circuit from "../core/Circuit.ts"

const states = ["Closed", "Open", "HalfOpen", "Isolated", "Disabled"] as const satisfies ReadonlyArray<Circuit.State>

/** The states of a circuit, as they are written outside. */
export const State = Schema.Literals(states)

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
