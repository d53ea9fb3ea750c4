import type { StoredTally } from "../SharedStore.ts"
import { largest } from "./reads.ts"

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
