import { type Cast, type Change, limits, type RollCall, type StoredTally } from "../SharedStore.ts"

/** The register, the log of roll calls and the ballot boxes of a memory store. Plain data, which can be copied. */

interface MemoryBox {
  readonly epoch: number
  readonly ballots: Map<string, { readonly numbers: ReadonlyArray<number>; readonly until: number }>
  asked: number | undefined
  roll: { readonly seq: number; readonly at: number; readonly term: number } | undefined
}

export interface Votes {
  readonly register: Map<
    string,
    { readonly until: number; readonly heard: number; readonly digest?: string | undefined }
  >
  readonly log: Array<RollCall & { readonly at: number }>
  readonly boxes: Map<string, Map<string, MemoryBox>>
  head: number
}

export const noVotes = (): Votes => ({ register: new Map(), log: [], boxes: new Map(), head: 0 })

export const liveAt = ({ register }: Votes, time: number): number => {
  let live = 0
  for (const { until } of register.values()) if (time < until) live++
  return live
}

/** Removes voters that no longer live, their ballots, and roll calls that are too old. */
export const bury = ({ boxes, log, register }: Votes, time: number): void => {
  for (const [voter, { until }] of register) {
    if (time < until) continue
    register.delete(voter)
    for (const ofCircuit of boxes.values()) for (const box of ofCircuit.values()) box.ballots.delete(voter)
  }
  const first = log.findIndex(({ at, term }) => time - at < term + limits.logMillis)
  log.splice(0, first === -1 ? log.length : first)
}

/** Whether a roll call counts. It does not if the clock has gone back to before it. */
const isCounting = (roll: MemoryBox["roll"], time: number): roll is NonNullable<MemoryBox["roll"]> =>
  roll !== undefined && time >= roll.at && time - roll.at < roll.term

/** Drops the boxes in which no ballot counts. */
export const sweepBoxes = ({ boxes }: Votes, time: number): void => {
  for (const [circuit, ofCircuit] of boxes) {
    for (const [name, { ballots, roll }] of ofCircuit) {
      if (isCounting(roll, time)) continue
      if ([...ballots.values()].every(({ until }) => time >= until)) ofCircuit.delete(name)
    }
    if (ofCircuit.size === 0) boxes.delete(circuit)
  }
}

export const rollCallsAfter = ({ log }: Votes, heard: number, most: number): ReadonlyArray<RollCall> => {
  const first = log.findIndex(({ seq }) => seq > heard)
  return first === -1 ? [] : log.slice(first, first + most).map(({ at: _, ...rollCall }) => rollCall)
}

const boxOf = ({ boxes }: Votes, { ballot, box, circuit, epoch }: Cast): MemoryBox | undefined => {
  const ofCircuit = boxes.get(circuit) ?? new Map<string, MemoryBox>()
  const known = ofCircuit.get(box)
  if (known?.epoch === epoch) return known
  ofCircuit.delete(box)
  if (ballot === undefined) return undefined
  const made: MemoryBox = { epoch, ballots: new Map(), asked: undefined, roll: undefined }
  boxes.set(circuit, ofCircuit.set(box, made))
  return made
}

const callRoll = (votes: Votes, { box, circuit, epoch, roll }: Cast, time: number): RollCall => {
  const prev = votes.head
  const seq = Math.max(prev + 1, Math.floor(time * 1_000))
  votes.head = seq
  const rollCall: RollCall = { seq, prev, circuit, epoch, box, term: Math.min(roll, limits.rollCallMillis) }
  votes.log.push({ ...rollCall, at: time })
  return rollCall
}

const tally = ({ register }: Votes, { asked, ballots, roll }: MemoryBox, time: number): StoredTally => {
  const sums: Array<number> = []
  for (const { numbers } of ballots.values()) {
    numbers.forEach((n, index) => {
      sums[index] = (sums[index] ?? 0) + n
    })
  }
  const counting = isCounting(roll, time) ? roll : undefined
  let heard = 0
  if (counting !== undefined) for (const voter of register.values()) if (voter.heard >= counting.seq) heard++
  return {
    voters: ballots.size,
    sums,
    asked: asked === undefined ? undefined : Math.max(0, time - asked),
    rolled: counting === undefined ? undefined : time - counting.at,
    abstained: Math.max(0, heard - ballots.size)
  }
}

/** Puts, renews or withdraws a ballot, and returns the tally of its box. The epoch of the cast is that of the record. */
export const castIn = (
  votes: Votes,
  cast: Cast,
  voter: string,
  time: number,
  announce: (change: Change) => void
): StoredTally => {
  const { ballot, circuit, epoch, inquire, roll, ttl } = cast
  const box = boxOf(votes, cast)
  if (box === undefined) return { voters: 0, sums: [], asked: undefined, rolled: undefined, abstained: 0 }
  box.ballots.delete(voter)
  for (const [other, { until }] of box.ballots) if (time >= until) box.ballots.delete(other)
  if (ballot !== undefined && votes.register.has(voter)) {
    box.ballots.set(voter, { numbers: ballot, until: time + ttl })
    if (inquire > 0 && (box.asked === undefined || time - box.asked >= inquire || time < box.asked)) {
      box.asked = time
      announce({ _tag: "Inquiry", circuit, epoch, box: cast.box })
    }
    if (roll > 0 && (!isCounting(box.roll, time) || time - box.roll.at >= roll)) {
      const rollCall = callRoll(votes, cast, time)
      box.roll = { seq: rollCall.seq, at: time, term: rollCall.term }
      announce({ _tag: "RollCall", ...rollCall })
    }
  }
  return tally(votes, box, time)
}
