/**
 * The name of a state.
 *
 * @category models
 */
export type State = "Closed" | "Open" | "HalfOpen" | "Isolated" | "Disabled"

/**
 * The reason of a transition.
 *
 * @category models
 */
export type Why =
  /** The trip of the policy, or a health check that may open the circuit. */
  | "Tripped"
  /** The cooldown was over, and the first probe was admitted. */
  | "CooldownOver"
  | "ProbeFailed"
  | "ProbeTimedOut"
  | "Recovered"
  /** The health check of the policy succeeded, or a process had closed its circuit while it had no connection to the store. */
  | "HealthCheckPassed"
  | "OpenedByHand"
  | "ClosedByHand"
  | "Reset"
  | "Isolated"
  | "Disabled"
  | "Released"
  | "Expired"
  | "Imported"

/**
 * The legal transitions and their reasons. `Imported` is legal between all states. Any other transition is a bug.
 *
 * @category tables
 */
export const edges: Readonly<Record<State, Readonly<Partial<Record<State, ReadonlyArray<Why>>>>>> = {
  Closed: {
    Closed: ["Reset"],
    Open: ["Tripped", "OpenedByHand"],
    Isolated: ["Isolated"],
    Disabled: ["Disabled"]
  },
  Open: {
    Closed: ["HealthCheckPassed", "ClosedByHand", "Reset"],
    Open: ["OpenedByHand"],
    HalfOpen: ["CooldownOver"],
    Isolated: ["Isolated"],
    Disabled: ["Disabled"]
  },
  HalfOpen: {
    Closed: ["Recovered", "HealthCheckPassed", "ClosedByHand", "Reset"],
    Open: ["ProbeFailed", "ProbeTimedOut", "OpenedByHand"],
    Isolated: ["Isolated"],
    Disabled: ["Disabled"]
  },
  Isolated: {
    Closed: ["Released", "Expired", "Reset"],
    Open: ["Released", "Expired"],
    Isolated: ["Isolated", "Disabled", "OpenedByHand", "ClosedByHand"],
    Disabled: ["Disabled", "Expired"]
  },
  Disabled: {
    Closed: ["Released", "Expired", "Reset"],
    Open: ["Released", "Expired"],
    Isolated: ["Isolated"],
    Disabled: ["Disabled", "OpenedByHand", "ClosedByHand"]
  }
}

/**
 * Whether a transition is in {@link edges}, or imports a state.
 *
 * @category tables
 */
export const isLegal = (from: State, to: State, why: Why): boolean =>
  why === "Imported" || (edges[from][to]?.includes(why) ?? false)
