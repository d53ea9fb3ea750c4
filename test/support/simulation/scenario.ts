/** One minute in the life of a fleet in which everything goes wrong, drawn from a seed; then one in which all is well. */
import { CircuitBreaker } from "effect-fuse"
import { healthy, rough } from "./network.ts"
import { Chance } from "./random.ts"
import { type Options, Simulation } from "./simulation.ts"

export interface Scenario {
  readonly simulation: Simulation
  readonly probes: number
  readonly syncInterval: number
  /** When the last fault is over. */
  readonly calmAt: number
  readonly endsAt: number
}

const trouble = 60_000
const calm = 60_000

/** What a scenario is given beside its seed. */
export type Given = Pick<Options, "mutate" | "store">

export const scenario = (seed: number, given: Given = {}): Scenario => {
  const chance = new Chance(seed)
  const processes = 2 + chance.below(4)
  const probes = 1 + chance.below(2)
  const chosen = chance.below(2 ** 31)
  const syncInterval = 1_000 + chance.below(4_000)
  const simulation = new Simulation({
    ...given,
    seed: chosen,
    processes,
    conditions: rough(),
    history: "all",
    syncInterval,
    policy: {
      cooldown: 500 + chance.below(3_000),
      probes,
      successesToClose: 1 + chance.below(2),
      probeTimeout: 500 + chance.below(1_000),
      ramp: chance.happens(0.3) ? 1_000 : 0,
      // By the seed and not by chance, so that what else a seed brings stays the same.
      failuresToReopen: 1 + (seed % 3 === 0 ? 1 : 0)
    }
  })
  const all = simulation.processes.map(({ index }) => index)
  simulation.startAll()
  simulation.traffic(all, 5 + chance.below(20))

  const some = () => chance.below(processes)
  const within = (from: number, until: number) => from + chance.below(until - from)
  const shortly = (at: number) => Math.min(trouble, at + 200 + chance.below(5_000))

  const faults: ReadonlyArray<(at: number) => void> = [
    // The dependency: down, up, failing in part, slow, hanging, or only for one process.
    () => simulation.fail(1, 1 + chance.below(50)),
    () => simulation.fail(1, 1 + chance.below(50)),
    () => simulation.fail(0),
    () => simulation.fail(chance.next()),
    () => {
      simulation.dependency.behaviour = (_, __, c) => ({ ok: c.happens(0.5), latency: c.happens(0.1) ? Infinity : 20 })
    },
    () => {
      const bad = some()
      simulation.fail((process) => (process === bad ? 1 : 0))
    },
    // The network and the store.
    (at) => simulation.partition([some()], at, shortly(at)),
    (at) => simulation.partition(all, at, shortly(at)),
    (at) => {
      simulation.store.hangs = true
      simulation.at(shortly(at), () => {
        simulation.store.hangs = false
      })
    },
    (at) => {
      simulation.store.refuses = true
      simulation.at(shortly(at), () => {
        simulation.store.refuses = false
      })
    },
    () => simulation.store.wipe(),
    () => simulation.store.jump(chance.pick([-30_000, -500, 500, 30_000])),
    // Processes.
    () => simulation.process(some()).jump(chance.pick([-3_600_000, 3_600_000])),
    (at) => {
      const process = simulation.process(some())
      process.crash()
      simulation.at(shortly(at), () => process.start())
    },
    (at) => {
      const process = simulation.process(some())
      process.end()
      simulation.at(shortly(at), () => process.start())
    },
    // People.
    (at) => {
      const [one, other] = [simulation.process(some()), simulation.process(some())]
      one.do(CircuitBreaker.isolate("api", { reason: "drill" }))
      simulation.at(shortly(at), () => other.do(CircuitBreaker.release("api")))
    },
    () => simulation.process(some()).do(CircuitBreaker.reset("api")),
    () => simulation.process(some()).do(CircuitBreaker.open("api", { for: "2 seconds" }))
  ]
  const count = 10 + chance.below(15)
  for (let i = 0; i < count; i++) {
    const at = within(1_000, trouble - 1_000)
    const fault = faults[chance.below(faults.length)]
    simulation.at(at, () => fault?.(at))
  }

  const calmAt = trouble
  simulation.at(calmAt, () => {
    simulation.fail(0)
    for (const process of simulation.processes) {
      Object.assign(process.network.conditions, { loseRequest: 0, loseAnswer: 0, duplicate: 0, loseAnnouncement: 0 })
      process.network.conditions.delay = () => 1
      if (!process.up) process.start()
    }
  })
  // Nobody may forget what a person forced: a person lifts it.
  simulation.at(calmAt + 10_000, () => simulation.processes[0]?.do(CircuitBreaker.release("api")))
  return { simulation, probes, syncInterval, calmAt, endsAt: calmAt + calm }
}

/** A fleet of two to twenty, of which one fails for a minute, or also hangs, while the network does what it likes. */
export const oneIsBad = (seed: number, given: Given = {}): Simulation => {
  const chance = new Chance(seed)
  const processes = 2 + chance.below(19)
  const simulation = new Simulation({
    ...given,
    seed,
    processes,
    conditions: chance.happens(0.5) ? rough() : healthy()
  })
  simulation.startAll()
  simulation.traffic(
    simulation.processes.map(({ index }) => index),
    5 + chance.below(50)
  )
  simulation.at(5_000, () => simulation.fail((process) => (process === 0 ? 1 : 0), 1 + chance.below(100)))
  simulation.runUntil(65_000)
  return simulation
}

/** The trips of the fleet. */
export const trips = ({ history }: Simulation) =>
  history.of("Swapped").filter(({ provenance }) => provenance.why === "Tripped")
