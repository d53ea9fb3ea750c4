/**
 * The ballot boxes of one circuit are one text in its item: `[[box, epoch, asked, [seq, at, term], [[voter, life, until, ...numbers]]]]`.
 * Every cast replaces the item, so that its size is that of the ballots of all voters.
 */

/** A ballot counts while its voter lives the same life. */
export interface Ballot {
  readonly life: string
  readonly until: number
  readonly numbers: ReadonlyArray<number>
}

export interface Box {
  /** The epoch of the record that its ballots are about. */
  readonly epoch: number
  readonly ballots: ReadonlyMap<string, Ballot>
  readonly asked: number | undefined
  readonly roll: { readonly seq: number; readonly at: number; readonly term: number } | undefined
}

/** What one exchange changed in a box. */
export interface BoxChange {
  readonly epoch: number
  readonly voter: string
  /** `undefined` if the voter has no ballot. */
  readonly ballot: Ballot | undefined
  readonly asked: Box["asked"]
  readonly roll: Box["roll"]
}

/** The box after a change that was made at `time`. */
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

const ballotFrom = (found: unknown): readonly [string, Ballot] | undefined => {
  if (!Array.isArray(found)) return undefined
  const [voter, life, until, ...numbers] = found
  return typeof voter === "string" && typeof life === "string" && isWhole(until) && numbers.every(isWhole)
    ? [voter, { life, until, numbers }]
    : undefined
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
  const all = ballots.map(ballotFrom)
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

/** The boxes in an item. If one of them cannot be read, all are dropped with their ballots: fewer ballots cannot open a circuit. */
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
      Array.from(ballots, ([voter, { life, numbers, until }]) => [voter, life, until, ...numbers])
    ])
  )
