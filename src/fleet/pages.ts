import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Fleet from "../core/Fleet.ts"
import type { KnownRecord } from "../engine/fleetState.ts"
import { fromBody, fromCircuitId } from "../store/codec.ts"
import { isLift } from "../store/record.ts"
import { type Changed, limits, type PageAnswer } from "../store/SharedStore.ts"
import type { FleetContext } from "./context.ts"
import type { Records } from "./records.ts"

/** A full pass begins after this many differing counts of listed circuits in a row. A record that just ended causes one. */
const differencesForPass = 2

/**
 * Reads the changes of the store, page by page. After a failed read it continues with the page that failed. A full pass reads all
 * listed records: at the start, and when the store has dropped or lost changes.
 */
export class Pages {
  private readonly context: FleetContext
  private readonly records: Records
  /** The listed circuits that were read, by circuit id, each with the time at which the store drops it. */
  private readonly listed = new Map<string, number>()
  /** All changes up to this epoch have been read, in this life of the store. The life is empty until the first page. */
  private since = 0
  private life = ""
  /** The circuits that the full pass has found so far; `undefined` if no full pass is running. */
  private found: Set<string> | undefined = new Set()
  private differences = 0
  /** Counts failed reads in a row. `trouble` is the reason of the last failure. */
  misses = 0
  trouble = ""

  constructor(context: FleetContext, records: Records) {
    this.context = context
    this.records = records
  }

  /** Reads all pages. Returns whether the store answered every time. */
  get read(): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const { epoch } = this.context
      const askedAt = this.context.now()
      return Effect.flatMap(
        this.context.client.read((store) => store.page(this.since, limits.page)),
        (page) => {
          if (page === undefined || !isSound(page, this.since)) {
            this.misses++
            this.trouble = page === undefined ? this.context.client.trouble : "the store returned an invalid page"
            return Effect.succeed(false)
          }
          this.misses = 0
          // The store has lost everything or its latest writes, or dropped changes that this process has not read.
          const isAnother = this.life !== "" && page.life !== this.life
          const hasLost = isAnother || page.epoch < epoch
          this.life = page.life
          if (hasLost) this.context.epoch = page.epoch
          else this.context.noteEpoch(page.epoch)
          if (hasLost || (this.found === undefined && this.since < page.trimmed)) {
            this.beginFullPass()
            return this.read
          }
          return Effect.andThen(
            this.apply(page, askedAt),
            page.changes.length < limits.page ? this.end(page) : this.read
          )
        }
      )
    })
  }

  private beginFullPass(): void {
    this.since = 0
    this.found = new Set()
    this.differences = 0
  }

  private apply({ changes }: PageAnswer, askedAt: number): Effect.Effect<void> {
    return Effect.forEach(
      changes,
      (change) => {
        this.since = change.epoch
        this.found?.add(change.circuit)
        return Effect.map(this.learn(change, askedAt), () => this.note(change))
      },
      { discard: true }
    )
  }

  private learn({ circuit: id, listed, record }: Changed, askedAt: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { context, records } = this
      const which = fromCircuitId(id)
      if (which === undefined) return Effect.void
      const isListed = listed && record !== undefined
      const known = context.registry.peek(which.name, which.key)
      const circuit = known ?? (isListed ? context.registry.own(which.name, which.key, context.policies) : undefined)
      if (circuit === undefined || (!isListed && !context.knows(circuit))) return Effect.void
      return records.learn(circuit, record, askedAt)
    })
  }

  private note({ circuit: id, listed, record }: Changed): void {
    if (!listed || record === undefined) {
      this.listed.delete(id)
      return
    }
    const { registry } = this.context
    const which = fromCircuitId(id)
    const known = which === undefined ? undefined : registry.peek(which.name, which.key)?.fleetState?.record.known
    if (known?.epoch === record.epoch) {
      this.listed.set(id, known.keptUntil)
      return
    }
    const writtenAt = this.context.now() - record.age
    const read = fromBody(record.body, writtenAt)
    const kept = read === undefined ? undefined : Fleet.keptFor(read.circuit, writtenAt, isLift(read.provenance.why))
    this.listed.set(id, writtenAt + (kept ?? Infinity))
  }

  /**
   * Adds the listed circuits that this process knows from announcements or wrote itself, and that no page contained. If the store has
   * lost them, the counts differ.
   */
  private noteKnown(epoch: number, now: number): void {
    const { context } = this
    for (const circuit of context.shared) {
      const known = circuit.fleetState?.record.known
      if (known === undefined || known.epoch === 0 || known.epoch > epoch || now >= known.keptUntil) continue
      const id = context.idOf(circuit)
      if (!this.listed.has(id) && Fleet.isListed(known.circuit, now)) this.listed.set(id, known.keptUntil)
    }
  }

  /** Runs after the last page. */
  private end(page: PageAnswer): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const { found } = this
      this.since = Math.max(this.since, page.epoch)
      this.found = undefined
      if (found !== undefined) {
        for (const id of this.listed.keys()) if (!found.has(id)) this.listed.delete(id)
        return this.loadMissing(found)
      }
      const now = this.context.now()
      this.noteKnown(page.epoch, now)
      for (const [id, keptUntil] of this.listed) if (now >= keptUntil) this.listed.delete(id)
      this.differences = this.listed.size === page.listed ? 0 : this.differences + 1
      if (this.differences >= differencesForPass) this.beginFullPass()
      return Effect.succeed(true)
    })
  }

  /** Loads the records that this process knows and the full pass has not found. */
  private loadMissing(found: ReadonlySet<string>): Effect.Effect<boolean> {
    return this.load((id, { epoch }) => epoch > 0 && !found.has(id))
  }

  /** Loads the records that the store must have dropped by now. */
  get loadEnded(): Effect.Effect<boolean> {
    return Effect.suspend(() => {
      const now = this.context.now()
      return this.load((_, { epoch, keptUntil }) => epoch > 0 && now >= keptUntil)
    })
  }

  private load(which: (id: string, known: KnownRecord) => boolean): Effect.Effect<boolean> {
    const { context, records } = this
    const ids = [...context.shared].flatMap((circuit) => {
      const known = circuit.fleetState?.record.known
      const id = context.idOf(circuit)
      return known !== undefined && which(id, known) ? [id] : []
    })
    return Effect.map(
      Effect.forEach(Arr.chunksOf(ids, limits.load), (part) => records.loadAll(part)),
      (read) => read.every((one) => one)
    )
  }
}

/** If epochs did not ascend, reading would never end. */
const isSound = ({ changes, epoch, trimmed }: PageAnswer, since: number): boolean =>
  Number.isSafeInteger(epoch) &&
  Number.isSafeInteger(trimmed) &&
  changes.every((one, index) => Number.isSafeInteger(one.epoch) && one.epoch > (changes[index - 1]?.epoch ?? since))
