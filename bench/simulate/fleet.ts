/** The parts that the experiments share: a running fleet, an outage, and what they read from the history. */
import { type NetworkName, networks } from "../../test/support/simulation/networks.ts"
import type { Protection } from "../../test/support/simulation/process.ts"
import { type Options, Simulation } from "../../test/support/simulation/simulation.ts"
import { indices } from "./experiment.ts"

/** The number of processes, and the calls per second of each. */
export interface Size {
  readonly processes: number
  readonly rate: number
}

export const sized = ({ processes, rate }: Size): string => `${processes} at ${rate}/s`

/** At this time every process has started and has sent two heartbeats. */
export const warmUp = 12_000

export interface Setting extends Partial<Omit<Options, "seed" | "processes" | "conditions">> {
  readonly network?: NetworkName | undefined
  readonly protection?: Protection | undefined
  /** How many processes make calls. The others only send heartbeats. Default: all. */
  readonly callers?: number | undefined
  readonly keys?: ReadonlyArray<string> | undefined
}

/** A fleet that has started and makes calls at the rate. */
export const running = ({ processes, rate }: Size, seed: number, setting: Setting = {}): Simulation => {
  const { callers = processes, keys, network = "near", ...options } = setting
  const simulation = new Simulation({ ...options, seed, processes, conditions: networks[network]() })
  simulation.startAll()
  simulation.traffic(indices(callers), rate, keys)
  return simulation
}

/** The openings that the fleet agreed on since a time. */
export const openings = ({ history }: Simulation, from = 0) =>
  history.of("Swapped").filter(({ provenance, at }) => provenance.why === "Tripped" && at >= from)

/** Runs until a condition holds or a time is reached. It checks the condition once per interval, in milliseconds. */
export const runUntil = (simulation: Simulation, until: number, done: () => boolean, every = 100): void => {
  while (simulation.now < until && !done()) simulation.runUntil(Math.min(until, simulation.now + every))
}

/** Calls rejected in these processes. */
export const rejected = (simulation: Simulation, is: (process: number) => boolean): number =>
  simulation.processes.reduce((all, { index, rejections }) => all + (is(index) ? rejections : 0), 0)

export interface Outage {
  /** The calls that reached the dependency from the start of the outage until none reached it for 2 seconds. */
  readonly leaked: number
  /** Milliseconds until the fleet opened the circuit; `undefined` if it did not. */
  readonly openedAfter: number | undefined
}

/** The dependency goes down and stays down. At most 25 s pass, which is less than a cooldown, so no probe is counted. */
export const outage = (simulation: Simulation, latency = 1): Outage => {
  const downAt = simulation.now
  simulation.fail(1, latency)
  const before = simulation.dependency.arrivals
  for (let last = -1, quiet = 0; quiet < 4 && simulation.now < downAt + 25_000; ) {
    simulation.runUntil(simulation.now + 500)
    quiet = simulation.dependency.arrivals === last ? quiet + 1 : 0
    last = simulation.dependency.arrivals
  }
  const leaked = simulation.dependency.arrivals - before
  // Without announcements the fleet may agree only at the next heartbeat.
  runUntil(simulation, downAt + 15_000, () => openings(simulation, downAt).length > 0)
  const opened = openings(simulation, downAt)[0]
  return { leaked, openedAfter: opened === undefined ? undefined : opened.at - downAt }
}
