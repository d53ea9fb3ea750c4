/**
 * What a fleet gains, from the real engine in virtual time: calls that reach a dependency after it is down, trips that
 * should not be, what one bad process does to the others, and what all that costs the store.
 *
 *     npm run simulate             tables, and bench/results/simulate.json
 *     npm run simulate -- --json   the same as JSON on the standard output
 *     npm run simulate -- --quick  few seeds and little time, to see that it works
 *     npm run simulate -- --seed 7 other chances
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import type { Protection } from "../test/support/simulation/process.ts"
import { Simulation } from "../test/support/simulation/simulation.ts"

const { values: flags } = parseArgs({
  options: {
    json: { type: "boolean" },
    quick: { type: "boolean" },
    seed: { type: "string" },
    only: { type: "string" },
    help: { type: "boolean" }
  },
  strict: false
})
if (flags["help"] === true) {
  console.log("npm run simulate -- [--json] [--quick] [--seed n] [--only leaks|trips|nodes|commands]")
  process.exit(0)
}
const quick = flags["quick"] === true
const json = flags["json"] === true
const seed = Number(flags["seed"] ?? 1)
const seeds = quick ? 5 : 31
const began = performance.now()

/** So many processes, each with so many calls a second. */
interface Size {
  readonly processes: number
  readonly rate: number
}

const indices = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)
const label = ({ processes, rate }: Size): string => `${processes} at ${rate}/s`
const wanted = (part: string): boolean => flags["only"] === undefined || flags["only"] === part
const say = (line: string): void => {
  if (!json) console.log(line)
}

const running = ({ processes, rate }: Size, seed: number, protection: Protection): Simulation => {
  const simulation = new Simulation({ seed, processes, protection })
  simulation.startAll()
  simulation.traffic(indices(processes), rate)
  return simulation
}

const quantile = (values: ReadonlyArray<number>, q: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))] ?? Number.NaN

// ---- Leaked calls -------------------------------------------------------------------------------------------------

const warmUp = 12_000

/** The calls that reach the dependency from when it is down until nothing more gets through. */
const leaked = (size: Size, seed: number, protection: Protection, latency: number): number => {
  const simulation = running(size, seed, protection)
  simulation.runUntil(warmUp)
  simulation.fail(1, latency)
  const before = simulation.dependency.arrivals
  // Less than a cooldown: no probe is counted.
  for (let last = -1, quiet = 0; quiet < 4 && simulation.now < warmUp + 25_000; ) {
    simulation.runUntil(simulation.now + 500)
    quiet = simulation.dependency.arrivals === last ? quiet + 1 : 0
    last = simulation.dependency.arrivals
  }
  return simulation.dependency.arrivals - before
}

interface Leak extends Size {
  readonly latency: number
  readonly protection: Protection
  readonly p50: number
  readonly p95: number
  /** Calls that begin before the first failure can be known. */
  readonly floor: number
}

const protections = ["local", "fleet", "exact"] as const
const sizes: ReadonlyArray<Size> = [
  { processes: 3, rate: 50 },
  { processes: 20, rate: 50 },
  { processes: 20, rate: 5 },
  { processes: 200, rate: 5 }
]

const leaks = (): ReadonlyArray<Leak> =>
  [1, 100].flatMap((latency) => {
    say(`\nCalls that reach a dependency after it is down, failures after ${latency} ms: p50 (p95) of ${seeds} seeds`)
    say(`${"".padEnd(14)}${["local alone", "fleet", "exact, per call"].map((name) => name.padStart(18)).join("")}`)
    return sizes.flatMap((size) => {
      const floor = latency <= 1 ? 0 : (size.processes * size.rate * latency) / 1000
      const row = protections.map((protection): Leak => {
        const counts = indices(seeds).map((i) => leaked(size, seed + i, protection, latency))
        return { ...size, latency, protection, p50: quantile(counts, 0.5), p95: quantile(counts, 0.95), floor }
      })
      const cells = row.map(({ p50, p95 }) => `${p50 - floor} (${p95 - floor})`.padStart(18)).join("")
      say(`${label(size).padEnd(14)}${cells}${floor > 0 ? `   each and ${floor}, rate x latency` : ""}`)
      return row
    })
  })

// ---- Trips that should not be -------------------------------------------------------------------------------------

interface Weather {
  readonly name: string
  readonly at: (time: number) => number
}

const steady = (share: number): Weather => ({ name: `${share * 100} % errors`, at: () => share })
const weathers: ReadonlyArray<Weather> = [
  steady(0.01),
  steady(0.05),
  steady(0.2),
  { name: "all fail for 50 ms every 10 s", at: (time) => (time % 10_000 < 50 ? 1 : 0.0) },
  { name: "30 % fail for 1 s every 10 s", at: (time) => (time % 10_000 < 1_000 ? 0.3 : 0) }
]

interface Trips extends Size {
  readonly weather: string
  readonly hours: number
  /** Trips of the fleet an hour, and openings of one process by itself an hour. */
  readonly fleet: number
  readonly byItself: number
  /** The same where each process is alone. */
  readonly alone: number
  readonly commandsPerSecond: number
  readonly rejectedShare: number
}

const weathered = (size: Size, weather: Weather, protection: Protection, hours: number) => {
  const simulation = running(size, seed, protection)
  const until = hours * 3_600_000
  simulation.dependency.behaviour = (time, _, chance) => ({
    ok: time < 5_000 || !chance.happens(weather.at(time)),
    latency: 1
  })
  simulation.runUntil(until)
  const { applied } = simulation.store
  const rejected = simulation.processes.reduce((sum, { rejections }) => sum + rejections, 0)
  return {
    fleet: simulation.history.of("Swapped").filter(({ about }) => about.why === "Tripped").length / hours,
    byItself:
      simulation.history
        .of("Event")
        .filter(({ event }) => event._tag === "Transition" && event.scope === "local" && event.why === "Tripped")
        .length /
      hours /
      size.processes,
    commandsPerSecond: (applied.cast + applied.swap + applied.load) / (until / 1000),
    rejectedShare: rejected / (rejected + simulation.dependency.arrivals)
  }
}

const trips = (): ReadonlyArray<Trips> => {
  say("\nTrips an hour that no outage is the cause of, and commands a second beyond list()")
  say(`${"".padEnd(46)}fleet   by itself   alone, each   commands/s   rejected   hours`)
  const alone = new Map<string, number>()
  return [
    { processes: 3, rate: 50, hours: 1 },
    { processes: 20, rate: 50, hours: 0.4 },
    { processes: 200, rate: 5, hours: 0.15 }
  ].flatMap(({ hours: full, ...size }) =>
    weathers.map((weather): Trips => {
      const hours = quick ? Math.min(0.02, full) : full
      const key = `${weather.name} ${size.rate}`
      const known = alone.get(key)
      const each = known ?? weathered({ processes: 3, rate: size.rate }, weather, "local", quick ? 0.02 : 1).byItself
      alone.set(key, each)
      const found = { ...size, weather: weather.name, hours, alone: each, ...weathered(size, weather, "fleet", hours) }
      say(
        `${label(size).padEnd(12)}${weather.name.padEnd(31)}${found.fleet.toFixed(1).padStart(8)}${found.byItself.toFixed(1).padStart(12)}${each.toFixed(1).padStart(14)}${found.commandsPerSecond.toFixed(1).padStart(13)}${(found.rejectedShare * 100).toFixed(2).padStart(9)} %${hours.toFixed(2).padStart(8)}`
      )
      return found
    })
  )
}

// ---- Bad processes ------------------------------------------------------------------------------------------------

interface Bad {
  readonly bad: number
  readonly of: number
  readonly fleetTrips: number
  readonly rejectedOnHealthy: number
  readonly rejectedOnBad: number
  readonly seeds: number
}

const badNodes = (): ReadonlyArray<Bad> => {
  say(`\nSome processes whose calls all fail for 60 s, 50/s each, ${seeds} seeds together`)
  say(`${"".padEnd(14)}fleet trips   rejected on healthy ones   rejected on bad ones`)
  return (
    [
      [1, 2],
      [1, 3],
      [1, 20],
      [3, 20]
    ] as const
  ).map(([bad, of]) => {
    let fleetTrips = 0
    let rejectedOnHealthy = 0
    let rejectedOnBad = 0
    for (const i of indices(seeds)) {
      const simulation = running({ processes: of, rate: 50 }, seed + i, "fleet")
      simulation.runUntil(warmUp)
      simulation.fail((process) => (process < bad ? 1 : 0))
      simulation.runUntil(warmUp + 60_000)
      fleetTrips += simulation.history.of("Swapped").filter(({ about }) => about.why === "Tripped").length
      for (const { index, rejections } of simulation.processes) {
        if (index < bad) rejectedOnBad += rejections
        else rejectedOnHealthy += rejections
      }
    }
    say(
      `${`${bad} of ${of}`.padEnd(14)}${String(fleetTrips).padStart(11)}${String(rejectedOnHealthy).padStart(27)}${String(rejectedOnBad).padStart(23)}`
    )
    return { bad, of, fleetTrips, rejectedOnHealthy, rejectedOnBad, seeds }
  })
}

// ---- What the store has to do -------------------------------------------------------------------------------------

const commands = () => {
  say("\nCommands a second")
  say(`${"".padEnd(14)}healthy: list()   and others   at 5 % errors: others`)
  return [
    { processes: 3, rate: 50 },
    { processes: 20, rate: 50 },
    { processes: 200, rate: 5 }
  ].map((size) => {
    const perSecond = (share: number) => {
      const simulation = running(size, seed, "fleet")
      simulation.fail(share)
      // In the first minute inquiries learn to be rare.
      const seconds = quick ? 20 : 120
      simulation.runUntil(60_000)
      const before = { ...simulation.store.applied }
      simulation.runUntil(60_000 + seconds * 1000)
      const { cast, list, load, swap } = simulation.store.applied
      return {
        list: (list - before.list) / seconds,
        others: (cast + load + swap - before.cast - before.load - before.swap) / seconds
      }
    }
    const healthy = perSecond(0)
    const failing = perSecond(0.05)
    say(
      `${label(size).padEnd(14)}${healthy.list.toFixed(1).padStart(15)}${healthy.others.toFixed(1).padStart(13)}${failing.others.toFixed(1).padStart(24)}`
    )
    return { ...size, healthy, failing }
  })
}

const result = {
  node: process.version,
  seed,
  seeds,
  ...(wanted("leaks") ? { leaks: leaks() } : {}),
  ...(wanted("trips") ? { trips: trips() } : {}),
  ...(wanted("nodes") ? { badNodes: badNodes() } : {}),
  ...(wanted("commands") ? { commands: commands() } : {})
}

if (json) console.log(JSON.stringify(result, null, 2))
say(`\n${((performance.now() - began) / 1000).toFixed(0)} s`)
if (quick) say("a quick run is too short to judge by")
else if (flags["only"] === undefined) {
  mkdirSync(new URL("results", import.meta.url), { recursive: true })
  writeFileSync(new URL("results/simulate.json", import.meta.url), `${JSON.stringify(result, null, 2)}\n`)
}
