import { remember } from "../../core/remember.ts"
import { limits, type RollCall } from "../SharedStore.ts"

/** Two stores have the same roll call of a box if their numbers, of microseconds, differ by no more than this. */
const sameMicros = 10_000_000

/** How many numbers of one log are remembered, and how many roll calls. */
const maxRemembered = 2_000

/** The roll calls and the head of the log that one store has answered or announced. */
export interface Heard {
  readonly index: number
  readonly rollCalls: ReadonlyArray<RollCall>
  /** `undefined` for an announcement. */
  readonly head: number | undefined
}

/** The number of a roll call in the log of one store (`own`), and in the common log (`seq`). */
interface Mark {
  readonly own: number
  readonly seq: number
}

interface Cursor {
  /** The greatest number that the store has answered or announced. */
  head: number
  /** Ascending by the store's own numbers. */
  marks: Array<Mark>
  /** How far the voter has heard, as this store was last told. */
  confirmed: number
  /** The life of the store to which this cursor belongs; empty until it is known. */
  life: string
  /** The last number in the common log before this life began: nothing up to it was heard in this life. */
  since: number
  /** Ballots did not reach this store. Until this time the store must not be told that the voter has heard more. */
  heldUntil: number
}

/** One roll call, with its form in each store that has it. */
interface RollCallGroup {
  readonly key: string
  readonly of: Map<number, RollCall>
}

const keyOf = ({ box, circuit, epoch }: RollCall): string => `${circuit} ${epoch} ${box}`

/**
 * The logs of several stores as one, with a cursor in each.
 *
 * The same roll call has a different number in each log. It gets one number in the common log when the first store answers it.
 * How far a voter has heard the common log is translated for each store. If the voter's ballots did not reach a store, that
 * store is not told that the voter has heard the roll calls, until they no longer count.
 */
export class Cursors {
  private readonly cursors: ReadonlyArray<Cursor>
  private readonly known = new Map<string, { readonly seq: number; readonly indexes: Set<number> }>()
  private readonly rollCalls = new Map<number, RollCall>()
  private last = 0
  /** The longest term of a roll call so far, but no less than half a minute. */
  private longestTerm = 30_000
  /** The greatest number that no store has given. */
  private ownLast = 0

  constructor(indexes: number) {
    this.cursors = Array.from({ length: indexes }, () => ({
      head: 0,
      marks: [],
      confirmed: 0,
      life: "",
      since: 0,
      heldUntil: -Infinity
    }))
  }

  /** The lives of all stores as one text. It changes when the life of any store changes. */
  get life(): string {
    return this.cursors
      .map(({ life }) => life)
      .filter((life) => life !== "")
      .sort()
      .join("_")
  }

  /** The life of one store if the voter knows it; otherwise an empty text. */
  lifeAt(index: number, known = ""): string {
    const life = this.cursors[index]?.life ?? ""
    return `_${known}_`.includes(`_${life}_`) ? life : ""
  }

  /** Remembers the life of a store. Returns whether the store has begun a new life, which invalidates what was known of it. */
  noteLife(index: number, life: string): boolean {
    const cursor = this.cursors[index]
    if (cursor === undefined || life === "" || life === cursor.life) return false
    const isAnother = cursor.life !== ""
    cursor.life = life
    cursor.confirmed = 0
    if (!isAnother) return false
    cursor.head = 0
    cursor.marks = []
    cursor.since = this.last
    // The store has lost the voter's ballots, so a roll call there is a new one, even if the other stores have it.
    for (const { indexes } of this.known.values()) indexes.add(index)
    return true
  }

  /** The `heard` to report to a store. */
  heardAt(index: number, heard: number, now: number): number {
    const cursor = this.cursors[index]
    if (cursor === undefined || heard <= cursor.since) return 0
    const { confirmed, heldUntil, marks } = cursor
    let own = heard
    // A number that this process does not know is passed on as it is, which is right if all stores number roll calls alike.
    if (this.rollCalls.has(heard) || marks.some(({ seq }) => seq === heard)) {
      const next = marks.findIndex(({ seq }) => seq > heard)
      own = marks.at(next === -1 ? -1 : next - 1)?.own ?? 0
      if (next === 0) own = 0
    }
    return now < heldUntil ? Math.min(own, confirmed) : own
  }

  confirm(index: number, heard: number): void {
    const cursor = this.cursors[index]
    if (cursor !== undefined) cursor.confirmed = heard
  }

  /** Ballots did not reach a store. */
  hold(index: number, now: number): void {
    const cursor = this.cursors[index]
    if (cursor !== undefined) cursor.heldUntil = now + this.longestTerm
  }

  /** Numbers the answers of stores to one exchange. Returns the roll calls after `heard`, and the head of the common log. */
  answered(all: ReadonlyArray<Heard>, heard: number) {
    this.number(all)
    // An answer may have only the first of many roll calls: the numbers after those are not given yet.
    const heads = all.map(({ head = 0, index }) => this.seqOf(index, head))
    const isWhole = ({ head = 0, rollCalls }: Heard) => head > 0 && rollCalls.length < limits.rollCalls
    this.last = Math.max(this.last, ...all.flatMap((one, i) => (isWhole(one) ? [heads[i] ?? 0] : [])))
    for (const { head = 0, index } of all.filter(isWhole)) {
      if (!this.cursors[index]?.marks.some(({ own }) => own === head)) this.mark(index, { own: head, seq: this.last })
    }
    const last = Math.max(this.last, ...heads)
    const seqs = all.flatMap(({ index, rollCalls }) =>
      rollCalls.flatMap(({ seq }) => this.cursors[index]?.marks.find(({ own }) => own === seq)?.seq ?? [])
    )
    const valid = heard > last ? 0 : heard
    const unheard = [...new Set(seqs)].filter((seq) => seq > valid).sort((a, b) => a - b)
    const rollCalls = unheard.slice(0, limits.rollCalls).flatMap((seq) => this.rollCalls.get(seq) ?? [])
    return { head: last, rollCalls }
  }

  announced(index: number, rollCall: RollCall): RollCall | undefined {
    this.number([{ index, rollCalls: [rollCall], head: undefined }])
    return this.rollCalls.get(this.seqOf(index, rollCall.seq))
  }

  /** Numbers the roll calls that have no number in the common log yet. */
  private number(all: ReadonlyArray<Heard>): void {
    const groups: Array<RollCallGroup> = []
    for (const { index, rollCalls } of all) {
      const marks = this.cursors[index]?.marks ?? []
      for (const rollCall of rollCalls) {
        this.longestTerm = Math.max(this.longestTerm, rollCall.term)
        if (marks.some(({ own, seq }) => own === rollCall.seq && this.rollCalls.has(seq))) continue
        const key = keyOf(rollCall)
        const known = this.known.get(key)
        const isSame = known !== undefined && Math.abs(known.seq - rollCall.seq) <= sameMicros
        if (isSame && !known.indexes.has(index)) {
          known.indexes.add(index)
          this.mark(index, { own: rollCall.seq, seq: known.seq })
          continue
        }
        const group = groups.find((one) => one.key === key && !one.of.has(index))
        if (group === undefined) groups.push({ key, of: new Map([[index, rollCall]]) })
        else group.of.set(index, rollCall)
      }
    }
    const latest = ({ of }: RollCallGroup) => Math.max(...[...of.values()].map(({ seq }) => seq))
    for (const group of groups.sort((a, b) => latest(a) - latest(b))) {
      const [rollCall] = group.of.values()
      if (rollCall === undefined) continue
      const own = latest(group)
      const isOwn = own > this.last || this.isAgreed(group, own)
      const seq = isOwn ? own : this.last + 1
      const prev = Math.max(...[...group.of].map(([index, one]) => this.seqOf(index, one.prev)))
      for (const [index, one] of group.of) this.mark(index, { own: one.seq, seq })
      this.last = Math.max(this.last, seq)
      if (!isOwn) this.ownLast = seq
      remember(this.rollCalls, seq, { ...rollCall, seq, prev: Math.min(prev, seq - 1) }, maxRemembered)
      remember(this.known, group.key, { seq, indexes: new Set(group.of.keys()) }, maxRemembered)
    }
  }

  /** Whether a roll call may keep the number `own`: each store gives it that number, or lacks it and has not answered that far. */
  private isAgreed({ of }: RollCallGroup, own: number): boolean {
    return (
      own > this.ownLast &&
      !this.rollCalls.has(own) &&
      this.cursors.every(({ head }, index) => of.get(index)?.seq === own || (!of.has(index) && head < own))
    )
  }

  private seqOf(index: number, own: number): number {
    return this.cursors[index]?.marks.find((mark) => mark.own === own)?.seq ?? own
  }

  private mark(index: number, mark: Mark): void {
    const cursor = this.cursors[index]
    if (cursor === undefined) return
    cursor.head = Math.max(cursor.head, mark.own)
    const others = cursor.marks.filter(({ own }) => own !== mark.own)
    const after = others.findIndex(({ own }) => own > mark.own)
    others.splice(after === -1 ? others.length : after, 0, mark)
    cursor.marks = others.slice(-maxRemembered)
  }
}
