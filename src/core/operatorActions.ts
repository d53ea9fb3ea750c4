import * as Circuit from "./Circuit.ts"

export type ActionName = "isolate" | "disable" | "release" | "open" | "close" | "reset"

/** The checked options of an operator action. */
export interface Given {
  readonly reason?: string | undefined
  readonly actor?: string | undefined
  /** How long the override or the opening lasts, in milliseconds. */
  readonly millis?: number | undefined
}

export interface ActionContext {
  /** The wall clock at the time of the action, in milliseconds since 1970. */
  readonly at: number
  readonly rules: Circuit.Rules
}

interface Terms extends ActionContext {
  readonly reason: string
  readonly actor: string | undefined
  readonly millis: number
}

export interface OperatorAction {
  /** Why the state changes, in events and records. */
  readonly why: Circuit.Why
  /** The reason if the operator gives none. Absent if the action then has no reason. */
  readonly defaultReason?: string
  /** The duration in milliseconds if the operator gives none. Absent if the action has no option `for`. */
  readonly defaultMillis?: number
  /** Whether the action sets an override, ends all overrides, or keeps them. */
  readonly overrides: "set" | "ended" | "kept"
  readonly beneath: "changed" | "kept"
  /** The state after the action. `now` is a time of the clock that the state uses. */
  readonly next: (current: Circuit.Circuit, now: number, terms: Terms) => Circuit.Circuit
}

const forcing = (tag: "Isolated" | "Disabled"): OperatorAction => ({
  why: tag,
  defaultReason: `${tag} by hand`,
  defaultMillis: Infinity,
  overrides: "set",
  beneath: "kept",
  next: (current, now, { actor, millis, reason }) =>
    Circuit.force(current, tag, now, { until: now + millis, reason, actor })
})

/** The operator actions. `CircuitBreaker` takes them in a process of the fleet, `Operator` takes them on a store. */
export const operatorActions: Readonly<Record<ActionName, OperatorAction>> = {
  isolate: forcing("Isolated"),
  disable: forcing("Disabled"),
  release: { why: "Released", overrides: "ended", beneath: "kept", next: Circuit.release },
  open: {
    why: "OpenedByHand",
    defaultReason: "opened by hand",
    // The cooldown of the default policy. A process uses the cooldown of the circuit's policy instead.
    defaultMillis: 30_000,
    overrides: "kept",
    beneath: "changed",
    next: (current, now, { actor, at, millis, reason }) => {
      const cause: Circuit.Cause = { why: "OpenedByHand", detail: reason, actor }
      return Circuit.moveUnder(current, (under) => Circuit.open(under, now, { openFor: millis, cause, at }))
    }
  },
  close: {
    why: "ClosedByHand",
    overrides: "kept",
    beneath: "changed",
    next: (current, now, { rules }) => Circuit.moveUnder(current, (under) => Circuit.close(under, now, rules))
  },
  reset: { why: "Reset", overrides: "ended", beneath: "changed", next: Circuit.reset }
}

const byWhy: ReadonlyMap<Circuit.Why, OperatorAction> = new Map(
  Object.values(operatorActions).map((action) => [action.why, action])
)

/** The operator action with this reason, or `undefined` if it is the reason of another transition. */
export const actionOf = (why: Circuit.Why): OperatorAction | undefined => byWhy.get(why)

export interface Taken {
  readonly why: Circuit.Why
  /** The reason as the operator gave it, for events and records. It is escaped when it is shown. */
  readonly detail: string | undefined
  readonly actor: string | undefined
  readonly next: (current: Circuit.Circuit, now: number, context: ActionContext) => Circuit.Circuit
}

export const take = (name: ActionName, given: Given): Taken => {
  const { defaultMillis = Infinity, defaultReason, next, why } = operatorActions[name]
  const { actor, millis = defaultMillis, reason: detail = defaultReason } = given
  const reason = detail ?? ""
  return {
    why,
    detail,
    actor,
    next: (current, now, context) => next(current, now, { ...context, reason, actor, millis })
  }
}
