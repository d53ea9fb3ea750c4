import { type Changed, type DigestsAnswer, type LoadAnswer, limits, type PageAnswer } from "../SharedStore.ts"
import { liveAt } from "./ballotBoxes.ts"
import { type MemoryState, storedAt } from "./records.ts"

export const page = (state: MemoryState, since: number, limit: number, time: number): PageAnswer => {
  const { epoch, life, trimmed, votes } = state
  const most = Math.min(limit, limits.page)
  const changes: Array<Changed> = []
  let allListed = 0
  for (const [circuit, { epoch, listed }] of state.changed) {
    const record = storedAt(state.records, circuit, time)
    if (listed && record !== undefined) allListed++
    if (epoch > since && changes.length < most) changes.push({ circuit, epoch, listed, record })
  }
  return { time, live: liveAt(votes, time), life, epoch, trimmed, listed: allListed, changes }
}

export const load = ({ records }: MemoryState, circuits: ReadonlyArray<string>, time: number): LoadAnswer => ({
  time,
  records: circuits.map((circuit) => storedAt(records, circuit, time))
})

/** The digests of the live voters whose names come after `after`, ascending. */
export const digests = ({ votes: { register } }: MemoryState, after: string, time: number): DigestsAnswer => {
  const found = [...register]
    .flatMap(([voter, { digest, until }]) =>
      voter > after && time < until && digest !== undefined ? [{ voter, digest }] : []
    )
    .sort((a, b) => (a.voter < b.voter ? -1 : 1))
  const some = found.slice(0, limits.digests)
  return { time, digests: some, next: found.length > some.length ? some.at(-1)?.voter : undefined }
}
