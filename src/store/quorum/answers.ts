import type { Page, StoredTally } from "../SharedStore.ts"

export const largest = (numbers: ReadonlyArray<number>): number => Math.max(0, ...numbers)

/** The epoch up to which the pages show all changes: a store whose page is full may have more changes after it. */
export const endOf = (pages: ReadonlyArray<Page>, most: number): number =>
  Math.min(...pages.map(({ changes }) => (changes.length < most ? Infinity : (changes.at(-1)?.epoch ?? Infinity))))

/**
 * The tally with the most ballots. As many voters may object as in the store where the most may: those that live, less those
 * that abstained there.
 */
export const sumUp = (
  tallies: ReadonlyArray<{ readonly tally: StoredTally; readonly live: number }>,
  live: number
): StoredTally | undefined => {
  const [first] = tallies
  if (first === undefined) return undefined
  const { tally } = tallies.reduce((best, one) => (one.tally.voters > best.tally.voters ? one : best), first)
  const objecting = largest(tallies.map((one) => one.live - one.tally.abstained))
  return { ...tally, abstained: Math.max(0, live - objecting) }
}
