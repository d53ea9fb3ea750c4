import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import {
  type Changed,
  type DigestsAnswer,
  type LoadAnswer,
  limits,
  type PageAnswer,
  StoreError
} from "../SharedStore.ts"
import { isAgreed, type Kept, majority, toChanged, toStored, unwrap } from "./records.ts"
import type { Regions } from "./regions.ts"

/** The records of some circuits in one store. */
export interface View {
  readonly index: number
  readonly kept: ReadonlyMap<string, Kept | undefined>
  /** The epoch of each record in this store; 0 if there is none. */
  readonly own: ReadonlyMap<string, number>
}

export const none = (operation: StoreError["operation"]) =>
  Effect.fail(new StoreError({ operation, cause: new Error("none of the stores can be reached") }))

export const largest = (numbers: ReadonlyArray<number>): number => Math.max(0, ...numbers)

/** The epoch up to which the pages show all changes: a store whose page is full may have more changes after it. */
export const endOf = (pages: ReadonlyArray<PageAnswer>, most: number): number =>
  Math.min(...pages.map(({ changes }) => (changes.length < most ? Infinity : (changes.at(-1)?.epoch ?? Infinity))))

/** Reads all stores as if they were one. */
export class QuorumReads {
  private readonly regions: Regions

  constructor(regions: Regions) {
    this.regions = regions
  }

  load(circuits: ReadonlyArray<string>): Effect.Effect<LoadAnswer, StoreError> {
    return Effect.flatMap(this.look(circuits), (views) => {
      if (views.length === 0) return none("load")
      return Effect.succeed({
        time: this.regions.wall(),
        records: circuits.map((circuit) => toStored(this.holding(circuit, views)))
      })
    })
  }

  page(since: number, limit: number): Effect.Effect<PageAnswer, StoreError> {
    const most = Math.min(limit, limits.page)
    const next = (from: number, found: ReadonlyArray<Changed>): Effect.Effect<PageAnswer, StoreError> =>
      Effect.flatMap(this.pageAfter(from, most), (pages) => {
        if (pages.length === 0) return none("page")
        if (new Set(pages.map(({ listed }) => listed)).size > 1) this.regions.startComparison()
        const end = endOf(pages, most)
        return Effect.flatMap(this.agree(pages, since, end), (agreed) => {
          const changes = [...found, ...agreed.filter(({ epoch }) => epoch > (found.at(-1)?.epoch ?? since))]
          if (changes.length < most && end < Infinity && end > from) return next(end, changes)
          return Effect.succeed({
            time: this.regions.wall(),
            live: largest(pages.map(({ live }) => live)),
            life: this.regions.cursors.life,
            epoch: largest(pages.map(({ epoch }) => epoch)),
            trimmed: largest(pages.map(({ trimmed }) => trimmed)),
            listed: largest(pages.map(({ listed }) => listed)),
            changes: changes.slice(0, most)
          })
        })
      })
    return next(since, [])
  }

  /**
   * The digests in each store in turn: a process may not reach all of them. `after` consists of the number of the store, whether a store has
   * answered yet, and what the store itself is asked for.
   */
  digests(after: string): Effect.Effect<DigestsAnswer, StoreError> {
    const [, number = "0", answered = "0", own = ""] = /^(\d+) ([01]) (.*)$/s.exec(after) ?? []
    const index = Number(number)
    const region = this.regions.all[index]
    if (region === undefined) return none("digests")
    return Effect.flatMap(
      region.ask((store) => store.digests(own)),
      (reply): Effect.Effect<DigestsAnswer, StoreError> => {
        const { digests, next } = reply?.value ?? { digests: [], next: undefined }
        const hasAnswered = answered === "1" || reply !== undefined ? 1 : 0
        if (next !== undefined) return this.digestsAnswer(digests, `${index} ${hasAnswered} ${next}`)
        if (index + 1 < this.regions.all.length) return this.digestsAnswer(digests, `${index + 1} ${hasAnswered} `)
        return hasAnswered === 0 ? none("digests") : this.digestsAnswer(digests, undefined)
      }
    )
  }

  private digestsAnswer(digests: DigestsAnswer["digests"], next: string | undefined): Effect.Effect<DigestsAnswer> {
    return Effect.sync(() => ({ time: this.regions.wall(), digests, next }))
  }

  pageAfter(since: number, limit: number): Effect.Effect<ReadonlyArray<PageAnswer & { readonly index: number }>> {
    return this.regions.ask(
      (store) => store.page(since, limit),
      (page, index) => {
        this.regions.noteLife(index, page.life)
        return { ...page, index }
      }
    )
  }

  /** Merges the pages of several stores, up to an epoch. */
  agree(
    pages: ReadonlyArray<PageAnswer & { readonly index: number }>,
    since: number,
    end: number
  ): Effect.Effect<ReadonlyArray<Changed>, StoreError> {
    const found = new Map<string, Array<{ readonly kept: Kept | undefined; readonly change: Changed }>>()
    for (const { changes, index } of pages) {
      for (const change of changes) {
        if (change.epoch > end) continue
        const kept = unwrap(change.record)
        if (change.record !== undefined) this.regions.remember(index, change.circuit, kept)
        const all = found.get(change.circuit) ?? []
        all.push({ kept, change })
        found.set(change.circuit, all)
      }
    }
    const agreed: Array<Changed> = []
    const disputed: Array<string> = []
    for (const [circuit, all] of found) {
      const kept = all.map((one) => one.kept)
      const [first] = all
      if (all.length < pages.length || !isAgreed(kept) || first === undefined) disputed.push(circuit)
      else if (first.kept !== undefined) agreed.push(toChanged(circuit, first.kept))
      else agreed.push({ ...first.change, record: undefined })
    }
    const batches = Arr.chunksOf(disputed, limits.load)
    return Effect.map(
      Effect.forEach(batches, (circuits) => this.look(circuits), { concurrency: 8 }),
      (looks) => {
        looks.forEach((views, i) => {
          for (const circuit of batches[i] ?? []) {
            const kept = this.holding(circuit, views)
            if (kept !== undefined) agreed.push(toChanged(circuit, kept))
          }
        })
        return agreed.filter(({ epoch }) => epoch > since && epoch <= end).sort((a, b) => a.epoch - b.epoch)
      }
    )
  }

  /** The records of some circuits in each reachable store. */
  look(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<View>> {
    return this.regions.ask(
      (store) => store.load(circuits),
      ({ records, time }, index): View => {
        this.regions.noteTime(index, time)
        const kept = new Map(circuits.map((circuit, i) => [circuit, unwrap(records[i])]))
        for (const [circuit, one] of kept) this.regions.remember(index, circuit, one)
        return { index, kept, own: new Map(circuits.map((circuit, i) => [circuit, records[i]?.epoch ?? 0])) }
      }
    )
  }

  /** The record that most stores have. */
  holding(circuit: string, views: ReadonlyArray<View>): Kept | undefined {
    const kept = views.map((view) => view.kept.get(circuit))
    if (!isAgreed(kept)) this.regions.dispute(circuit)
    return majority(kept)
  }
}
