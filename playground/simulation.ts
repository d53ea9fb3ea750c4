/** Turns settings into options of the simulator. */
import * as Trip from "../src/core/Trip.ts"
import type { Input } from "../src/policy/BreakerPolicy.ts"
import type { Fault, PlayOptions } from "../src/simulator/playOptions.ts"
import { type Policy, type Settings, usualCooldown, usualPolicy, type World } from "./settings.ts"

/** Writes whole seconds in seconds: `"2 seconds"` instead of `"2000 millis"`. */
export const duration = (millis: number): `${number} millis` | `${number} second` | `${number} seconds` =>
  millis % 1_000 !== 0 ? `${millis} millis` : millis === 1_000 ? "1 second" : `${millis / 1_000} seconds`

const exact = (value: number): number => Number(value.toFixed(9))

const faultsOf = (world: World): ReadonlyArray<Fault> => {
  const { affected, cold, fault, rate, replicas, severity } = world
  const at = world.at * 1_000
  const lasts = world.lasts * 1_000
  const left = Math.max(0.001, exact(1 - severity))
  const where: Partial<Fault> = {
    ...(affected === 0 || affected >= replicas ? {} : { replicas: Array.from({ length: affected }, (_, i) => i) }),
    ...(cold === 1 ? {} : { cold, warmUp: 10 * rate })
  }
  const one = (what: Partial<Fault>): ReadonlyArray<Fault> => [{ at, for: lasts, ...where, ...what }]
  switch (fault) {
    case "none":
      return []
    case "outage":
      return one({ failing: severity, how: world.answer })
    case "brownout":
      return one({ capacity: left })
    case "gradual":
      return one({ capacity: [1, left] })
    case "oscillating":
      return Array.from({ length: Math.ceil(lasts / 10_000) }, (_, i) => ({
        ...where,
        at: at + i * 10_000,
        for: Math.min(5_000, lasts - i * 10_000),
        capacity: left
      }))
    case "slow":
      return one({ speed: left })
    case "freeze":
      return one({ frozen: true })
    case "quota":
      return one({ quota: Math.max(1, Math.round(rate * (1 - severity))) })
  }
}

export const serverOf = (world: World): PlayOptions["server"] => ({
  workers: world.workers,
  service: world.service,
  replicas: world.replicas,
  shards: world.shards,
  errors: world.errors,
  faults: faultsOf(world)
})

const callersOf = (
  world: World,
  { attempts, timeout }: Pick<Policy, "attempts" | "timeout">
): PlayOptions["callers"] => ({
  rate: world.rate,
  processes: world.processes,
  timeout,
  attempts,
  changes:
    world.fault === "none" || world.surge === 1
      ? []
      : [{ at: (world.at + world.lasts) * 1_000, for: 5_000, times: world.surge }]
})

const tripOf = ({ failures, minimumCalls, threshold, trip, window }: Policy): Trip.Input => {
  const rate = { threshold, minimumCalls, over: duration(window * 1_000) }
  switch (trip) {
    case "either":
      return Trip.any(Trip.consecutive(failures), Trip.failureRate(rate))
    case "consecutive":
      return Trip.consecutive(failures)
    case "rate":
      return Trip.failureRate(rate)
    case "slow":
      return Trip.slowRate(rate)
  }
}

const ofTrip = ["trip", "failures", "threshold", "minimumCalls", "window"] as const

/** Returns the policy for the library, without default values. Returns `undefined` if the policy has no breaker. */
export const inputOf = (policy: Policy): Input | undefined => {
  if (policy.kind === "none") return undefined
  const { cooldown, factor, failuresToReopen, limit, probes, ramp, slowCall, successesToClose, trip } = policy
  const shown = { either: ofTrip, consecutive: ["trip", "failures"], rate: ofTrip, slow: ofTrip } as const
  const usualTrip = shown[trip].every((field) => policy[field] === usualPolicy[field])
  return {
    ...(usualTrip ? {} : { trip: tripOf(policy) }),
    ...(trip !== "slow" || slowCall === usualPolicy.slowCall ? {} : { slowCall: duration(slowCall) }),
    ...(factor !== 1
      ? { cooldown: { exponential: duration(cooldown * 1_000), factor } }
      : cooldown === usualCooldown(limit)
        ? {}
        : { cooldown: duration(cooldown * 1_000) }),
    ...(probes === 1 ? {} : { probes }),
    ...(successesToClose === 1 ? {} : { successesToClose }),
    ...(failuresToReopen === 1 ? {} : { failuresToReopen }),
    // The limit replaces the ramp.
    ...(limit ? { limit } : ramp === 0 ? {} : { ramp: duration(ramp * 1_000) })
  }
}

/** Returns how a pool chooses a server. Returns `undefined` if the policy has no pool, or if each server has its own data. */
export const chooseOf = (
  { circuits }: Policy,
  { shards }: Pick<World, "shards">
): "fastest" | "roundRobin" | undefined =>
  !shards && (circuits === "fastest" || circuits === "roundRobin") ? circuits : undefined

export const playOf = ({ world }: Settings, policy: Policy): PlayOptions => {
  const input = inputOf(policy)
  const { bulkhead, circuits } = policy
  const choose = chooseOf(policy, world)
  return {
    server: serverOf(world),
    callers: callersOf(world, policy),
    for: world.lengthOf * 1_000,
    seed: world.seed,
    ...(bulkhead === 0 ? {} : { bulkhead }),
    ...(input === undefined
      ? {}
      : { policy: input, ...(choose !== undefined ? { choose } : circuits === "name" ? {} : { circuits: "replica" }) })
  }
}
