import * as Effect from "effect/Effect"
import type { Cast, Exchange, ExchangeAnswer, ExchangeDone, StoreError, Swap, SwapAnswer } from "../SharedStore.ts"
import { sumUp } from "./ballotBoxes.ts"
import { largest, none, type QuorumReads, type View } from "./reads.ts"
import { epochOf, isSame, type Kept, majority, toStored, unwrap, wrap } from "./records.ts"
import type { Region } from "./region.ts"
import { every, type Regions } from "./regions.ts"
import { compare, repair } from "./repair.ts"

/** How far new epochs are ahead of the clocks of the stores, so that no store assigns a greater one before they are written. */
const aheadMicros = 1_000_000

type IndexedDone = ExchangeDone & { readonly index: number }

/** A swap whose expected epoch most stores have. */
interface Allowed {
  readonly swap: Swap
  readonly epoch: number
  readonly body: string
}

/** Carries out exchanges with all stores as if they were one. */
export class QuorumExchanges {
  private readonly regions: Regions
  private readonly reads: QuorumReads
  private readonly random: () => number
  private agreeing = false

  constructor(regions: Regions, reads: QuorumReads, random: () => number) {
    this.regions = regions
    this.reads = reads
    this.random = random
  }

  exchange(exchange: Exchange): Effect.Effect<ExchangeAnswer, StoreError> {
    const { casts, notAfter = Infinity, swaps } = exchange
    return Effect.suspend((): Effect.Effect<ExchangeAnswer, StoreError> => {
      const time = this.regions.wall()
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

  /** Makes the stores agree, in the background, because distant regions need several round trips. */
  private get makeAgree(): Effect.Effect<unknown> {
    return Effect.suspend(() => {
      if (this.agreeing || this.regions.areAgreed) return Effect.void
      this.agreeing = true
      const done = Effect.sync(() => {
        this.agreeing = false
      })
      const agreed = Effect.andThen(compare(this.regions, this.reads), repair(this.regions, this.reads))
      return Effect.forkDetach(Effect.ensuring(agreed, done), { startImmediately: true })
    })
  }

  /** Sends the exchange to all stores, each with its own swaps. Calls `then` if at least one store carried it out. */
  private inAll(
    exchange: Exchange,
    swapsOf: (index: number) => ReadonlyArray<Swap>,
    then: (answers: ReadonlyArray<IndexedDone>) => Effect.Effect<ExchangeAnswer, StoreError>
  ): Effect.Effect<ExchangeAnswer, StoreError> {
    return Effect.flatMap(
      Effect.forEach(this.regions.all, (region, index) => this.inOne(exchange, region, index, swapsOf(index)), every),
      (replies) => {
        const answers = replies.flatMap((reply, index) => (reply?._tag === "Done" ? [{ ...reply, index }] : []))
        if (answers.length > 0) return then(answers)
        const isLate = replies.some((reply) => reply?._tag === "Late")
        return isLate ? Effect.succeed({ _tag: "Late", time: this.regions.wall() }) : none("exchange")
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
    const now = this.regions.wall()
    const heard = this.regions.cursors.heardAt(index, exchange.heard, now)
    const life = this.regions.cursors.lifeAt(index, exchange.life)
    const due = notAfter === undefined ? undefined : this.regions.timeAt(index, notAfter)
    const ownCasts = casts.map((cast) => ({ ...cast, epoch: this.regions.ownEpoch(index, cast) }))
    const send = (of: ReadonlyArray<Cast>, with_: ReadonlyArray<Swap>) =>
      region.ask((store) => store.exchange({ ...exchange, notAfter: due, heard, life, casts: of, swaps: with_ }))
    return Effect.flatMap(send(ownCasts, swaps), (reply): Effect.Effect<ExchangeAnswer | undefined> => {
      if (reply !== undefined) this.regions.noteTime(index, reply.value.time)
      if (reply?.value._tag !== "Done") {
        if (casts.length > 0) this.regions.cursors.hold(index, now)
        return Effect.succeed(reply?.value)
      }
      const done = reply.value
      this.regions.noteLife(index, done.life)
      this.regions.cursors.confirm(index, done.life === life ? heard : 0)
      // The store has the record of this cast, but under an epoch of its own that was not known yet: cast again with that epoch.
      const again = casts.flatMap((cast, i) => {
        const { record, tally } = done.casts[i] ?? {}
        const kept = unwrap(record)
        this.regions.remember(index, cast.circuit, kept)
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

  /** Merges the answers of several stores. The number of possible objections is the greatest that any store reports. */
  private merge(exchange: Exchange, answers: ReadonlyArray<IndexedDone>): ExchangeDone {
    const heard = answers.map(({ head, index, rollCalls }) => ({
      index,
      head,
      rollCalls: rollCalls.map((one) => ({ ...one, epoch: this.regions.epochOf(index, one.circuit, one.epoch) }))
    }))
    const live = largest(answers.map((answer) => answer.live))
    const isKnown = answers.some(({ index }) => this.regions.cursors.lifeAt(index, exchange.life) !== "")
    return {
      _tag: "Done",
      time: this.regions.wall(),
      live,
      liveFor: largest(answers.map(({ liveFor }) => liveFor)),
      life: this.regions.cursors.life,
      ...this.regions.cursors.answered(heard, isKnown ? exchange.heard : 0),
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
    const looked = Effect.all([this.reads.look(circuits), this.reads.pageAfter(Number.MAX_SAFE_INTEGER - 1, 1)], every)
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
            this.regions.remember(answer.index, swap.circuit, unwrap(one.record))
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
            const isOwn = own !== undefined && isSame(record, { epoch: own.epoch, body: swap.body })
            return { swapped: isFirst && isOwn, record: toStored(record) }
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
    // A random distance, so that two processes that swap at the same moment rarely choose the same epoch.
    const base = last + 1 + Math.floor(this.random() * 1_024)
    const allowed: Array<Allowed> = []
    const circuits = new Set<string>()
    for (const swap of swaps) {
      const { circuit, expectedEpoch } = swap
      if (circuits.has(circuit) || epochOf(this.reads.holding(circuit, views)) !== expectedEpoch) continue
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
    for (const { circuit } of swaps) records.set(circuit, this.reads.holding(circuit, views))
    const open: Array<string> = []
    for (const { epoch, swap } of allowed) {
      const { body, circuit, listed, ttl } = swap
      const won = (written.get(circuit) ?? []).filter(({ swapped }) => swapped).length
      if (won * 2 > views.length) records.set(circuit, { epoch, ttl, listed, body, age: 0, own: epoch })
      else open.push(circuit)
      if (won < this.regions.all.length) this.regions.dispute(circuit)
    }
    if (open.length === 0) return Effect.succeed(records)
    return Effect.map(this.reads.look(open), (again) => {
      for (const circuit of open) records.set(circuit, this.reads.holding(circuit, again))
      return records
    })
  }
}
