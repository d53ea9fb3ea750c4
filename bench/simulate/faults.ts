/** Faults of the store and of processes. */
import { opens } from "../../test/support/simulation/contract.ts"
import { type Experiment, type Figures, type Scale, some, sum } from "./experiment.ts"
import { openings, rejected, running, runUntil, warmUp } from "./fleet.ts"

/** The store freezes just before it executes an opening, and thaws 20 s after the dependency has recovered. */
const frozen = (scale: Scale): Figures => {
  let carriedOut = 0
  let frozen = 0
  const late = some(scale, 11).map((i) => {
    const simulation = running({ processes: 6, rate: 50 }, scale.seed + i, { network: "1 ms" })
    let frozenAt = Number.POSITIVE_INFINITY
    simulation.store.onArrival = (request) => {
      if (frozenAt < Number.POSITIVE_INFINITY || !opens(request)) return
      frozenAt = simulation.now
      frozen++
      simulation.store.freeze()
      simulation.fail(0)
      simulation.at(simulation.now + 20_000, () => simulation.store.thaw())
    }
    simulation.runUntil(warmUp)
    simulation.fail(1)
    runUntil(simulation, warmUp + 10_000, () => frozenAt < Number.POSITIVE_INFINITY)
    const before = rejected(simulation, () => true)
    simulation.runUntil(frozenAt + 25_000)
    if (openings(simulation).length > 0) carriedOut++
    return rejected(simulation, () => true) - before
  })
  return { freezes: frozen, "carried out": carriedOut, "rejected afterwards": sum(late) }
}

export const freeze: Experiment = {
  name: "freeze",
  title:
    "The store freezes for 20 s just before an opening, and the dependency recovers: openings carried out afterwards",
  cases: [{ label: "6 at 50/s, 11 seeds", run: frozen }]
}

/** The store is wiped. Two new processes start at that time, and all their calls fail. The calls of ten others keep succeeding. */
const wiped = (scale: Scale): Figures => {
  const runs = some(scale, 11).map((i) => {
    const simulation = running({ processes: 12, rate: 50 }, scale.seed + i, { network: "none" })
    for (const index of [10, 11]) simulation.process(index).crash()
    simulation.runUntil(warmUp + 20_000)
    simulation.store.wipe()
    for (const index of [10, 11]) simulation.process(index).start()
    simulation.fail((process) => (process >= 10 ? 1 : 0))
    const from = simulation.now
    simulation.runUntil(from + 60_000)
    return { trips: openings(simulation, from).length, rejected: rejected(simulation, (process) => process < 10) }
  })
  return {
    trips: sum(runs.map(({ trips }) => trips)),
    "runs with a trip": runs.filter(({ trips }) => trips > 0).length,
    "rejected on healthy": sum(runs.map(({ rejected }) => rejected))
  }
}

export const wipe: Experiment = {
  name: "wipe",
  title: "The store is wiped, 2 new processes start and fail beside 10 healthy ones, without announcements: 60 s",
  cases: [{ label: "12 at 50/s, 11 seeds", run: wiped }]
}
