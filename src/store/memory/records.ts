import { limits, type Stored, type Swap } from "../SharedStore.ts"
import { noVotes, sweepBoxes, type Votes } from "./ballotBoxes.ts"

interface MemoryRecord {
  readonly epoch: number
  readonly body: string
  readonly at: number
  readonly until: number
  readonly listed: boolean
}

/** Everything that a memory store keeps. Plain data, which can be copied. */
export interface MemoryState {
  readonly records: Map<string, MemoryRecord>
  /** The latest change of each circuit, ascending by epoch. */
  readonly changed: Map<string, { readonly epoch: number; readonly at: number; readonly listed: boolean }>
  readonly votes: Votes
  epoch: number
  trimmed: number
  born: number | undefined
  /** Empty until the first exchange. */
  life: string
  sweptAt: number
}

export const emptyState = (): MemoryState => ({
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

export const storedAt = (records: MemoryState["records"], circuit: string, time: number): Stored | undefined => {
  const found = records.get(circuit)
  if (found === undefined || time >= found.until) return undefined
  return { epoch: found.epoch, body: found.body, age: Math.max(0, time - found.at) }
}

export const sweep = (state: MemoryState, time: number): void => {
  if (time - state.sweptAt < sweepMillis && time >= state.sweptAt) return
  const { changed, records, votes } = state
  state.sweptAt = time
  for (const [circuit, { until }] of records) if (time >= until) records.delete(circuit)
  for (const [circuit, { at, epoch, listed }] of changed) {
    if (listed ? records.has(circuit) : time - at < limits.unlistedMillis) continue
    changed.delete(circuit)
    state.trimmed = Math.max(state.trimmed, epoch)
  }
  sweepBoxes(votes, time)
}

/** Writes a record, empties the boxes of its circuit, and returns the new epoch. */
export const write = (state: MemoryState, swap: Omit<Swap, "expectedEpoch">, floor: number, time: number): number => {
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
