// The command line imports these names when it starts, and the large simulator only for the command `simulate`.

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
