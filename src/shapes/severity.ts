import type * as Circuit from "../core/Circuit.ts"

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
