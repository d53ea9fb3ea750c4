import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import {
  type Cast,
  type Change,
  type Changed,
  type Exchange,
  type ExchangeAnswer,
  type LoadAnswer,
  limits,
  type Page,
  StoreError,
  type Swap,
  type SwapAnswer
} from "../SharedStore.ts"
import { endOf, largest, sumUp } from "./answers.ts"
import { bounded, maxRemembered } from "./bounded.ts"
import { Cursors } from "./cursors.ts"
import { epochOf, isAgreed, type Kept, majority, toChanged, toStored, unwrap, wrap, written } from "./kept.ts"
import { listener } from "./listener.ts"
import type { Region } from "./region.ts"

/** An epoch is this far ahead of the clocks of the stores, so that none gives a greater one before it is written. */
const aheadMicros = 1_000_000

type Done = ExchangeAnswer & { readonly _tag: "Done" }

/** The answer of the store at a place. */
type Placed = Done & { readonly index: number }

/** No record has it. */
const noEpoch = -1

/** What one store has of some circuits. */
interface View {
  readonly index: number
  readonly region: Region
  readonly kept: ReadonlyMap<string, Kept | undefined>
  /** The epoch of each record in this store; 0 if there is none. */
  readonly own: ReadonlyMap<string, number>
}

/** A swap that finds the epoch that it expects, in most stores. */
interface Allowed {
  readonly swap: Swap
  readonly epoch: number
  readonly body: string
}

const none = (operation: StoreError["operation"]) =>
  Effect.fail(new StoreError({ operation, cause: new Error("none of the stores can be reached") }))

const every = { concurrency: "unbounded" } as const

export class Quorum {
  private readonly regions: ReadonlyArray<Region>
  private readonly wall: () => number
  private readonly random: () => number
  private readonly cursors: Cursors
  /** For each store, by circuit: the record's epoch in that store (`own`), and its epoch in all stores. */
  private readonly epochs: ReadonlyArray<Map<string, { readonly own: number; readonly epoch: number }>>
  /** The clock of each store less that of this process. */
  private readonly offsets: Array<number | undefined>
  /** Circuits whose records differed between the stores. The next heartbeat makes them agree. */
  private readonly disputed = new Set<string>()
  /** How far a comparison of all records has come, by epoch. It runs after the stores had different numbers of listed records. */
  private compared: number | undefined
  private agreeing = false

  constructor(regions: ReadonlyArray<Region>, wall: () => number, random: () => number) {
    this.regions = regions
    this.wall = wall
    this.random = random
    this.cursors = new Cursors(regions.length)
    this.epochs = regions.map(() => new Map())
    this.offsets = regions.map(() => undefined)
  }

  // ---- Reads --------------------------------------------------------------------------------------------------------

  load(circuits: ReadonlyArray<string>): Effect.Effect<LoadAnswer, StoreError> {
    return Effect.flatMap(this.look(circuits), (views) => {
      if (views.length === 0) return none("load")
      return Effect.succeed({
        time: this.wall(),
        records: circuits.map((circuit) => toStored(this.holding(circuit, views)))
      })
    })
  }

  page(since: number, limit: number): Effect.Effect<Page, StoreError> {
    const most = Math.min(limit, limits.page)
    const next = (from: number, found: ReadonlyArray<Changed>): Effect.Effect<Page, StoreError> =>
      Effect.flatMap(this.pageAfter(from, most), (pages) => {
        if (pages.length === 0) return none("page")
        if (new Set(pages.map(({ listed }) => listed)).size > 1) this.compared ??= 0
        const end = endOf(pages, most)
        return Effect.flatMap(this.agree(pages, since, end), (agreed) => {
          const changes = [...found, ...agreed.filter(({ epoch }) => epoch > (found.at(-1)?.epoch ?? since))]
          if (changes.length < most && end < Infinity && end > from) return next(end, changes)
          return Effect.succeed({
            time: this.wall(),
            live: largest(pages.map(({ live }) => live)),
            life: this.cursors.life,
            epoch: largest(pages.map(({ epoch }) => epoch)),
            trimmed: largest(pages.map(({ trimmed }) => trimmed)),
            listed: largest(pages.map(({ listed }) => listed)),
            changes: changes.slice(0, most)
          })
        })
      })
    return next(since, [])
  }

  private pageAfter(since: number, limit: number): Effect.Effect<ReadonlyArray<Page & { readonly index: number }>> {
    const asked = Effect.forEach(this.regions, (region) => region.ask((store) => store.page(since, limit)), every)
    return Effect.map(asked, (replies) =>
      replies.flatMap((reply, index) => {
        if (reply !== undefined) this.noteLife(index, reply.value.life)
        return reply === undefined ? [] : [{ ...reply.value, index }]
      })
    )
  }

  /** The changes of several pages as those of one store, up to an epoch. */
  private agree(
    pages: ReadonlyArray<Page & { readonly index: number }>,
    since: number,
    end: number
  ): Effect.Effect<ReadonlyArray<Changed>, StoreError> {
    const found = new Map<string, Array<{ readonly kept: Kept | undefined; readonly change: Changed }>>()
    for (const { changes, index } of pages) {
      for (const change of changes) {
        if (change.epoch > end) continue
        const kept = unwrap(change.record)
        if (change.record !== undefined) this.remember(index, change.circuit, kept)
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
    const batches = Array.from({ length: Math.ceil(disputed.length / limits.load) }, (_, i) =>
      disputed.slice(i * limits.load, (i + 1) * limits.load)
    )
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

  /** What each store that can be reached has of some circuits. */
  private look(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<View>> {
    const inOne = (region: Region, index: number) =>
      Effect.map(
        region.ask((store) => store.load(circuits)),
        (answer): ReadonlyArray<View> => {
          if (answer === undefined) return []
          const { records, time } = answer.value
          this.noteTime(index, time)
          const kept = circuits.map((circuit, i) => [circuit, unwrap(records[i])] as const)
          for (const [circuit, one] of kept) this.remember(index, circuit, one)
          const own = new Map(circuits.map((circuit, i) => [circuit, records[i]?.epoch ?? 0]))
          return [{ index, region, kept: new Map(kept), own }]
        }
      )
    return Effect.map(Effect.forEach(this.regions, inOne, every), (views) => views.flat())
  }

  /** What most stores have of a circuit. */
  private holding(circuit: string, views: ReadonlyArray<View>): Kept | undefined {
    const kept = views.map((view) => view.kept.get(circuit))
    if (!isAgreed(kept) && this.disputed.size < maxRemembered) this.disputed.add(circuit)
    return majority(kept)
  }

  // ---- Exchanges ----------------------------------------------------------------------------------------------------

  exchange(exchange: Exchange): Effect.Effect<ExchangeAnswer, StoreError> {
    const { casts, notAfter = Infinity, swaps } = exchange
    return Effect.suspend((): Effect.Effect<ExchangeAnswer, StoreError> => {
      const time = this.wall()
      if (time > notAfter) return Effect.succeed({ _tag: "Late", time })
      if (swaps.length > 0) return this.swapping(exchange)
      const answer = this.inAll(
        exchange,
        () => [],
        (answers) => Effect.succeed(this.merge(exchange, answers))
      )
      return casts.length === 0 ? Effect.tap(answer, () => this.makeAgree) : answer
    })
  }

  /** Sends the exchange to all stores, each with its own swaps. Calls `then` if at least one store carried it out. */
  private inAll(
    exchange: Exchange,
    swapsOf: (index: number) => ReadonlyArray<Swap>,
    then: (answers: ReadonlyArray<Placed>) => Effect.Effect<ExchangeAnswer, StoreError>
  ): Effect.Effect<ExchangeAnswer, StoreError> {
    return Effect.flatMap(
      Effect.forEach(this.regions, (region, index) => this.inOne(exchange, region, index, swapsOf(index)), every),
      (replies) => {
        const answers = replies.flatMap((reply, index) => (reply?._tag === "Done" ? [{ ...reply, index }] : []))
        if (answers.length > 0) return then(answers)
        const isLate = replies.some((reply) => reply?._tag === "Late")
        return isLate ? Effect.succeed({ _tag: "Late", time: this.wall() }) : none("exchange")
      }
    )
  }

  private inOne(
    exchange: Exchange,
    region: Region,
    index: number,
    swaps: ReadonlyArray<Swap>
  ): Effect.Effect<ExchangeAnswer | undefined> {
    const { casts, notAfter } = exchange
    const now = this.wall()
    const heard = this.cursors.heardAt(index, exchange.heard, now)
    const life = this.cursors.lifeAt(index, exchange.life)
    const offset = this.offsets[index]
    const due = notAfter === undefined || offset === undefined ? undefined : notAfter + offset
    const ownCasts = casts.map((cast) => ({ ...cast, epoch: this.ownEpoch(index, cast) }))
    const send = (of: ReadonlyArray<Cast>, with_: ReadonlyArray<Swap>) =>
      region.ask((store) => store.exchange({ ...exchange, notAfter: due, heard, life, casts: of, swaps: with_ }))
    return Effect.flatMap(send(ownCasts, swaps), (reply): Effect.Effect<ExchangeAnswer | undefined> => {
      if (reply !== undefined) this.noteTime(index, reply.value.time)
      if (reply?.value._tag !== "Done") {
        if (casts.length > 0) this.cursors.hold(index, now)
        return Effect.succeed(reply?.value)
      }
      const done = reply.value
      this.noteLife(index, done.life)
      this.cursors.confirm(index, done.life === life ? heard : 0)
      // The store has the record of this cast, but under an epoch of its own that was not known yet: cast again with that epoch.
      const again = casts.flatMap((cast, i) => {
        const { record, tally } = done.casts[i] ?? {}
        const kept = unwrap(record)
        this.remember(index, cast.circuit, kept)
        return tally === undefined && kept !== undefined && kept.epoch === cast.epoch
          ? [{ i, cast: { ...cast, epoch: kept.own } }]
          : []
      })
      if (again.length === 0) return Effect.succeed(done)
      const second = send(
        again.map(({ cast }) => cast),
        []
      )
      return Effect.map(second, (more) => {
        if (more?.value._tag !== "Done") return done
        const answers = [...done.casts]
        for (const [n, { i }] of again.entries())
          answers[i] = more.value.casts[n] ?? { record: undefined, tally: undefined }
        return { ...done, casts: answers }
      })
    })
  }

  private ownEpoch(index: number, { circuit, epoch }: Cast): number {
    if (epoch === 0) return 0
    const known = this.epochs[index]?.get(circuit)
    if (known === undefined) return epoch
    return known.epoch === epoch ? known.own : noEpoch
  }

  /** The answers of several stores as one. As many voters may object as in the store where the most may. */
  private merge(exchange: Exchange, answers: ReadonlyArray<Placed>): Done {
    const heard = answers.map(({ head, index, rollCalls }) => ({
      index,
      head,
      rollCalls: rollCalls.map((one) => ({ ...one, epoch: this.epochOf(index, one.circuit, one.epoch) }))
    }))
    const live = largest(answers.map((answer) => answer.live))
    const isKnown = answers.some(({ index }) => this.cursors.lifeAt(index, exchange.life) !== "")
    return {
      _tag: "Done",
      time: this.wall(),
      live,
      liveFor: largest(answers.map(({ liveFor }) => liveFor)),
      life: this.cursors.life,
      ...this.cursors.answered(heard, isKnown ? exchange.heard : 0),
      casts: exchange.casts.map((cast, i) => {
        const holds = majority(answers.map(({ casts }) => unwrap(casts[i]?.record)))
        const tallies = answers.flatMap(({ casts, live }) => {
          const { record, tally } = casts[i] ?? {}
          return tally !== undefined && epochOf(unwrap(record)) === cast.epoch ? [{ tally, live }] : []
        })
        return { record: toStored(holds), tally: epochOf(holds) === cast.epoch ? sumUp(tallies, live) : undefined }
      }),
      swaps: []
    }
  }

  private swapping(exchange: Exchange): Effect.Effect<ExchangeAnswer, StoreError> {
    const { floor, swaps } = exchange
    const circuits = [...new Set(swaps.map(({ circuit }) => circuit))]
    const looked = Effect.all([this.look(circuits), this.pageAfter(Number.MAX_SAFE_INTEGER - 1, 1)], every)
    return Effect.flatMap(looked, ([views, pages]) => {
      if (views.length === 0) return none("exchange")
      const ahead = pages.map(({ time }) => time * 1_000 + aheadMicros)
      const last = Math.floor(largest([...pages.map(({ epoch }) => epoch), ...ahead, floor]))
      const { allowed, base } = this.allow(swaps, views, last)
      const inStore = (index: number): ReadonlyArray<Swap> => {
        const view = views.find((one) => one.index === index)
        if (view === undefined) return []
        return allowed.map(({ body, swap }) => ({ ...swap, expectedEpoch: view.own.get(swap.circuit) ?? 0, body }))
      }
      const indexes = views.map(({ index }) => index)
      const written = new Map<string, Array<SwapAnswer>>()
      return this.inAll({ ...exchange, floor: base - 1 }, inStore, (answers) => {
        for (const answer of answers) {
          if (!indexes.includes(answer.index)) continue
          for (const [i, { swap }] of allowed.entries()) {
            const one = answer.swaps[i]
            if (one === undefined) continue
            this.remember(answer.index, swap.circuit, unwrap(one.record))
            written.set(swap.circuit, [...(written.get(swap.circuit) ?? []), one])
          }
        }
        const done = this.merge(exchange, answers)
        return Effect.map(this.settle(exchange, allowed, written, views), (records) => {
          // The first of several swaps of one circuit may have been allowed, and no other.
          const taken = new Set<string>()
          const swapAnswers = swaps.map((swap): SwapAnswer => {
            const record = records.get(swap.circuit)
            const own = allowed.find((one) => one.swap === swap)
            const isFirst = !taken.has(swap.circuit)
            if (own !== undefined) taken.add(swap.circuit)
            return { swapped: isFirst && own !== undefined && epochOf(record) === own.epoch, record: toStored(record) }
          })
          return { ...done, swaps: swapAnswers }
        })
      })
    })
  }

  /**
   * Selects the swaps that find the epoch they expect in most stores. Gives them consecutive epochs, which are greater than
   * every epoch that a store has given.
   */
  private allow(swaps: ReadonlyArray<Swap>, views: ReadonlyArray<View>, last: number) {
    // A random distance, so that two processes that swap at the same moment choose different epochs.
    const base = last + 1 + Math.floor(this.random() * 1_024)
    const allowed: Array<Allowed> = []
    const circuits = new Set<string>()
    for (const swap of swaps) {
      const { circuit, expectedEpoch } = swap
      if (circuits.has(circuit) || epochOf(this.holding(circuit, views)) !== expectedEpoch) continue
      circuits.add(circuit)
      const epoch = base + allowed.length
      allowed.push({ swap, epoch, body: wrap(epoch, swap) })
    }
    return { allowed, base }
  }

  /** The record of each circuit after its swap: the new record if most stores have written it, or the one that most stores have. */
  private settle(
    { swaps }: Exchange,
    allowed: ReadonlyArray<Allowed>,
    written: ReadonlyMap<string, ReadonlyArray<SwapAnswer>>,
    views: ReadonlyArray<View>
  ): Effect.Effect<ReadonlyMap<string, Kept | undefined>, StoreError> {
    const records = new Map<string, Kept | undefined>()
    for (const { circuit } of swaps) records.set(circuit, this.holding(circuit, views))
    const open: Array<string> = []
    for (const { epoch, swap } of allowed) {
      const { body, circuit, listed, ttl } = swap
      const won = (written.get(circuit) ?? []).filter(({ swapped }) => swapped).length
      if (won * 2 > views.length) records.set(circuit, { epoch, ttl, listed, body, age: 0, own: epoch })
      else open.push(circuit)
      if (won < this.regions.length && this.disputed.size < maxRemembered) this.disputed.add(circuit)
    }
    if (open.length === 0) return Effect.succeed(records)
    return Effect.map(this.look(open), (again) => {
      for (const circuit of open) records.set(circuit, this.holding(circuit, again))
      return records
    })
  }

  /** Makes the stores agree, in the background: with regions that are far away it takes several round trips. */
  private get makeAgree(): Effect.Effect<unknown> {
    return Effect.suspend(() => {
      if (this.agreeing || (this.compared === undefined && this.disputed.size === 0)) return Effect.void
      this.agreeing = true
      const done = Effect.sync(() => {
        this.agreeing = false
      })
      const agreed = Effect.ensuring(Effect.andThen(this.compare, this.repair), done)
      return Effect.forkDetach(agreed, { startImmediately: true })
    })
  }

  /** Looks for records that differ, one page for each heartbeat. */
  private get compare(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const from = this.compared
      if (from === undefined) return Effect.void
      return Effect.flatMap(this.pageAfter(from, limits.page), (pages) => {
        const end = endOf(pages, limits.page)
        this.compared = end < Infinity && end > from ? end : undefined
        return Effect.ignore(this.agree(pages, from, end))
      })
    })
  }

  /** Writes the record that most stores have to the stores that have another one, if they still have it. */
  private get repair(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.disputed.size === 0) return Effect.void
      const circuits = [...this.disputed].slice(0, limits.swaps)
      for (const circuit of circuits) this.disputed.delete(circuit)
      return Effect.flatMap(this.look(circuits), (views) => {
        // A store that cannot be reached is given them once it can be.
        if (views.length < this.regions.length) for (const circuit of circuits) this.disputed.add(circuit)
        return Effect.forEach(
          views,
          ({ kept, own, index, region }) => {
            const swaps = circuits.flatMap((circuit): ReadonlyArray<Swap> => {
              const holds = majority(views.map((view) => view.kept.get(circuit)))
              if (epochOf(kept.get(circuit)) === epochOf(holds)) return []
              return [{ circuit, expectedEpoch: own.get(circuit) ?? 0, ...written(holds) }]
            })
            if (swaps.length === 0) return Effect.void
            const repair = { voter: "repair", ttl: 0, notAfter: undefined, heard: 0, floor: 0, casts: [], swaps }
            return Effect.map(
              region.ask((store) => store.exchange(repair)),
              (reply) => {
                if (reply?.value._tag !== "Done") return
                for (const [i, { circuit }] of swaps.entries()) {
                  this.remember(index, circuit, unwrap(reply.value.swaps[i]?.record))
                }
              }
            )
          },
          { ...every, discard: true }
        )
      })
    })
  }

  /** Returns a function that takes each announcement of each store, and passes on what is new. */
  listener(): (index: number, change: Change) => Stream.Stream<Change, StoreError> {
    return listener({
      regions: this.regions,
      cursors: this.cursors,
      epochOf: (index, circuit, own) => this.epochOf(index, circuit, own),
      remember: (index, circuit, kept) => this.remember(index, circuit, kept)
    })
  }

  // ---- What is remembered -------------------------------------------------------------------------------------------

  private noteLife(index: number, life: string): void {
    // A store that lost everything is given the records that the others have.
    if (this.cursors.noteLife(index, life)) this.compared ??= 0
  }

  private noteTime(index: number, time: number): void {
    this.offsets[index] = time - this.wall()
  }

  private remember(index: number, circuit: string, kept: Kept | undefined): void {
    const epochs = this.epochs[index]
    if (epochs === undefined) return
    if (kept === undefined) epochs.delete(circuit)
    else bounded(epochs).set(circuit, { own: kept.own, epoch: kept.epoch })
  }

  /** Translates a store's own epoch to the epoch in all stores. They differ only for records that were written again. */
  private epochOf(index: number, circuit: string, own: number): number {
    const known = this.epochs[index]?.get(circuit)
    return known?.own === own ? known.epoch : own
  }
}
