import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import {
  type Cast,
  type CastAnswer,
  type Change,
  type ListAnswer,
  type SharedStore,
  type Stored,
  StoreError,
  type Swap,
  type SwapAnswer
} from "../SharedStore.ts"

/** A store that does not answer within this is left out, */
const deadlineMillis = 100
/** and is not asked again for so long. */
const restMillis = 1_000

/** So many circuits are remembered by what their latest record is numbered in each store. */
const maxRemembered = 10_000

/** One of the stores, and whether it can be reached. */
export class Region {
  readonly store: SharedStore
  private readonly now: () => number
  private restUntil = Number.NEGATIVE_INFINITY
  private up = true

  constructor(store: SharedStore, now: () => number) {
    this.store = store
    this.now = now
  }

  /** Whether it answered when it was last asked. */
  get reachable(): boolean {
    return this.up
  }

  /** Its answer, or nothing. */
  ask<A>(f: (store: SharedStore) => Effect.Effect<A, StoreError>): Effect.Effect<{ readonly value: A } | undefined> {
    return Effect.suspend(() => {
      if (this.now() < this.restUntil) return Effect.succeed(undefined)
      const asked = Effect.suspend(() => f(this.store))
      return Effect.matchCause(Effect.timeout(asked, deadlineMillis), {
        onFailure: () => {
          this.restUntil = this.now() + restMillis
          this.up = false
          return undefined
        },
        onSuccess: (value) => {
          this.up = true
          return { value }
        }
      })
    })
  }
}

/** A record as it is kept in each store: with the era that it has in all of them, and what it takes to write it again. */
interface Kept {
  readonly era: number
  readonly ttl: number | undefined
  readonly listed: boolean
  readonly body: string
  readonly age: number
  /** Its era in the one store. */
  readonly own: number
}

/** `age` is how old it was already: written again elsewhere, a record does not become younger. */
const wrap = (era: number, { body, listed, ttl }: Pick<Swap, "body" | "listed" | "ttl">, age = 0): string =>
  `${era} ${ttl ?? "-"} ${listed ? 1 : 0} ${age} ${body}`

const unwrap = (stored: Stored | undefined): Kept | undefined => {
  const found = stored === undefined ? null : /^([1-9]\d*) (-|[\d.]+) ([01]) ([\d.]+) (.*)$/s.exec(stored.body)
  if (stored === undefined || found === null) return undefined
  const [, era, ttl, listed, age, body = ""] = found
  return {
    era: Number(era),
    ttl: ttl === "-" ? undefined : Number(ttl),
    listed: listed === "1",
    body,
    age: stored.age + Number(age),
    own: stored.era
  }
}

const toStored = (kept: Kept | undefined): Stored | undefined =>
  kept === undefined ? undefined : { era: kept.era, body: kept.body, age: kept.age }

/** No record has it. */
const noEra = -1

/** What one store said of a circuit. */
interface View {
  readonly region: Region
  readonly own: number
  readonly kept: Kept | undefined
}

const eraOf = (kept: Kept | undefined): number => kept?.era ?? 0

/** What most of them say; where no two say the same, or as many say another, the latest. */
const majority = (said: ReadonlyArray<Kept | undefined>): Kept | undefined => {
  const counts = new Map<number, number>()
  for (const kept of said) counts.set(eraOf(kept), (counts.get(eraOf(kept)) ?? 0) + 1)
  const [[era] = [0]] = [...counts].sort(([a, votesA], [b, votesB]) => votesB - votesA || b - a)
  return said.find((kept) => eraOf(kept) === era)
}

const none = (operation: StoreError["operation"]) =>
  Effect.fail(new StoreError({ operation, cause: new Error("none of the stores can be reached") }))

export class Quorum {
  private readonly regions: ReadonlyArray<Region>
  private readonly wall: () => number
  private readonly random: () => number
  /** By store and circuit: which era of the store is which of all. */
  private readonly eras: ReadonlyArray<Map<string, { readonly own: number; readonly era: number }>>
  constructor(regions: ReadonlyArray<Region>, wall: () => number, random: () => number) {
    this.regions = regions
    this.wall = wall
    this.random = random
    this.eras = regions.map(() => new Map())
  }

  load(circuit: string): Effect.Effect<Stored | undefined, StoreError> {
    return Effect.flatMap(this.look(circuit), (views) => {
      if (views.length === 0) return none("load")
      const holds = majority(views.map(({ kept }) => kept))
      return Effect.as(this.repair(circuit, views, holds), toStored(holds))
    })
  }

  swap(request: Swap): Effect.Effect<SwapAnswer, StoreError> {
    const { body, circuit, expectedEra } = request
    return Effect.flatMap(this.look(circuit), (views) => {
      if (views.length === 0) return none("swap")
      const holds = majority(views.map(({ kept }) => kept))
      if (eraOf(holds) !== expectedEra) return Effect.succeed({ swapped: false, record: toStored(holds) })
      const era = this.nextEra(expectedEra)
      const written = Effect.forEach(
        views,
        ({ own, region }) =>
          region.ask((store) => store.swap({ ...request, expectedEra: own, body: wrap(era, request) })),
        { concurrency: "unbounded" }
      )
      return Effect.flatMap(written, (answers) => {
        const won = answers.filter((answer) => answer?.value.swapped === true).length
        if (won * 2 > views.length) return Effect.succeed<SwapAnswer>({ swapped: true, record: { era, body, age: 0 } })
        return Effect.map(this.load(circuit), (record) => ({ swapped: record?.era === era, record }))
      })
    })
  }

  cast(request: Cast): Effect.Effect<CastAnswer, StoreError> {
    const { circuit, era } = request
    const inOne = (region: Region, place: number) => {
      const cast = (own: number) => region.ask((store) => store.cast({ ...request, era: own }))
      const known = this.eras[place]?.get(circuit)
      return Effect.flatMap(cast(known?.era === era ? known.own : era === 0 ? 0 : noEra), (answer) => {
        const kept = unwrap(answer?.value.record)
        this.remember(place, circuit, kept)
        // It has the record that is meant, under a number that was not known yet.
        return answer !== undefined && answer.value.tally === undefined && kept?.era === era
          ? cast(kept.own)
          : Effect.succeed(answer)
      })
    }
    const asked = Effect.forEach(this.regions, inOne, { concurrency: "unbounded" })
    return Effect.flatMap(asked, (replies): Effect.Effect<CastAnswer, StoreError> => {
      const answers = replies.flatMap((reply) => (reply === undefined ? [] : [reply.value]))
      if (answers.length === 0) return none("cast")
      const live = median(answers.map((answer) => answer.live))
      const holds = majority(answers.map(({ record }) => unwrap(record)))
      const record = toStored(holds)
      const tallies = answers.flatMap((one) =>
        one.tally !== undefined && eraOf(unwrap(one.record)) === era ? [one.tally] : []
      )
      if (eraOf(holds) !== era || tallies.length === 0) return Effect.succeed({ record, tally: undefined, live })
      const tally = tallies.reduce((best, one) => (one.voices > best.voices ? one : best))
      return Effect.succeed({ record, tally, live })
    })
  }

  list(voice: string, ttl: number): Effect.Effect<ListAnswer, StoreError> {
    const asked = Effect.forEach(this.regions, (region) => region.ask((store) => store.list(voice, ttl)), {
      concurrency: "unbounded"
    })
    return Effect.flatMap(asked, (replies) => {
      const answers = replies.flatMap((reply) => (reply === undefined ? [] : [reply.value]))
      if (answers.length === 0) return none("list")
      const eras = new Map<string, Array<Kept>>()
      for (const { records } of answers) {
        for (const record of records) {
          const kept = unwrap(record)
          if (kept !== undefined) eras.set(record.circuit, [...(eras.get(record.circuit) ?? []), kept])
        }
      }
      const found = Effect.forEach(
        eras,
        ([circuit, kept]) => {
          const agreed = kept.length === answers.length && kept.every(({ era }) => era === kept[0]?.era)
          // Where they differ, or one does not list it, all are asked for this one, and are then made to agree.
          return Effect.map(agreed ? Effect.succeed(toStored(kept[0])) : this.load(circuit), (record) =>
            record === undefined ? [] : [{ ...record, circuit }]
          )
        },
        { concurrency: 32 }
      )
      return Effect.map(found, (records) => ({
        records: records.flat(),
        live: median(answers.map((answer) => answer.live))
      }))
    })
  }

  /** One who listens to all stores: answers with what is worth hearing of what one of them announces. */
  listener(): (place: number, change: Change) => Stream.Stream<Change, StoreError> {
    /** Which stores have announced the latest record of a circuit. */
    const records = new Map<string, { readonly era: number; readonly places: Set<number>; readonly said: boolean }>()
    /** How many inquiries each store has announced of a box, and how many were heard. */
    const inquiries = new Map<string, { readonly of: Array<number>; heard: number }>()

    return (place, change) => {
      if (change._tag === "Inquiry") {
        const box = `${change.circuit} ${change.box}`
        const counted = inquiries.get(box) ?? { of: [], heard: 0 }
        bounded(inquiries).set(box, counted)
        const announced = (counted.of[place] ?? 0) + 1
        counted.of[place] = announced
        // All stores announce each: the first that does is heard.
        if (announced <= counted.heard) return Stream.empty
        counted.heard = announced
        // Who was not heard meanwhile is one behind at most: when the others fail it is the first.
        this.regions.forEach((_, other) => {
          counted.of[other] = Math.max(counted.of[other] ?? 0, announced - 1)
        })
        counted.of[place] = announced
        return this.inquiry(place, change)
      }
      const { body, circuit, era: own } = change
      const kept = unwrap({ body, era: own, age: 0 })
      if (kept === undefined) return Stream.empty
      this.remember(place, circuit, kept)
      const latest = records.get(circuit)
      if (latest !== undefined && kept.era < latest.era) return Stream.empty
      const places = latest?.era === kept.era ? latest.places : new Set<number>()
      const said = latest?.era === kept.era && latest.said
      places.add(place)
      // What one says is worth hearing when most of those that can be reached have said it.
      const most = Math.floor(this.regions.filter((region) => region.reachable).length / 2) + 1
      const says = !said && places.size >= most
      bounded(records).set(circuit, { era: kept.era, places, said: said || says })
      return says ? Stream.succeed({ _tag: "Record", circuit, era: kept.era, body: kept.body }) : Stream.empty
    }
  }

  /** An inquiry of one store, about the era that all know. */
  private inquiry(place: number, change: Change & { readonly _tag: "Inquiry" }): Stream.Stream<Change, StoreError> {
    if (change.era === 0) return Stream.succeed(change)
    const known = this.eras[place]?.get(change.circuit)
    if (known?.own === change.era) return Stream.succeed({ ...change, era: known.era })
    return Stream.fromEffect(Effect.map(this.load(change.circuit), (record) => ({ ...change, era: record?.era ?? 0 })))
  }

  private look(circuit: string): Effect.Effect<ReadonlyArray<View>> {
    const inOne = (region: Region, place: number) =>
      Effect.map(
        region.ask((store) => store.load(circuit)),
        (answer): ReadonlyArray<View> => {
          if (answer === undefined) return []
          const kept = unwrap(answer.value)
          this.remember(place, circuit, kept)
          return [{ region, own: answer.value?.era ?? 0, kept }]
        }
      )
    return Effect.map(Effect.forEach(this.regions, inOne, { concurrency: "unbounded" }), (views) => views.flat())
  }

  /** Writes what holds where something else is, if that is still there. */
  private repair(circuit: string, views: ReadonlyArray<View>, holds: Kept | undefined): Effect.Effect<void> {
    const others = views.filter(({ kept }) => eraOf(kept) !== eraOf(holds))
    if (others.length === 0) return Effect.void
    const write =
      holds === undefined
        ? { body: wrap(0, { body: "", ttl: 1, listed: false }), ttl: 1, listed: false }
        : {
            body: wrap(holds.era, holds, holds.age),
            ttl: holds.ttl === undefined ? undefined : Math.max(1, holds.ttl - holds.age),
            listed: holds.listed
          }
    return Effect.forEach(
      others,
      ({ own, region }) => region.ask((store) => store.swap({ circuit, expectedEra: own, ...write })),
      { concurrency: "unbounded", discard: true }
    )
  }

  private remember(place: number, circuit: string, kept: Kept | undefined): void {
    const eras = this.eras[place]
    if (eras === undefined) return
    if (kept === undefined) eras.delete(circuit)
    else bounded(eras).set(circuit, { own: kept.own, era: kept.era })
  }

  /** Later than the last, and another than anybody else would choose in the same millisecond. */
  private nextEra(last: number): number {
    return Math.max(last + 1, Math.floor(this.wall()) * 1_024 + Math.floor(this.random() * 1_024))
  }
}

const bounded = <K, V>(map: Map<K, V>): Map<K, V> => {
  const [first] = map.keys()
  if (map.size > maxRemembered && first !== undefined) map.delete(first)
  return map
}

const median = (numbers: ReadonlyArray<number>): number =>
  [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0
