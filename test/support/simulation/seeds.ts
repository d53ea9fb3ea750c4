/** The tag of the tests that `npm test` leaves out and `npm run test:long` runs. */
export const long = "long"

interface Lane {
  /** The end of the name of a test. */
  readonly title: string
  readonly tags: Array<string>
  readonly seeds: ReadonlyArray<number>
}

const from = (first: number, last: number) => Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i)

/**
 * The seeds that a run asks for, if it does: `SIMULATION_SEED=17 npx vitest run simulation` plays one alone, `SIMULATION_SEEDS=1000`
 * the first thousand, and `SIMULATION_SEEDS=1001-2000` the next.
 */
const asked = (): ReadonlyArray<number> | undefined => {
  const { SIMULATION_SEED: one, SIMULATION_SEEDS: several } = process.env
  if (one !== undefined) return [Number(one)]
  if (several === undefined) return undefined
  const [first = 1, last] = several.split("-").map(Number)
  return last === undefined ? from(1, first) : from(first, last)
}

/** The seeds that a run asks for, or otherwise the first `count`. */
export const chosen = (count: number): ReadonlyArray<number> => asked() ?? from(1, count)

/** The seeds that check a property of a simulation: some of them in each run, and the others, up to `all`, in the long lane. */
export const lanes = (some: number, all: number): ReadonlyArray<Lane> => {
  const seeds = asked()
  if (seeds !== undefined) return [{ title: `, with ${seeds.length} chosen seeds`, tags: [], seeds }]
  return [
    { title: "", tags: [], seeds: from(1, some) },
    { title: ", with more seeds", tags: [long], seeds: from(some + 1, all) }
  ]
}
