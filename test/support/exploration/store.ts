/** An exchange with a memory store that may have a fault, and copies and texts of what the store contains. */
import { SharedStore } from "effect-fuse"
import { liveAt, noVotes, rollCallsAfter, type Votes } from "../../../src/store/memory/ballotBoxes.ts"
import * as memory from "../../../src/store/memory/exchange.ts"
import { emptyState, type MemoryState } from "../../../src/store/memory/records.ts"

export type Done = SharedStore.ExchangeDone
export type RollCalled = SharedStore.Change & { readonly _tag: "RollCall" }

/** Deliberate faults of a store. */
export interface Wrong {
  /** The store keeps dead voters in its register, with how far they have heard. */
  readonly keepsDead?: boolean | undefined
  /** The store believes a voter that has heard more than the log contains. */
  readonly keepsHeard?: boolean | undefined
}

/** All commands belong to this life: the exploration shows that the numbers of the log alone are enough. */
const life = "life"

/** Carries out an exchange in place. */
export const exchange = (
  state: MemoryState,
  request: SharedStore.Exchange,
  time: number,
  announce: (change: SharedStore.Change) => void,
  { keepsDead = false, keepsHeard = false }: Wrong = {}
): SharedStore.ExchangeAnswer => {
  const { votes } = state
  const { register } = votes
  const dead = keepsDead ? [...register].filter(([, { until }]) => time >= until) : []
  for (const [voter, one] of dead) register.set(voter, { ...one, until: Infinity })
  const answer = memory.exchange(state, { ...request, life }, { time, newLife: () => life, announce })
  for (const [voter, one] of dead) if (register.get(voter)?.until === Infinity) register.set(voter, one)
  if (answer._tag === "Late") return answer
  const { heard, ttl, voter } = request
  if (!keepsHeard || heard <= votes.head) return { ...answer, live: liveAt(votes, time) }
  if (ttl > 0) register.set(voter, { until: time + ttl, heard })
  return { ...answer, rollCalls: rollCallsAfter(votes, heard, SharedStore.limits.rollCalls) }
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
