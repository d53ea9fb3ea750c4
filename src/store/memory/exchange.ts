import type { CastAnswer, Change, Exchange, ExchangeAnswer, Swap, SwapAnswer } from "../SharedStore.ts"
import { limits } from "../SharedStore.ts"
import { bury, castIn, liveAt, rollCallsAfter } from "./ballotBoxes.ts"
import { type MemoryState, storedAt, sweep, write } from "./records.ts"

export interface MemoryEffects {
  readonly time: number
  readonly newLife: () => string
  readonly announce: (change: Change) => void
}

/** Carries out an exchange. It changes the state in place. */
export const exchange = (
  state: MemoryState,
  { casts, digest, floor, heard, life, notAfter, swaps, ttl, voter }: Exchange,
  effects: MemoryEffects
): ExchangeAnswer => {
  const { announce, newLife, time } = effects
  const { records, votes } = state
  if (notAfter !== undefined && time > notAfter) return { _tag: "Late", time }
  if (state.born === undefined) {
    state.born = time
    state.life = newLife()
  }
  // A voter that no longer lives begins again without its ballots.
  bury(votes, time)
  const was = votes.register.get(voter)
  const kept = { until: time + ttl, digest: digest ?? was?.digest }
  votes.register.set(voter, { ...kept, heard: was?.heard ?? 0 })
  if (ttl <= 0) bury(votes, time)
  sweep(state, time)
  const castAnswers = casts.map((cast): CastAnswer => {
    const record = storedAt(records, cast.circuit, time)
    if ((record?.epoch ?? 0) !== cast.epoch) return { record, tally: undefined }
    return { record, tally: castIn(votes, cast, voter, time, announce) }
  })
  const swapAnswers = swaps.map((one) => swap(state, one, floor, effects))
  const valid = life !== state.life || heard > votes.head ? 0 : heard
  if (ttl > 0) votes.register.set(voter, { ...kept, heard: valid })
  return {
    _tag: "Done",
    time,
    live: liveAt(votes, time),
    liveFor: Math.max(0, time - state.born),
    life: state.life,
    head: votes.head,
    rollCalls: rollCallsAfter(votes, valid, limits.rollCalls),
    casts: castAnswers,
    swaps: swapAnswers
  }
}

const swap = (state: MemoryState, swap: Swap, floor: number, { announce, time }: MemoryEffects): SwapAnswer => {
  const { body, circuit, expectedEpoch } = swap
  const current = storedAt(state.records, circuit, time)
  if ((current?.epoch ?? 0) !== expectedEpoch) return { swapped: false, record: current }
  const epoch = write(state, swap, floor, time)
  announce({ _tag: "Record", circuit, epoch, body })
  return { swapped: true, record: { epoch, body, age: 0 } }
}
