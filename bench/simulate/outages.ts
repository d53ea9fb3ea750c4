/** Total outages: how many calls reach the dependency, and how long the fleet takes to open. */
import { type Case, type Experiment, type Figures, indices, quantile, type Scale, some } from "./experiment.ts"
import { openings, outage, running, runUntil, type Setting, type Size, sized, warmUp } from "./fleet.ts"

const protections = ["local", "fleet", "exact"] as const

const leaks = (size: Size, seeds: number, latency: number, protection: (typeof protections)[number]): Case => {
  // Calls that begin before any process can know of the first failure.
  const floor = latency <= 1 ? 0 : (size.processes * size.rate * latency) / 1000
  return {
    label: `${sized(size)}, ${protection}${latency === 1 ? "" : `, failures take ${latency} ms, beyond ${floor}`}`,
    run: (scale) => {
      const counts = some(scale, seeds).map((i) => {
        const simulation = running(size, scale.seed + i, { protection })
        simulation.runUntil(warmUp)
        return outage(simulation, latency).leaked - floor
      })
      return { p50: quantile(counts, 0.5), p95: quantile(counts, 0.95) }
    }
  }
}

const small: ReadonlyArray<Size> = [
  { processes: 3, rate: 50 },
  { processes: 20, rate: 50 },
  { processes: 20, rate: 5 },
  { processes: 200, rate: 5 }
]

export const leaked: Experiment = {
  name: "leaked",
  title: "Calls that reach a dependency after it is down: each process alone, the fleet, one exact count for all",
  cases: [
    ...small.flatMap((size) =>
      protections.map((protection) => leaks(size, size.processes < 100 ? 31 : 11, 1, protection))
    ),
    leaks({ processes: 1_000, rate: 1 }, 5, 1, "fleet"),
    ...small.flatMap((size) => protections.map((protection) => leaks(size, 11, 100, protection)))
  ]
}

const fewSize: Size = { processes: 50, rate: 50 }

const opensAmongFew = (network: NonNullable<Setting["network"]>): Case => ({
  label: `announcements: ${network}`,
  run: (scale) => {
    // With fewer seeds the 95th percentile depends on one or two of them.
    const outages = some(scale, 201).map((i) => {
      const simulation = running(fewSize, scale.seed + i, { callers: 5, network })
      simulation.runUntil(warmUp)
      return outage(simulation)
    })
    const opened = outages.map(({ openedAfter }) => openedAfter ?? Number.POSITIVE_INFINITY)
    const counts = outages.map(({ leaked }) => leaked)
    return {
      "opens ms p50": quantile(opened, 0.5),
      "opens ms p95": quantile(opened, 0.95),
      "leaked p50": quantile(counts, 0.5)
    }
  }
})

export const few: Experiment = {
  name: "few",
  title: "5 of 50 processes call, 50/s each, and all fail: how long until the fleet opens",
  cases: (["1 ms", "100 ms", "300 ms", "polled", "none"] as const).map(opensAmongFew)
}

const crashed = (rate: number, scale: Scale): Figures => {
  const opened = some(scale, 31, 5).map((i) => {
    const simulation = running({ processes: 20, rate }, scale.seed + i, { network: "1 ms" })
    simulation.runUntil(warmUp + i * 137)
    for (const index of indices(12)) simulation.process(index).crash()
    const downAt = simulation.now
    simulation.fail(1)
    runUntil(simulation, downAt + 25_000, () => openings(simulation, downAt).length > 0)
    return (openings(simulation, downAt)[0]?.at ?? Number.POSITIVE_INFINITY) - downAt
  })
  return { "opens ms p50": quantile(opened, 0.5), "opens ms p95": quantile(opened, 0.95) }
}

export const ghosts: Experiment = {
  name: "ghosts",
  title: "12 of 20 processes crash, then the dependency is down: how long until the fleet opens",
  cases: [50, 10, 5].map((rate) => ({ label: `20 at ${rate}/s`, run: (scale) => crashed(rate, scale) }))
}

interface Mass {
  readonly processes: number
  readonly keys: number
  /** How many processes call each key. */
  readonly callersOfKey: number
}

/** Every key is called once a second by each of its processes. The dependency is down for all keys at once. */
const mass = ({ callersOfKey, keys: count, processes }: Mass, scale: Scale): Figures => {
  const keys = indices(scale.quick ? Math.min(200, count) : count).map((key) => `k${key}`)
  const simulation = running({ processes, rate: 0 }, scale.seed, {
    callers: 0,
    network: "1 ms",
    policy: { cooldown: 120_000 }
  })
  const groups = processes / callersOfKey
  for (const { index } of simulation.processes) {
    const own = keys.filter((_, key) => key % groups === index % groups)
    simulation.rounds([index], own, 1_000)
  }
  simulation.runUntil(warmUp)
  const downAt = simulation.now
  const commandsBefore = simulation.store.total
  const itemsBefore = simulation.store.items
  const before = simulation.dependency.arrivals
  simulation.fail(1)
  const opened = () => new Set(openings(simulation, downAt).map(({ circuit }) => circuit)).size
  runUntil(simulation, downAt + 60_000, () => opened() === keys.length, 50)
  const allAfter = simulation.now - downAt
  const total = simulation.store.total - commandsBefore
  const items = simulation.store.items - itemsBefore
  const open = opened()
  runUntil(simulation, simulation.now + 2_000, () => false)
  return {
    keys: keys.length,
    "open for all": open,
    "after s": allAfter / 1000,
    "leaked a key": (simulation.dependency.arrivals - before) / keys.length,
    "commands/s": total / (allAfter / 1000),
    "commands/s of one": total / (allAfter / 1000) / processes,
    "items a key": items / keys.length
  }
}

const massCase = (label: string, one: Mass): Case => ({ label, run: (scale) => mass(one, scale) })

export const many: Experiment = {
  name: "many",
  title: "All keys are down at once, each called once a second by each of its processes; 60 s at most",
  cases: [
    massCase("2,000 keys, 4 processes", { keys: 2_000, processes: 4, callersOfKey: 4 }),
    massCase("10,000 keys, 4 processes", { keys: 10_000, processes: 4, callersOfKey: 4 }),
    massCase("1,000 keys, 4 of 200 processes each", { keys: 1_000, processes: 200, callersOfKey: 4 })
  ]
}
