import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Circuit from "../core/Circuit.ts"
import { worst } from "../shapes/states.ts"
import { type Digest, decode, mostKeys, type NameDigest, type WorstKey } from "./digest.ts"
import { isNotClosed, type Known, stateOf, type Unreadable } from "./known.ts"
import { listed } from "./listed.ts"
import type { SharedStore, StoreError } from "./SharedStore.ts"

/**
 * How many calls the processes of a fleet counted for one name.
 */
export interface CallCounts {
  /** Calls that were admitted and counted. */
  readonly calls: number
  readonly successes: number
  readonly failures: number
  readonly rejected: number
  readonly slow: number
  /** Calls that ran uncounted. */
  readonly passed: number
}

/**
 * The recent traffic of one name. Each process counts over its latest period, of about one `syncInterval`, and the counts are the sums. The
 * periods differ in length and in time, so use `perSecond` to compare or plot counts.
 */
export interface Traffic extends CallCounts {
  /** The longest of the periods, in milliseconds. */
  readonly millis: number
  readonly perSecond: CallCounts
  /** The share of the ended calls that failed, from 0 to 1; `undefined` if no call ended. */
  readonly failureShare: number | undefined
  /** Calls in flight at the end of the periods. */
  readonly inFlight: number
  /** The sum of the adaptive limits of all circuits that are limited now; `undefined` if none is. */
  readonly limit: number | undefined
  /**
   * Durations in milliseconds: the average over the processes, weighted by their calls. `undefined` if no process measures durations; see
   * `BreakerMetrics.layer`.
   */
  readonly p50: number | undefined
  readonly p95: number | undefined
}

/**
 * What the fleet knows of one name.
 */
export interface NameOverview {
  readonly name: string
  /** The state of the name's own circuit if that is not Closed, or else the worst state of its keys. */
  readonly state: Circuit.State | "Unreadable"
  /** How many circuits of this name are in `circuits` of the overview. */
  readonly notClosed: number
  /** How many processes have used the name. */
  readonly processes: number
  /** In how many processes at least one circuit of the name is not Closed. */
  readonly notClosedIn: number
  /** The largest number of keys in one process. */
  readonly keys: number
  /** The keys that are not Closed or have failed recently, the worst first: at most five. */
  readonly worstKeys: ReadonlyArray<WorstKey>
  /** `undefined` if no digest had room for the counts of this name, or no process has used it. */
  readonly traffic: Traffic | undefined
}

/**
 * What the fleet knows of its circuits: those that are not healthy, from the records of the store, and all names with their recent traffic,
 * from the digests of the processes.
 */
export interface Overview {
  /** When it was read, in milliseconds since 1970. */
  readonly at: number
  /** How many processes live. */
  readonly processes: number
  /** How many of them sent a digest that this version can read. */
  readonly digests: number
  /** How many sent a digest that this version cannot read. Their names and counts are missing. */
  readonly unreadable: number
  /** How many names did not fit into the digest that leaves out most names. If all names are known, the number is 0. */
  readonly leftOut: number
  /** The circuits that are not healthy, sorted by name and key. */
  readonly circuits: ReadonlyArray<Known | Unreadable>
  /** All known names, sorted. */
  readonly names: ReadonlyArray<NameOverview>
}

/** A shorter period counts as one second: a rate over a few milliseconds says nothing. */
const shortestMillis = 1_000

const noCounts = () => ({ calls: 0, successes: 0, failures: 0, rejected: 0, slow: 0, passed: 0 })
type CallSums = ReturnType<typeof noCounts>

const add = (sum: CallSums, of: CallCounts, times: number): void => {
  sum.calls += of.calls * times
  sum.successes += of.successes * times
  sum.failures += of.failures * times
  sum.rejected += of.rejected * times
  sum.slow += of.slow * times
  sum.passed += of.passed * times
}

/** An average of durations, weighted by calls. */
class Average {
  private sum = 0
  private calls = 0

  add(millis: number | undefined, calls: number): void {
    if (millis === undefined) return
    const weight = Math.max(1, calls)
    this.sum += millis * weight
    this.calls += weight
  }

  get value(): number | undefined {
    return this.calls === 0 ? undefined : this.sum / this.calls
  }
}

/** Adds up what the digests say about one name. */
class Gathered {
  readonly circuits: Array<Known | Unreadable> = []
  processes = 0
  notClosedIn = 0
  keys = 0
  private readonly total = noCounts()
  private readonly rates = noCounts()
  private millis: number | undefined = undefined
  private inFlight = 0
  private limit: number | undefined = undefined
  private readonly p50 = new Average()
  private readonly p95 = new Average()
  private readonly worst = new Map<string, WorstKey>()

  add(millis: number, of: NameDigest): void {
    this.processes++
    if (of.notClosed > 0) this.notClosedIn++
    this.keys = Math.max(this.keys, of.keys)
    add(this.total, of, 1)
    add(this.rates, of, 1_000 / Math.max(shortestMillis, millis))
    this.millis = Math.max(this.millis ?? 0, millis)
    this.inFlight += of.inFlight
    if (of.limit !== undefined) this.limit = (this.limit ?? 0) + of.limit
    const ended = of.successes + of.failures
    this.p50.add(of.p50, ended)
    this.p95.add(of.p95, ended)
    for (const one of of.worst) {
      const known = this.worst.get(one.key)
      const state = known === undefined ? one.state : (worst([known.state, one.state]) ?? one.state)
      this.worst.set(one.key, { key: one.key, state, failures: (known?.failures ?? 0) + one.failures })
    }
  }

  /** `undefined` if no digest has counts of the name. */
  get traffic(): Traffic | undefined {
    const { inFlight, limit, millis, p50, p95, rates, total } = this
    if (millis === undefined) return undefined
    const ended = total.successes + total.failures
    const failureShare = ended === 0 ? undefined : total.failures / ended
    return { ...total, millis, perSecond: rates, failureShare, inFlight, limit, p50: p50.value, p95: p95.value }
  }

  /** The worst keys over all processes. The failures of a key are added up. */
  get worstKeys(): ReadonlyArray<WorstKey> {
    const closed = (one: WorstKey) => (one.state === "Closed" ? 1 : 0)
    return [...this.worst.values()]
      .sort((a, b) => closed(a) - closed(b) || b.failures - a.failures || (a.key < b.key ? -1 : 1))
      .slice(0, mostKeys)
  }
}

const stateOfName = (circuits: ReadonlyArray<Known | Unreadable>): NameOverview["state"] => {
  const own = circuits.find(({ key }) => key === undefined)
  return own !== undefined && isNotClosed(own) ? stateOf(own) : (worst(circuits.map(stateOf)) ?? "Closed")
}

/** Merges the digests of processes with the circuits that are not healthy. */
export const overviewOf = (
  circuits: ReadonlyArray<Known | Unreadable>,
  digests: ReadonlyArray<Digest | undefined>,
  more: { readonly at: number; readonly processes: number }
): Overview => {
  const found = new Map<string, Gathered>()
  const gather = (name: string): Gathered => {
    const known = found.get(name)
    if (known !== undefined) return known
    const made = new Gathered()
    found.set(name, made)
    return made
  }
  for (const one of circuits) gather(one.name).circuits.push(one)
  let leftOut = 0
  for (const digest of digests) {
    if (digest === undefined) continue
    leftOut = Math.max(leftOut, digest.leftOut)
    for (const of of digest.names) gather(of.name).add(digest.millis, of)
    for (const name of digest.others) gather(name).processes++
  }
  const readable = digests.filter((one) => one !== undefined).length
  const names = [...found].map(
    ([name, { circuits, keys, notClosedIn, processes, traffic, worstKeys }]): NameOverview => ({
      name,
      state: stateOfName(circuits),
      notClosed: circuits.filter(isNotClosed).length,
      ...{ processes, notClosedIn, keys, worstKeys, traffic }
    })
  )
  return {
    ...more,
    digests: readable,
    unreadable: digests.length - readable,
    leftOut,
    circuits,
    names: names.sort((a, b) => (a.name < b.name ? -1 : 1))
  }
}

/** The latest digest of each live voter; `undefined` for a digest that cannot be read. */
export const digestsOf = (store: SharedStore): Effect.Effect<ReadonlyMap<string, Digest | undefined>, StoreError> =>
  Effect.gen(function* () {
    const found = new Map<string, Digest | undefined>()
    let after = ""
    while (true) {
      const { digests, next } = yield* store.digests(after)
      for (const { digest, voter } of digests) found.set(voter, decode(digest))
      // The loop must end even if a faulty store repeats an answer.
      if (next === undefined || next === after || found.size >= mostDigests) return found
      after = next
    }
  })

/** The most digests that are read. */
const mostDigests = 20_000

/** What the fleet knows of its circuits. */
export const fleetOverview = (store: SharedStore): Effect.Effect<Overview, StoreError> =>
  Effect.map(
    Effect.all([listed(store), digestsOf(store), Clock.currentTimeMillis], { concurrency: 2 }),
    ([{ circuits, processes }, digests, at]) => overviewOf(circuits, [...digests.values()], { at, processes })
  )
