// The command line imports these names without the rest of the simulator.

/**
 * The names of the scenarios.
 *
 * @category scenarios
 */
export const scenarioNames = [
  "healthy",
  "brownout",
  "gradual",
  "oscillating",
  "retry-storm",
  "herd",
  "cold-cache",
  "quota",
  "limping-replica",
  "shards"
] as const

/**
 * The name of a scenario.
 *
 * @category scenarios
 */
export type ScenarioName = (typeof scenarioNames)[number]
