// The command line imports this file only, because the simulator is large.

/**
 * All scenarios that `scenario` accepts.
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
 * One of {@link scenarioNames}.
 *
 * @category scenarios
 */
export type ScenarioName = (typeof scenarioNames)[number]
