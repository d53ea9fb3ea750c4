/** The load that a fleet puts on its store. */
import type { Experiment, Scale } from "./experiment.ts"
import { running, type Size, sized } from "./fleet.ts"

const perSecond = (size: Size, share: number, scale: Scale): { readonly items: number; readonly commands: number } => {
  const simulation = running(size, scale.seed)
  simulation.fail(share)
  // Processes reduce the rate of inquiries during the first minute, which is not measured.
  const seconds = scale.quick ? 20 : 12_000 / size.processes
  simulation.runUntil(60_000)
  const { items, total } = simulation.store
  simulation.runUntil(60_000 + seconds * 1000)
  return { items: (simulation.store.items - items) / seconds, commands: (simulation.store.total - total) / seconds }
}

export const costs: Experiment = {
  name: "commands",
  title: "Items (casts, swaps, loads) and commands that the store carries out a second",
  cases: [
    { processes: 3, rate: 50 },
    { processes: 20, rate: 50 },
    { processes: 200, rate: 5 }
  ].map((size) => ({
    label: sized(size),
    run: (scale) => {
      const healthy = perSecond(size, 0, scale)
      const failing = perSecond(size, 0.05, scale)
      return {
        "healthy: items": healthy.items,
        commands: healthy.commands,
        "5 % errors: items": failing.items,
        "commands at 5 %": failing.commands
      }
    }
  }))
}
