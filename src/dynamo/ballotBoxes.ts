/**
 * The item of a circuit stores its ballot boxes as one text: `[[box, epoch, asked, [seq, at, term], [[voter, life, until, ...numbers]]]]`.
 * Every cast writes the whole item. With more voters, the item is larger.
 */

/** A ballot counts until its voter's life ends. */
export interface Ballot {
  readonly life: string
  readonly until: number
  readonly numbers: ReadonlyArray<number>
}

export interface Box {
  /** The ballots are about the record with this epoch. */
  readonly epoch: number
  readonly ballots: ReadonlyMap<string, Ballot>
  readonly asked: number | undefined
  readonly roll: { readonly seq: number; readonly at: number; readonly term: number } | undefined
}

export interface BoxChange {
  readonly epoch: number
  readonly voter: string
  /** `undefined` removes the ballot of the voter. */
  readonly ballot: Ballot | undefined
  readonly asked: Box["asked"]
  readonly roll: Box["roll"]
}

/** Applies a change to a box. `time` is the time of the change. */
export const changedBox = (
  box: Box | undefined,
  { asked, ballot, epoch, roll, voter }: BoxChange,
  time: number
): Box => {
  const ballots = new Map(box?.epoch === epoch ? box.ballots : [])
  for (const [other, { until }] of ballots) if (time >= until) ballots.delete(other)
  ballots.delete(voter)
  if (ballot !== undefined) ballots.set(voter, ballot)
  return { epoch, ballots, asked, roll }
}

export const isWhole = (n: unknown): n is number => typeof n === "number" && Number.isSafeInteger(n) && n >= 0

export const ballotTuple = ({ life, numbers, until }: Ballot) => [life, until, ...numbers]

export const ballotFrom = (found: unknown): Ballot | undefined => {
  if (!Array.isArray(found)) return undefined
  const [life, until, ...numbers] = found
  return typeof life === "string" && isWhole(until) && numbers.every(isWhole) ? { life, until, numbers } : undefined
}

const votedFrom = (found: unknown): readonly [string, Ballot] | undefined => {
  if (!Array.isArray(found)) return undefined
  const [voter, ...rest] = found
  const ballot = ballotFrom(rest)
  return typeof voter === "string" && ballot !== undefined ? [voter, ballot] : undefined
}

export const rollFrom = (found: unknown): Box["roll"] => {
  if (!Array.isArray(found)) return undefined
  const [seq, at, term] = found
  return isWhole(seq) && isWhole(at) && isWhole(term) ? { seq, at, term } : undefined
}

const boxFrom = (found: unknown): readonly [string, Box] | undefined => {
  if (!Array.isArray(found)) return undefined
  const [name, epoch, asked, roll, ballots] = found
  if (typeof name !== "string" || !isWhole(epoch) || !Array.isArray(ballots)) return undefined
  const all = ballots.map(votedFrom)
  if (all.some((one) => one === undefined)) return undefined
  return [
    name,
    {
      epoch,
      asked: isWhole(asked) ? asked : undefined,
      roll: rollFrom(roll),
      ballots: new Map(all.filter((one) => one !== undefined))
    }
  ]
}

export const parsed = (text: string | undefined): unknown => {
  try {
    return text === undefined ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * Reads the boxes of an item. If one box is unreadable, the result is empty. This is safe, because missing ballots cannot open a circuit.
 */
export const boxesFrom = (text: string | undefined): ReadonlyMap<string, Box> => {
  const found = parsed(text)
  const all = Array.isArray(found) ? found.map(boxFrom) : []
  return all.some((one) => one === undefined) ? new Map() : new Map(all.filter((one) => one !== undefined))
}

export const rollTuple = (roll: Box["roll"]) => (roll === undefined ? null : [roll.seq, roll.at, roll.term])

export const boxesText = (boxes: ReadonlyMap<string, Box>): string =>
  JSON.stringify(
    Array.from(boxes, ([name, { asked, ballots, epoch, roll }]) => [
      name,
      epoch,
      asked ?? null,
      rollTuple(roll),
      Array.from(ballots, ([voter, ballot]) => [voter, ...ballotTuple(ballot)])
    ])
  )
