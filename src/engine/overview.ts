import * as Effect from "effect/Effect"
import * as Circuit from "../core/Circuit.ts"
import * as Fleet from "../core/Fleet.ts"
import * as exported from "../store/exported.ts"
import { type Known, toKnown } from "../store/known.ts"
import { byName } from "../store/listed.ts"
import { fleetOverview, type Overview, overviewOf } from "../store/overview.ts"
import type { StoreError } from "../store/SharedStore.ts"
import type { Registry } from "./registry.ts"
import { TrafficMeter } from "./traffic.ts"

const whyOf = (state: Circuit.Circuit): Circuit.Why => {
  if (Circuit.isForced(state)) return state._tag
  return state._tag === "Closed" ? "Recovered" : state.cause.why
}

/** The circuits of this process that are not healthy, as a store would list them. */
export const listedHere = (registry: Registry): ReadonlyArray<Known> => {
  const { time } = registry.runtime
  const now = time.now()
  const wall = time.wall()
  return registry
    .all()
    .flatMap(({ control, group, key }): ReadonlyArray<Known> => {
      const state = Circuit.expire(control.value, now)
      if (!Fleet.isListed(state, now)) return []
      const { actor, detail } = exported.originOf(state)
      const provenance = { why: whyOf(state), detail, actor, policy: undefined, process: "", at: wall }
      return [toKnown({ name: group.name, key }, state.epoch, Fleet.shift(state, wall - now), provenance, wall)]
    })
    .sort(byName)
}

/**
 * Each run of the effect reads an overview of the circuits. If there is a shared store, the effect reads the store. Otherwise, the effect
 * reads this process, and counts the traffic since the previous run.
 */
export const overviewFrom = (registry: Registry): Effect.Effect<Overview, StoreError> => {
  const { peers, time } = registry.runtime
  if (peers !== undefined) return fleetOverview(peers.store)
  const meter = new TrafficMeter(registry)
  return Effect.map(meter.read, ({ begin, millis, names }) => {
    begin()
    const digest = { millis, names, others: [], leftOut: 0 }
    return overviewOf(listedHere(registry), [digest], { at: time.wall(), processes: 1 })
  })
}
