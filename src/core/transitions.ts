/** @category models */
export type State = "Closed" | "Open" | "HalfOpen" | "Isolated" | "Disabled"

/**
 * Why a circuit moved.
 *
 * @category models
 */
export type Why =
  /** The policy's trip said so. */
  | "Tripped"
  /** The cooldown is over and a first probe was admitted. */
  | "CooldownOver"
  | "ProbeFailed"
  | "ProbeTimedOut"
  /** Enough probes succeeded. */
  | "Recovered"
  /** The policy's own health check succeeded, or a process that was cut off found out by itself. */
  | "HealthCheckPassed"
  | "OpenedByHand"
  | "ClosedByHand"
  | "Reset"
  | "Isolated"
  | "Disabled"
  | "Released"
  /** An override reached its expiry. */
  | "Expired"
  /** It was brought in from another store. */
  | "Imported"

/**
 * The moves that exist, and why each may happen; what is imported may be anything. Everything else is a bug.
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

/** @category tables */
export const isLegal = (from: State, to: State, why: Why): boolean =>
  why === "Imported" || (edges[from][to]?.includes(why) ?? false)
