import type { Cast, RollCall, StoredTally } from "../store/SharedStore.ts"

/**
 * The ballot boxes of one exchange, without a database.
 *
 * A box keeps the sums of its ballots, so the time of a cast does not depend on the number of voters. The sums are valid while no voter
 * has died and no ballot has ended since they were built; otherwise they are rebuilt from the ballots. A ballot counts if it has the
 * box's epoch and the present life of its voter, and had not ended when the sums were built.
 */

/** A row of the table of boxes. A time or number of 0 means that there is none. */
export interface BallotBox {
  readonly circuit: string
  readonly box: string
  readonly epoch: number
  readonly voters: number
  readonly sums: ReadonlyArray<number>
  readonly askedAt: number
  readonly rollSeq: number
  readonly rollAt: number
  readonly rollEndsAt: number
  /** The number of burials when the sums were built. */
  readonly burials: number
  readonly builtAt: number
  /** When the first of its ballots ends. */
  readonly validUntil: number
  /** When the last of its ballots and its roll call end. */
  readonly endsAt: number
}

/** A row of the table of ballots. A withdrawn ballot has ended and has no numbers. */
export interface VoterBallot {
  readonly circuit: string
  readonly box: string
  readonly epoch: number
  readonly life: number
  readonly numbers: ReadonlyArray<number> | undefined
  readonly endsAt: number
}

/** The facts and functions that all casts of an exchange share. */
export interface ExchangeFacts {
  readonly time: number
  readonly burials: number
  /** The number of the voter's life; `undefined` if it does not live. */
  readonly life: number | undefined
  /** How many live voters have heard a roll call. */
  readonly heard: (seq: number) => number
  readonly rollCall: (cast: Cast) => RollCall
  readonly inquiry: (cast: Cast) => void
}

const never = Number.MAX_SAFE_INTEGER

export const endOf = (time: number, millis: number): number => Math.min(never, time + Math.max(1, Math.ceil(millis)))

/** The numbers of a text; `undefined` if it contains anything else. */
export const numbersOf = (text: string): ReadonlyArray<number> | undefined => {
  const numbers = text.split(",").map(Number)
  return text !== "" && numbers.every((n) => Number.isSafeInteger(n) && n >= 0) ? numbers : undefined
}

const plus = (sums: ReadonlyArray<number>, numbers: ReadonlyArray<number>, sign: 1 | -1): ReadonlyArray<number> =>
  Array.from({ length: Math.max(sums.length, numbers.length) }, (_, i) => (sums[i] ?? 0) + sign * (numbers[i] ?? 0))

const keyOf = ({ box, circuit }: { readonly box: string; readonly circuit: string }): string => `${circuit} ${box}`

export class BallotBoxes {
  private readonly boxes = new Map<string, BallotBox>()
  private readonly own = new Map<string, VoterBallot>()
  private readonly changed = new Set<string>()
  private readonly facts: ExchangeFacts

  /** `own` are the ballots of the voter. */
  constructor(facts: ExchangeFacts, boxes: ReadonlyArray<BallotBox>, own: ReadonlyArray<VoterBallot>) {
    this.facts = facts
    for (const box of boxes) this.boxes.set(keyOf(box), box)
    for (const ballot of own) this.own.set(keyOf(ballot), ballot)
  }

  /** Whether the sums of the cast's box must be rebuilt. */
  isStale(cast: Cast): boolean {
    const box = this.boxes.get(keyOf(cast))
    if (box === undefined || box.epoch !== cast.epoch) return false
    const { burials, time } = this.facts
    return box.burials !== burials || time < box.builtAt || time >= box.validUntil
  }

  /** Rebuilds the sums of the casts' boxes from the ballots that count. */
  rebuild(casts: ReadonlyArray<Cast>, counting: ReadonlyArray<VoterBallot>): void {
    const { burials, time } = this.facts
    const made = new Map<string, BallotBox>()
    for (const cast of casts) {
      const box = this.boxes.get(keyOf(cast))
      if (box === undefined) continue
      made.set(keyOf(cast), { ...box, voters: 0, sums: [], burials, builtAt: time, validUntil: never })
    }
    for (const ballot of counting) {
      const box = made.get(keyOf(ballot))
      if (box !== undefined && ballot.epoch === box.epoch) made.set(keyOf(ballot), this.with(box, ballot))
    }
    for (const [key, box] of made) this.boxes.set(key, box)
  }

  /** Puts, renews or withdraws the ballot of the voter, and returns the tally of its box. */
  cast(cast: Cast): StoredTally {
    const { ballot, box: name, circuit, epoch, inquire, roll, ttl } = cast
    const { life, time } = this.facts
    const key = keyOf(cast)
    const known = this.boxes.get(key)
    const isKnown = known?.epoch === epoch
    if (!isKnown && ballot === undefined) {
      return { voters: 0, sums: [], asked: undefined, rolled: undefined, abstained: 0 }
    }
    let box = this.without(isKnown ? known : this.empty(cast))
    if (ballot !== undefined && life !== undefined) {
      const put: VoterBallot = { circuit, box: name, epoch, life, numbers: ballot, endsAt: endOf(time, ttl) }
      this.own.set(key, put)
      box = this.with(box, put)
      if (inquire > 0 && isDue(box.askedAt, time, inquire)) {
        box = { ...box, askedAt: time }
        this.facts.inquiry(cast)
      }
      if (roll > 0 && (!isCounting(box, time) || time - box.rollAt >= roll)) {
        const { seq, term } = this.facts.rollCall(cast)
        const rollEndsAt = time + term
        box = { ...box, rollSeq: seq, rollAt: time, rollEndsAt, endsAt: Math.max(box.endsAt, rollEndsAt) }
      }
    } else if (this.own.has(key)) {
      this.own.set(key, { circuit, box: name, epoch, life: 0, numbers: undefined, endsAt: 0 })
    }
    this.boxes.set(key, box)
    this.changed.add(key)
    return this.tally(box)
  }

  /** The boxes and ballots to write, except those of swapped circuits. */
  written(isSwapped: (circuit: string) => boolean) {
    const keys = [...this.changed].filter((key) => !isSwapped(key.slice(0, key.indexOf(" "))))
    const of = <A>(map: ReadonlyMap<string, A>) => keys.flatMap((key) => map.get(key) ?? [])
    return { boxes: of(this.boxes), ballots: of(this.own) }
  }

  private empty({ box, circuit, epoch }: Cast): BallotBox {
    const { burials, time } = this.facts
    const none = { voters: 0, sums: [], askedAt: 0, rollSeq: 0, rollAt: 0, rollEndsAt: 0 }
    return { circuit, box, epoch, ...none, burials, builtAt: time, validUntil: never, endsAt: 0 }
  }

  private with(box: BallotBox, { endsAt, numbers }: VoterBallot): BallotBox {
    if (numbers === undefined) return box
    return {
      ...box,
      voters: box.voters + 1,
      sums: plus(box.sums, numbers, 1),
      validUntil: Math.min(box.validUntil, endsAt),
      endsAt: Math.max(box.endsAt, endsAt)
    }
  }

  private without(box: BallotBox): BallotBox {
    const ballot = this.own.get(keyOf(box))
    const { life } = this.facts
    const counts =
      ballot?.numbers !== undefined && ballot.epoch === box.epoch && ballot.life === life && ballot.endsAt > box.builtAt
    return counts ? { ...box, voters: box.voters - 1, sums: plus(box.sums, ballot.numbers, -1) } : box
  }

  private tally(box: BallotBox): StoredTally {
    const { askedAt, rollAt, rollSeq, sums, voters } = box
    const { heard, time } = this.facts
    const counts = isCounting(box, time)
    return {
      voters,
      sums: voters === 0 ? [] : sums,
      asked: askedAt === 0 ? undefined : Math.max(0, time - askedAt),
      rolled: counts ? time - rollAt : undefined,
      abstained: counts ? Math.max(0, heard(rollSeq) - voters) : 0
    }
  }
}

/** Whether the latest roll call counts. It does not if the clock has gone back to before it. */
const isCounting = ({ rollAt, rollEndsAt }: BallotBox, time: number): boolean => time >= rollAt && time < rollEndsAt

/** A time in the future comes from a clock that has gone back. */
const isDue = (last: number, time: number, millis: number): boolean =>
  last === 0 || last > time || time - last >= millis
