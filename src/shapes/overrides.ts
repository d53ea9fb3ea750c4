import * as Circuit from "../core/Circuit.ts"
import { actionOf } from "../core/operatorActions.ts"
import type { Override } from "./BreakerEvent.ts"

/**
 * The result of `release`.
 *
 * @category models
 */
export interface Released {
  readonly state: Circuit.State
  /** The overrides that ended. The one that decided the state comes first. */
  readonly ended: ReadonlyArray<Override>
}

/** The overrides in force at `now`; the first one decides. `wall` is the wall clock at `now`. */
export const overridesOf = (circuit: Circuit.Circuit, now: number, wall: number): ReadonlyArray<Override> => {
  const toWall = (time: number): number => Math.round(wall + time - now)
  return Circuit.overrides(circuit)
    .filter(({ until }) => now < until)
    .map(({ _tag, actor, reason, since, until }) => ({
      state: _tag,
      since: toWall(since),
      ...(until === Infinity ? {} : { until: toWall(until) }),
      reason,
      ...(actor === undefined ? {} : { actor })
    }))
}

/** The overrides that an operator action ends. Only `release` and `reset` end overrides. */
export const endedBy = (
  why: Circuit.Why,
  before: Circuit.Circuit,
  now: number,
  wall: number
): ReadonlyArray<Override> => (actionOf(why)?.overrides === "ended" ? overridesOf(before, now, wall) : [])
