import * as Schema from "effect/Schema"
import type * as Circuit from "../Circuit.ts"

const states = ["Closed", "Open", "HalfOpen", "Isolated", "Disabled"] as const satisfies ReadonlyArray<Circuit.State>

/** The states of a circuit, as they are written outside. */
export const State = Schema.Literals(states)

/** Whose state it is: that of one process, or of the fleet. */
export const Scope = Schema.Literals(["local", "fleet"])
