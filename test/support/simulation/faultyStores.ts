/** Protocols that are wrong on purpose, made of a store and processes that are right: what an invariant must notice. */
import { Effect } from "effect"
import type { SharedStore } from "effect-fuse"
import type { Done } from "./contract.ts"
import type { VoteOptions } from "./vote.ts"

type Store = SharedStore.SharedStore
type Exchange = SharedStore.Exchange

export interface Mutant extends VoteOptions {
  readonly name: string
  /** Of how many seeds at least one has to show it. */
  readonly seeds: number
}

/** The same store, whose exchanges are answered otherwise. */
const answering = (store: Store, change: (answer: Done, exchange: Exchange) => Done): Store => ({
  ...store,
  exchange: (exchange) =>
    Effect.map(store.exchange(exchange), (answer) => (answer._tag === "Late" ? answer : change(answer, exchange)))
})

const sending = (store: Store, change: (exchange: Exchange) => Exchange): Store => ({
  ...store,
  exchange: (exchange) => store.exchange(change(exchange))
})

const tallies = (answer: Done, change: (tally: SharedStore.StoredTally) => SharedStore.StoredTally): Done => ({
  ...answer,
  casts: answer.casts.map((one) => ({ ...one, tally: one.tally && change(one.tally) }))
})

const isWell = ({ ballot }: SharedStore.Cast): boolean => ballot !== undefined && ballot[0] === 0

const withdrawn = (exchange: Exchange, which: (cast: SharedStore.Cast) => boolean): Exchange => ({
  ...exchange,
  casts: exchange.casts.map((cast) => (which(cast) ? { ...cast, ballot: undefined } : cast))
})

const silenceIsConsent = (store: Store): Store =>
  answering(store, (answer) =>
    tallies(answer, (tally) => ({ ...tally, abstained: Math.max(0, answer.live - tally.voters) }))
  )

/** `heard` moves, and the ballots that the process owes for it do not come along. */
const hearsWithoutVoting = (store: Store): Store => {
  const heard = new Map<string, number>()
  return sending(store, (exchange) => {
    const moves = exchange.heard > (heard.get(exchange.voter) ?? 0)
    heard.set(exchange.voter, exchange.heard)
    return moves ? withdrawn(exchange, isWell) : exchange
  })
}

/** A process that has abstained tells nothing of what it sees from then on. */
const silentFirstCall = (store: Store): Store => {
  const heard = new Map<string, number>()
  const voted = new Set<string>()
  const abstained = new Set<string>()
  return sending(store, (exchange) => {
    const { casts, voter } = exchange
    if (exchange.heard > (heard.get(voter) ?? 0) && casts.length === 0 && !voted.has(voter)) abstained.add(voter)
    heard.set(voter, exchange.heard)
    if (casts.length > 0) voted.add(voter)
    return abstained.has(voter) ? withdrawn(exchange, isWell) : exchange
  })
}

/** Counts how far voters had heard that no longer live. */
const countsTheDead = (store: Store): Store => {
  const register = new Map<string, { readonly until: number; readonly heard: number }>()
  return answering(store, (answer, { heard, ttl, voter }) => {
    register.set(voter, { until: answer.time + ttl, heard })
    const dead = [...register.values()].filter((one) => one.until <= answer.time && one.heard >= answer.head).length
    return tallies(answer, (tally) =>
      tally.rolled === undefined ? tally : { ...tally, abstained: tally.abstained + dead }
    )
  })
}

const neverYoung = (store: Store): Store => answering(store, (answer) => ({ ...answer, liveFor: 1e9 }))

const noDeadline = (store: Store): Store => sending(store, (exchange) => ({ ...exchange, notAfter: undefined }))

const ignoresFloor = (store: Store): Store => sending(store, (exchange) => ({ ...exchange, floor: 0 }))

/** Pages are short and in the order of the names. */
const pagesByName = (store: Store): Store => ({
  ...store,
  page: (since, limit) =>
    Effect.map(store.page(since, limit), (page) => {
      const byName = [...page.changes].sort((a, b) => (a.circuit < b.circuit ? 1 : -1))
      return { ...page, changes: byName.slice(0, Math.ceil(byName.length / 2)) }
    })
})

/** Calls the roll again and again, before all can have heard it. */
export const rollsEverySecond = (store: Store): Store =>
  sending(store, (exchange) => ({
    ...exchange,
    casts: exchange.casts.map((cast) => (cast.roll > 0 ? { ...cast, roll: 1_000 } : cast))
  }))

/** A record that is given back to a store which lost it counts as a new one. */
export const ignoresOrigin = (store: Store): Store =>
  sending(store, (exchange) => ({
    ...exchange,
    swaps: exchange.swaps.map((swap) => ({ ...swap, body: swap.body.replace(/,"origin":\d+/, "") }))
  }))

/** Pages show only records that are still listed. */
export const forgetsUnlisted = (store: Store): Store => ({
  ...store,
  page: (since, limit) =>
    Effect.map(store.page(since, limit), (page) => ({ ...page, changes: page.changes.filter(({ listed }) => listed) }))
})

/** A process answers roll calls about a record that it has not read: its ballots are about an older one. */
const readsNothing = (store: Store): Store => ({
  ...store,
  load: (circuits) =>
    Effect.map(store.load(circuits), (answer) => ({ ...answer, records: circuits.map(() => undefined) }))
})

/** Sends every cast by itself, all at once. */
const oneByOne = (store: Store): Store => ({
  ...store,
  exchange: (exchange) => {
    const { casts } = exchange
    if (casts.length < 3) return store.exchange(exchange)
    const each = casts.map((cast) => store.exchange({ ...exchange, casts: [cast] }))
    return Effect.map(Effect.all(each, { concurrency: "unbounded" }), (answers) => {
      const [first] = answers
      const done = answers.flatMap((answer) => (answer._tag === "Done" ? [answer] : []))
      if (first === undefined || first._tag === "Late" || done.length < answers.length) {
        return { _tag: "Late", time: first?.time ?? 0 }
      }
      return { ...first, casts: done.flatMap((answer) => answer.casts) }
    })
  }
})

export const faulty: ReadonlyArray<Mutant> = [
  { name: "counts silence as consent", mutate: silenceIsConsent, network: "300 ms", seeds: 20 },
  { name: "moves heard without the ballots that are owed", mutate: hearsWithoutVoting, network: "none", seeds: 40 },
  {
    name: "says nothing of its first call after it abstained",
    mutate: silentFirstCall,
    network: "1 ms",
    tied: true,
    seeds: 40
  },
  {
    name: "counts how far the dead had heard",
    mutate: countsTheDead,
    network: "none",
    faults: { crash: true },
    seeds: 200
  },
  { name: "believes a young store", mutate: neverYoung, network: "none", faults: { wipe: true }, seeds: 40 },
  { name: "sends no deadlines", mutate: noDeadline, network: "1 ms", faults: { freeze: true }, seeds: 20 },
  {
    name: "gives epochs without regard to what its writer knew",
    mutate: ignoresFloor,
    faults: { wipe: true, stepBack: true },
    seeds: 60
  },
  {
    name: "answers roll calls with ballots about an older record",
    client: readsNothing,
    network: "lossy",
    faults: { released: true },
    seeds: 200
  },
  { name: "sends every ballot by itself, all at once", client: oneByOne, network: "far", keys: 8, seeds: 40 },
  { name: "orders pages by name", mutate: pagesByName, network: "none", keys: 8, seeds: 40 },
  {
    name: "does not notice a roll call that got lost",
    announcing: (change) => (change._tag === "RollCall" ? { ...change, prev: 0 } : change),
    network: "lossy",
    keys: 4,
    seeds: 100
  }
]
