import type { StoredTally } from "../SharedStore.ts"
import { largest } from "./reads.ts"

/** The tally with the most ballots. The possible objections (live voters that did not abstain) are the most of any store. */
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
