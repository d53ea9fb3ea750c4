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
 * The seeds that check a property of a simulation: some of them in each run, and the others, up to `all`, in the long lane.
 * `SIMULATION_SEED=17 npx vitest run simulation` plays one alone, `SIMULATION_SEEDS=1000` more of them.
 */
export const lanes = (some: number, all: number): ReadonlyArray<Lane> => {
  const { SIMULATION_SEED: one, SIMULATION_SEEDS: more } = process.env
  if (one !== undefined) return [{ title: `, with seed ${one}`, tags: [], seeds: [Number(one)] }]
  const last = more === undefined ? all : Number(more)
  return [
    { title: "", tags: [], seeds: from(1, Math.min(some, last)) },
    { title: ", with more seeds", tags: [long], seeds: from(some + 1, last) }
  ].filter(({ seeds }) => seeds.length > 0)
}
