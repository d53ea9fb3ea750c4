/** One exchange with a memory store, as a pure function of what the store holds: made of the store's own pure parts. */
import { SharedStore } from "effect-fuse"
import { bury, castIn, liveAt, noVotes, rollCallsAfter, type Votes } from "../../../src/store/memory/ballotBoxes.ts"
import { emptyState, type MemoryState, storedAt, sweep, write } from "../../../src/store/memory/records.ts"

export type Done = SharedStore.ExchangeDone
export type RollCalled = SharedStore.Change & { readonly _tag: "RollCall" }

/** Deliberate faults of a store. */
export interface Wrong {
  readonly bury?: typeof bury | undefined
  /** How far a voter says it has heard counts also in a log that ends before that. */
  readonly keepsHeard?: boolean | undefined
}

/** Carries an exchange out in place. */
export const exchange = (
  state: MemoryState,
  request: SharedStore.Exchange,
  time: number,
  announce: (change: SharedStore.Change) => void,
  { bury: buries = bury, keepsHeard = false }: Wrong = {}
): SharedStore.ExchangeAnswer => {
  const { casts, floor, heard, notAfter, swaps, ttl, voter } = request
  const { limits } = SharedStore
  if (notAfter !== undefined && time > notAfter) return { _tag: "Late", time }
  const { records, votes } = state
  state.born ??= time
  votes.register.set(voter, { until: time + ttl, heard: votes.register.get(voter)?.heard ?? 0 })
  buries(votes, time)
  sweep(state, time)
  const castAnswers = casts.map((cast): SharedStore.CastAnswer => {
    const record = storedAt(records, cast.circuit, time)
    if ((record?.epoch ?? 0) !== cast.epoch) return { record, tally: undefined }
    return { record, tally: castIn(votes, cast, voter, time, announce) }
  })
  const swapAnswers = swaps.map((swap): SharedStore.SwapAnswer => {
    const current = storedAt(records, swap.circuit, time)
    if ((current?.epoch ?? 0) !== swap.expectedEpoch) return { swapped: false, record: current }
    const epoch = write(state, swap, floor, time)
    announce({ _tag: "Record", circuit: swap.circuit, epoch, body: swap.body })
    return { swapped: true, record: { epoch, body: swap.body, age: 0 } }
  })
  const valid = heard > votes.head && !keepsHeard ? 0 : heard
  if (ttl > 0) votes.register.set(voter, { until: time + ttl, heard: valid })
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

/** A copy that shares nothing that changes. */
export const copy = ({ changed, records, votes, ...rest }: MemoryState): MemoryState => ({
  ...rest,
  records: new Map(records),
  changed: new Map(changed),
  votes: copyVotes(votes)
})

const copyVotes = ({ boxes, head, log, register }: Votes): Votes => {
  const made = noVotes()
  made.head = head
  made.log.push(...log)
  for (const [voter, one] of register) made.register.set(voter, one)
  for (const [circuit, ofCircuit] of boxes) {
    made.boxes.set(
      circuit,
      new Map([...ofCircuit].map(([name, box]) => [name, { ...box, ballots: new Map(box.ballots) }]))
    )
  }
  return made
}

/** What a store holds as a text: of each voter in turn. Times are given as the distance from now. */
export const textOf = ({ born, records, votes }: MemoryState, now: number, voters: ReadonlyArray<string>): string => {
  const { boxes, head, log, register } = votes
  const seqOf = (seq: number): number => (seq === 0 ? 0 : seq - now * 1_000)
  const held = [...boxes.values()].flatMap((ofCircuit) =>
    [...ofCircuit.values()].map(({ asked, ballots, epoch, roll }) => [
      epoch,
      asked === undefined ? "" : now - asked,
      roll === undefined ? "" : `${seqOf(roll.seq)} ${now - roll.at}`,
      ...voters.map((voter) => {
        const ballot = ballots.get(voter)
        return ballot === undefined ? "" : `${ballot.numbers[0]} ${ballot.until - now}`
      })
    ])
  )
  const lives = voters.map((voter) => {
    const one = register.get(voter)
    return one === undefined ? "" : `${one.until - now} ${seqOf(one.heard)}`
  })
  const calls = log.map(({ at, seq }) => `${seqOf(seq)} ${now - at}`)
  return [born === undefined ? "" : now - born, records.size, seqOf(head), ...calls, ...lives, ...held].join(";")
}

/** What a process would learn from the store if it asked now: the tally, how many live, and since when. */
export const newsOf = ({ born, votes }: MemoryState, now: number): string => {
  const { boxes, register } = votes
  const lives = [...register.values()].filter(({ until }) => now < until)
  const held = [...boxes.values()].flatMap((ofCircuit) =>
    [...ofCircuit.values()].map(({ ballots, roll }) => {
      const counted = [...ballots.values()].filter(({ until }) => now < until)
      const convinced = counted.filter(({ numbers }) => (numbers[0] ?? 0) > 0).length
      const heard = roll === undefined ? 0 : lives.filter(({ heard }) => heard >= roll.seq).length
      return [counted.length, convinced, Math.max(0, heard - counted.length), roll === undefined ? "" : now - roll.at]
    })
  )
  return [born === undefined ? "" : now - born, lives.length, ...held].join(" ")
}

export { emptyState, type MemoryState }
