/**
 * Writes the scenarios of the documentation as settings of the playground. These settings have half of the calls, and a server of half the
 * size. A simulation is then fast enough to redraw the picture while a slider moves.
 */
import type { ScenarioName } from "../src/simulator/scenarioNames.ts"
import { areEqual } from "./fields.ts"
import { type Settings, usualPolicy, usualWorld, type World, worldFields } from "./settings.ts"

interface Ready {
  readonly title: string
  readonly hint?: string
  readonly world: Partial<World>
  readonly attempts?: number
}

const outage = { fault: "outage", severity: 1, at: 20, lasts: 20 } as const

export const ready: Readonly<Record<ScenarioName, Ready>> = {
  healthy: {
    title: "Nothing is wrong: the server could answer 1.6 times the calls",
    world: { fault: "none" }
  },
  brownout: {
    title: "The server loses workers: it can answer half of the calls for a minute",
    world: {}
  },
  gradual: {
    title: "The server loses 90 % of its workers, one after the other, in a minute",
    world: { fault: "gradual", severity: 0.9 }
  },
  oscillating: {
    title: "Every ten seconds the server loses three quarters of its workers for five seconds",
    world: { fault: "oscillating", severity: 0.75 }
  },
  "retry-storm": {
    title: "The server freezes for eight seconds, and callers try each call three times",
    world: { fault: "freeze", lasts: 8 },
    attempts: 3
  },
  herd: {
    title: "After an outage, all callers return at once: six times the calls for five seconds",
    world: { ...outage, surge: 6, processes: 20, lengthOf: 90 },
    attempts: 3
  },
  "cold-cache": {
    title: "After an outage the caches are empty: calls take five times as long until they are filled",
    world: { ...outage, cold: 0.2, lengthOf: 90 }
  },
  quota: {
    title: "The server accepts half of the calls, and refuses the others with status 429",
    world: { fault: "quota", severity: 0.5 }
  },
  "limping-replica": {
    title: "One of three servers is ten times slower, but hardly any of its calls fail",
    hint: "Try the policy “pool, fastest server”.",
    world: { fault: "slow", severity: 0.9, workers: 20, service: 40, replicas: 3, affected: 1 }
  },
  shards: {
    title: "Six of ten servers with parts of the data answer nothing",
    hint: "Try the policy “breaker for each server”.",
    world: { ...outage, lasts: 60, workers: 1, service: 62.5, replicas: 10, affected: 6, shards: true }
  }
}

export const worldOf = (name: ScenarioName): World => ({ ...usualWorld, ...ready[name].world })

/** Sets the world to the world of a scenario. Policies keep their protection, and get the attempts and the timeout of the scenario. */
export const withScenario = ({ policies }: Settings, name: ScenarioName): Settings => ({
  world: worldOf(name),
  policies: policies.map((policy) => ({
    ...policy,
    attempts: ready[name].attempts ?? usualPolicy.attempts,
    timeout: usualPolicy.timeout
  }))
})

/** Finds the scenario with exactly this world. */
export const scenarioOf = (world: World): ScenarioName | undefined =>
  (Object.keys(ready) as Array<ScenarioName>).find((name) => areEqual(worldFields, world, worldOf(name)))
