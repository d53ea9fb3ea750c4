import { type Bounds, noVotes, sweepBoxes, type Votes } from "./ballots.ts"

interface Entry {
  readonly epoch: number
  readonly body: string
  readonly at: number
  readonly until: number
  readonly listed: boolean
}

/** Everything that a memory store keeps. Plain data, to be copied. */
export interface State {
  readonly records: Map<string, Entry>
  /** The latest change of each circuit, ascending by epoch. */
  readonly changed: Map<string, { readonly epoch: number; readonly at: number; readonly listed: boolean }>
  readonly votes: Votes
  epoch: number
  trimmed: number
  born: number | undefined
  /** Made up when the store was born; empty until then. */
  life: string
  sweptAt: number
}

export const emptyState = (): State => ({
  records: new Map(),
  changed: new Map(),
  votes: noVotes(),
  epoch: 0,
  trimmed: 0,
  born: undefined,
  life: "",
  sweptAt: Number.NEGATIVE_INFINITY
})

/** How often entries that have ended are dropped. Until then they are not read. */
const sweepMillis = 1_000

export const storedAt = (records: State["records"], circuit: string, time: number) => {
  const found = records.get(circuit)
  if (found === undefined || time >= found.until) return undefined
  return { epoch: found.epoch, body: found.body, age: Math.max(0, time - found.at) }
}

/** Drops the entries that have ended. */
export const sweep = (state: State, time: number, bounds: Bounds & { readonly unlistedMillis: number }): void => {
  if (time - state.sweptAt < sweepMillis && time >= state.sweptAt) return
  const { changed, records, votes } = state
  state.sweptAt = time
  for (const [circuit, { until }] of records) if (time >= until) records.delete(circuit)
  for (const [circuit, { at, epoch, listed }] of changed) {
    if (listed ? records.has(circuit) : time - at < bounds.unlistedMillis) continue
    changed.delete(circuit)
    state.trimmed = Math.max(state.trimmed, epoch)
  }
  sweepBoxes(votes, time)
}

/** Writes a record, which empties the boxes of its circuit; answers its epoch. */
export const write = (
  state: State,
  swap: {
    readonly circuit: string
    readonly body: string
    readonly ttl: number | undefined
    readonly listed: boolean
  },
  floor: number,
  time: number
): number => {
  const { body, circuit, listed, ttl = Infinity } = swap
  const epoch = Math.max(state.epoch, floor, Math.floor(time * 1_000)) + 1
  state.epoch = epoch
  state.records.set(circuit, { epoch, body, at: time, until: time + ttl, listed })
  // The latest change is the last of the map.
  const wasChanged = state.changed.delete(circuit)
  if (listed || wasChanged) state.changed.set(circuit, { epoch, at: time, listed })
  state.votes.boxes.delete(circuit)
  return epoch
}

/** The changes after an epoch, at most `most` of them, and the number of listed records. */
export const changesAfter = ({ changed, records }: State, since: number, most: number, time: number) => {
  const changes = []
  let allListed = 0
  for (const [circuit, { epoch, listed }] of changed) {
    const record = storedAt(records, circuit, time)
    if (listed && record !== undefined) allListed++
    if (epoch > since && changes.length < most) changes.push({ circuit, epoch, listed, record })
  }
  return { changes, listed: allListed }
}
