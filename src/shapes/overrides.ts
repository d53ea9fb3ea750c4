import * as Circuit from "../core/Circuit.ts"
import type { Override } from "./BreakerEvent.ts"

/** The overrides that stand at `now`, the deciding one first. `wall` is the wall clock at `now`. */
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
