/** The parts of a memory store beside its records: the register, the log of roll calls, and the ballot boxes. Plain data, to be copied. */

interface Called {
  readonly seq: number
  readonly prev: number
  readonly circuit: string
  readonly epoch: number
  readonly box: string
  readonly term: number
}

interface BallotCast {
  readonly circuit: string
  readonly epoch: number
  readonly box: string
  readonly ballot: ReadonlyArray<number> | undefined
  readonly ttl: number
  readonly inquire: number
  readonly roll: number
}

interface Box {
  readonly epoch: number
  readonly ballots: Map<string, { readonly numbers: ReadonlyArray<number>; readonly until: number }>
  asked: number | undefined
  roll: { readonly seq: number; readonly at: number; readonly term: number } | undefined
}

type Announcement =
  | { readonly _tag: "Inquiry"; readonly circuit: string; readonly epoch: number; readonly box: string }
  | ({ readonly _tag: "RollCall" } & Called)

/** The voters that live, the log of roll calls, and the boxes by circuit and name. */
export interface Votes {
  readonly register: Map<string, { readonly until: number; readonly heard: number }>
  readonly log: Array<Called & { readonly at: number }>
  readonly boxes: Map<string, Map<string, Box>>
  head: number
}

export const noVotes = (): Votes => ({ register: new Map(), log: [], boxes: new Map(), head: 0 })

/** How much longer than its term the log keeps a roll call, and the longest term. */
export interface Bounds {
  readonly logMillis: number
  readonly rollCallMillis: number
}

export const liveAt = ({ register }: Votes, time: number): number => {
  let live = 0
  for (const { until } of register.values()) if (time < until) live++
  return live
}

/** Removes the voters that no longer live, with all of their ballots, and the roll calls that are too old. */
export const bury = ({ boxes, log, register }: Votes, time: number, { logMillis }: Bounds): void => {
  for (const [voter, { until }] of register) {
    if (time < until) continue
    register.delete(voter)
    for (const ofCircuit of boxes.values()) for (const box of ofCircuit.values()) box.ballots.delete(voter)
  }
  const first = log.findIndex(({ at, term }) => time - at < term + logMillis)
  log.splice(0, first === -1 ? log.length : first)
}

/** Whether a roll call counts. If the clock went back behind it, it does not. */
const isCounting = (roll: Box["roll"], time: number): roll is NonNullable<Box["roll"]> =>
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

/** The roll calls after `heard`, at most `most` of them. */
export const rollCallsAfter = ({ log }: Votes, heard: number, most: number): ReadonlyArray<Called> => {
  const first = log.findIndex(({ seq }) => seq > heard)
  return first === -1 ? [] : log.slice(first, first + most).map(({ at: _, ...rollCall }) => rollCall)
}

const boxOf = ({ boxes }: Votes, { ballot, box, circuit, epoch }: BallotCast): Box | undefined => {
  const ofCircuit = boxes.get(circuit) ?? new Map<string, Box>()
  const known = ofCircuit.get(box)
  if (known?.epoch === epoch) return known
  ofCircuit.delete(box)
  if (ballot === undefined) return undefined
  const made: Box = { epoch, ballots: new Map(), asked: undefined, roll: undefined }
  boxes.set(circuit, ofCircuit.set(box, made))
  return made
}

const callRoll = (
  votes: Votes,
  { box, circuit, epoch, roll }: BallotCast,
  time: number,
  { rollCallMillis }: Bounds
): Called => {
  const prev = votes.head
  const seq = Math.max(prev + 1, Math.floor(time * 1_000))
  votes.head = seq
  const rollCall: Called = { seq, prev, circuit, epoch, box, term: Math.min(roll, rollCallMillis) }
  votes.log.push({ ...rollCall, at: time })
  return rollCall
}

const tally = ({ register }: Votes, { asked, ballots, roll }: Box, time: number) => {
  const sums: Array<number> = []
  for (const { numbers } of ballots.values()) {
    numbers.forEach((n, place) => {
      sums[place] = (sums[place] ?? 0) + n
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

/** Puts, renews or withdraws a ballot of the epoch that holds, and adds up what is in its box. */
export const castIn = (
  votes: Votes,
  cast: BallotCast,
  voter: string,
  time: number,
  bounds: Bounds,
  announce: (announcement: Announcement) => void
) => {
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
      const rollCall = callRoll(votes, cast, time, bounds)
      box.roll = { seq: rollCall.seq, at: time, term: rollCall.term }
      announce({ _tag: "RollCall", ...rollCall })
    }
  }
  return tally(votes, box, time)
}
