import { Outcome, Trip } from "effect-fuse"

const over = "10 seconds"

/** Policies that cannot be used, and the field that says why. */
export const wrongPolicies: ReadonlyArray<readonly [input: unknown, path: string]> = [
  [{ trip: Trip.failureRate({ threshold: 0, minimumCalls: 1, over: 10 }) }, "trip.threshold"],
  [{ trip: Trip.failureRate({ threshold: 1.01, minimumCalls: 1, over: 10 }) }, "trip.threshold"],
  [{ trip: Trip.failureRate({ threshold: Number.NaN, minimumCalls: 1, over: 10 }) }, "trip.threshold"],
  [{ trip: Trip.failureRate({ threshold: 0.5, minimumCalls: 11, over: 10 }) }, "trip.minimumCalls"],
  [{ trip: Trip.slowRate({ threshold: 0.5, minimumCalls: 0, over }) }, "trip.minimumCalls"],
  [{ trip: Trip.failures({ atLeast: 6, of: 5 }) }, "trip.atLeast"],
  [{ trip: Trip.any(Trip.consecutive(0)) }, "trip.trips.0.failures"],
  [{ trip: Trip.weighted({ atLeast: 0, over }) }, "trip.atLeast"],
  [{ trip: Trip.stuck({ calls: 1, olderThan: 0 }) }, "trip.olderThan"],
  [{ trip: Trip.all() }, "trip.trips"],
  [{ probes: 0 }, "probes"],
  [{ probes: 1.5 }, "probes"],
  [{ successesToClose: -1 }, "successesToClose"],
  [{ failuresToReopen: 0 }, "failuresToReopen"],
  [{ cooldown: "soon" }, "cooldown"],
  [{ cooldown: -1 }, "cooldown"],
  [{ probeTimeout: 0 }, "probeTimeout"],
  [{ mode: "observing" }, "mode"],
  [{ enabled: "yes" }, "enabled"],
  [{ coolDown: 1 }, "coolDown"]
]

/** Names and options of `protect` that cannot be used, and what the error names. */
export const wrongOptions: ReadonlyArray<readonly [name: unknown, options: unknown, says: string]> = [
  ["", {}, "name"],
  [1, {}, "name"],
  ["api", { key: 1 }, "key"],
  ["api", { classify: 1 }, "classify"],
  ["api", { isFailure: true }, "isFailure"],
  ["api", { classify: () => Outcome.success, isFailure: () => true }, "isFailure"],
  ["api", { classify: () => Outcome.success, isIgnored: () => true }, "isIgnored"]
]
