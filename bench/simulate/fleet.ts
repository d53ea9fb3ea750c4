/** What the experiments have in common: a running fleet, an outage, and what is read from the history. */
import { type NetworkName, networks } from "../../test/support/simulation/networks.ts"
import type { Protection } from "../../test/support/simulation/process.ts"
import { type Options, Simulation } from "../../test/support/simulation/simulation.ts"
import { indices } from "./experiment.ts"

/** So many processes, each with so many calls a second. */
export interface Size {
  readonly processes: number
  readonly rate: number
}

export const sized = ({ processes, rate }: Size): string => `${processes} at ${rate}/s`

/** By then every process has started, and has told the store twice that it lives. */
export const warmUp = 12_000

export interface Setting extends Partial<Omit<Options, "seed" | "processes" | "conditions">> {
  readonly network?: NetworkName | undefined
  readonly protection?: Protection | undefined
  /** The first so many processes call; the others only live. Default all. */
  readonly callers?: number | undefined
  readonly keys?: ReadonlyArray<string> | undefined
}

/** A fleet that has started; those that call do so at the rate. */
export const running = ({ processes, rate }: Size, seed: number, setting: Setting = {}): Simulation => {
  const { callers = processes, keys, network = "near", ...options } = setting
  const simulation = new Simulation({ ...options, seed, processes, conditions: networks[network]() })
  simulation.startAll()
  simulation.traffic(indices(callers), rate, keys)
  return simulation
}

/** Openings that the fleet agreed on, from a time on. */
export const openings = ({ history }: Simulation, from = 0) =>
  history.of("Swapped").filter(({ about, at }) => about.why === "Tripped" && at >= from)

/** Runs until a condition holds or a time has come; looks every so many milliseconds. */
export const runUntil = (simulation: Simulation, until: number, done: () => boolean, every = 100): void => {
  while (simulation.now < until && !done()) simulation.runUntil(Math.min(until, simulation.now + every))
}

/** Calls rejected in these processes. */
export const rejected = (simulation: Simulation, is: (process: number) => boolean): number =>
  simulation.processes.reduce((all, { index, rejections }) => all + (is(index) ? rejections : 0), 0)

export interface Outage {
  /** Calls that reached the dependency from when it was down until no more did for 2 s. */
  readonly leaked: number
  /** Milliseconds until the fleet opened the circuit; `undefined` if it did not. */
  readonly openedAfter: number | undefined
}

/** The dependency goes down for good; at most 25 s pass, less than a cooldown, so that no probe is counted. */
export const outage = (simulation: Simulation, latency = 1): Outage => {
  const downAt = simulation.now
  simulation.fail(1, latency)
  const before = simulation.dependency.arrivals
  for (let last = -1, quiet = 0; quiet < 4 && simulation.now < downAt + 25_000; ) {
    simulation.runUntil(simulation.now + 500)
    quiet = simulation.dependency.arrivals === last ? quiet + 1 : 0
    last = simulation.dependency.arrivals
  }
  const opened = openings(simulation, downAt)[0]
  return {
    leaked: simulation.dependency.arrivals - before,
    openedAfter: opened === undefined ? undefined : opened.at - downAt
  }
}
