/** Votes that must not open the circuit: a minority fails, or single calls fail. */
import { type NetworkName, networks } from "../../test/support/simulation/networks.ts"
import { type Case, type Experiment, type Figures, type Scale, some, sum } from "./experiment.ts"
import { openings, rejected, running, type Setting, type Size, sized, warmUp } from "./fleet.ts"

/** Networks in which a minority must not open the circuit. */
const nine = Object.keys(networks).filter((name): name is NetworkName => name !== "near")

interface Minority extends Size {
  readonly bad: number
  readonly of: number
}

const minority = ({ bad, of, ...size }: Minority, network: NetworkName, seeds: number, scale: Scale): Figures => {
  const runs = some(scale, seeds, 1).map((i) => {
    const simulation = running(size, scale.seed + i, { callers: of, network })
    simulation.runUntil(warmUp)
    simulation.fail((process) => (process < bad ? 1 : 0))
    simulation.runUntil(warmUp + (scale.quick ? 10_000 : 60_000))
    return {
      trips: openings(simulation).length,
      healthy: rejected(simulation, (process) => process >= bad),
      bad: rejected(simulation, (process) => process < bad)
    }
  })
  return {
    "fleet trips": sum(runs.map(({ trips }) => trips)),
    "rejected on healthy": sum(runs.map(({ healthy }) => healthy)),
    "rejected on bad": sum(runs.map(({ bad }) => bad))
  }
}

const inEachNetwork = (one: Minority, seeds = 2): ReadonlyArray<Case> =>
  nine.map((network) => ({
    label: `${one.bad} of ${one.of}${one.of === one.processes ? "" : `, ${one.processes} live`}: ${network}`,
    run: (scale) => minority(one, network, seeds, scale)
  }))

export const minorities: Experiment = {
  name: "minority",
  title: "All calls of a minority fail for 60 s, 2 seeds together, by network",
  cases: [
    ...inEachNetwork({ bad: 1, of: 3, processes: 3, rate: 50 }),
    ...inEachNetwork({ bad: 2, of: 10, processes: 10, rate: 50 }),
    ...inEachNetwork({ bad: 3, of: 20, processes: 20, rate: 50 }),
    ...inEachNetwork({ bad: 3, of: 100, processes: 100, rate: 5 })
  ]
}

export const callers: Experiment = {
  name: "callers",
  title: "A minority of those that call fails for 60 s, while 50 processes live, 2 seeds together, by network",
  cases: [
    ...inEachNetwork({ bad: 2, of: 6, processes: 50, rate: 50 }),
    ...inEachNetwork({ bad: 4, of: 10, processes: 50, rate: 50 })
  ]
}

export const nodes: Experiment = {
  name: "nodes",
  title: "All calls of some processes fail for 60 s, near store, 31 seeds together",
  cases: [
    [1, 2],
    [1, 3],
    [1, 20],
    [3, 20]
  ].map(([bad = 0, of = 0]) => ({
    label: `${bad} of ${of}`,
    run: (scale) => minority({ bad, of, processes: of, rate: 50 }, "near", scale.quick ? 3 : 31, scale)
  }))
}

type Weather = readonly [name: string, share: (time: number) => number]

const steady = (share: number): Weather => [`${share * 100} % errors`, () => share]
const weathers: ReadonlyArray<Weather> = [
  steady(0.01),
  steady(0.05),
  steady(0.2),
  ["all fail for 50 ms every 10 s", (time) => (time % 10_000 < 50 ? 1 : 0)],
  ["30 % fail for 1 s every 10 s", (time) => (time % 10_000 < 1_000 ? 0.3 : 0)]
]

const weathered = (size: Size, [, share]: Weather, hours: number, setting: Setting, scale: Scale): Figures => {
  const lasts = scale.quick ? Math.min(0.02, hours) : hours
  const simulation = running(size, scale.seed, setting)
  const until = lasts * 3_600_000
  simulation.dependency.behaviour = (time, _, chance) => ({
    ok: time < 5_000 || !chance.happens(share(time)),
    latency: 1
  })
  simulation.runUntil(until)
  const all = rejected(simulation, () => true)
  const byItself = simulation.history
    .of("Event")
    .filter(({ event }) => event._tag === "Transition" && event.scope === "local" && event.why === "Tripped").length
  return {
    "fleet/h": openings(simulation).length / lasts,
    "by itself/h": byItself / lasts / size.processes,
    "items/s": simulation.store.items / (until / 1000),
    "rejected %": (100 * all) / (all + simulation.dependency.arrivals),
    hours: lasts
  }
}

export const weather: Experiment = {
  name: "trips",
  title: "Openings an hour without an outage: of the fleet, and of each process by itself",
  cases: [
    ...weathers.flatMap((one) =>
      [
        { processes: 3, rate: 50, hours: 1 },
        { processes: 20, rate: 50, hours: 0.4 },
        { processes: 200, rate: 5, hours: 0.15 }
      ].map(
        ({ hours, ...size }): Case => ({
          label: `${sized(size)}, ${one[0]}`,
          run: (scale) => weathered(size, one, hours, {}, scale)
        })
      )
    ),
    ...weathers.flatMap((one) =>
      [50, 5].map(
        (rate): Case => ({
          label: `each alone, ${rate}/s, ${one[0]}`,
          run: (scale) => weathered({ processes: 3, rate }, one, 1, { protection: "local" }, scale)
        })
      )
    )
  ]
}

export const falseTrips: Experiment = {
  name: "false",
  title: "Openings an hour without an outage at 20 % errors, by network",
  cases: (["near", "100 ms", "300 ms", "polled", "none"] as const).map((network) => ({
    label: `20 at 50/s, announcements: ${network}`,
    run: (scale) => weathered({ processes: 20, rate: 50 }, steady(0.2), 0.15, { network }, scale)
  }))
}
